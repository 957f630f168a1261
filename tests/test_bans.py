"""What must appear nowhere in the package."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "genvet"
MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "keras", "tensorflow"}
NETWORK = {"socket", "socketserver", "http", "ssl", "asyncio", "requests", "httpx", "urllib.request"}
"""Only `serve` listens, and only `remote` asks."""
CALLS = {"exec", "eval", "compile", "__import__"}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def breaches(tree: ast.Module, path: Path) -> list[str]:
    """Every banned import and call of one module."""
    found = []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        found += [f"imports {n}" for n in names if n.partition(".")[0] in MODULES]
        if "serve" not in path.parts and path.name != "remote.py":
            found += [f"imports {n}" for n in names if n.partition(".")[0] in NETWORK or n in NETWORK]
        if isinstance(node, ast.Call):
            called = dotted(node.func)
            if called in CALLS or called in ("torch.load", "torch.jit.load"):
                found.append(f"calls {called}")
            pickles = [k for k in node.keywords if k.arg == "allow_pickle" and not _is_false(k.value)]
            if called in ("np.load", "numpy.load") and pickles:
                found.append(f"calls {called} with pickles allowed")
            if called == "torch.Generator" and path.name != "rng.py":
                found.append("makes a random number generator of its own")
    return found


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=lambda p: str(p.relative_to(SRC)))
def test_nothing_banned(path: Path) -> None:
    assert breaches(ast.parse(path.read_text()), path) == []


def test_the_test_can_fail() -> None:
    bad = "import pickle\nimport torch\ntorch.load('x')\nexec('1')\nimport socket"
    assert len(breaches(ast.parse(bad), Path("x.py"))) == 4
