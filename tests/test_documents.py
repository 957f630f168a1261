"""What the README, the contributor's page and the examples show works as it is printed."""

from __future__ import annotations

import contextlib
import re
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hostile.networks import clean

ROOT = Path(__file__).parents[1]


PAGES = ("README.md", *(f"docs/guide/{path.name}" for path in sorted((ROOT / "docs/guide").glob("*.md"))))


def blocks(page: str, *languages: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M)
    return [text for language, text in fenced if language in languages]


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A clean file in NVlabs' layout, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    Path("model.pkl").write_bytes(next(iter(clean())).data)
    return "model.pkl"


def test_readme_python(stranger: str) -> None:
    (code,) = blocks("README.md", "python")
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("page", PAGES)
def test_commands(page: str) -> None:
    """Every command line of the README and the guide is one that the program knows, with options that it knows."""
    from genvet.cli.app import build

    lines = [line.partition(" #")[0].split() for block in blocks(page, "", "bash") for line in block.splitlines()]
    lines = [words[1:] for words in lines if words and words[0] == "genvet"]
    assert lines or page.endswith("architecture.md")
    for words in lines:
        build(words).parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize(
    ("pages", "kind"),
    [
        ("scan", "inspection"),
        ("attack invert membership steal", "attack"),
        ("audit defend filter guard invert", "defence"),
        ("train private", "recipe"),
        ("study private", "study"),
    ],
)
def test_the_guide_names_every_technique(pages: str, kind: str) -> None:
    """In the first cells of its tables; what is not listed there would never be found."""
    from genvet.catalogue import techniques

    listed = {
        cell.strip(" `")
        for page in pages.split()
        for row in re.findall(r"^\|(.*)\|$", (ROOT / f"docs/guide/{page}.md").read_text(), re.M)
        for cell in row.split("|")[:2]
    }
    names = {name if kind == "inspection" else name.rpartition(".")[2] for name in techniques(kind)}
    assert names <= listed
    named = {cell for cell in listed if re.fullmatch(r"(static|dynamic|output)\.\w+", cell)}
    assert not named - set(techniques("inspection"))


def test_the_guide_names_every_table() -> None:
    from genvet.reproduce.tables import tables

    text = (ROOT / "docs/guide/reproduce.md").read_text()
    assert set(re.findall(r"^\| `(\w+/[\w-]+)`", text, re.M)) == set(tables())


@pytest.mark.parametrize("example", sorted(p.name for p in (ROOT / "examples").glob("*.py")))
def test_examples(example: str, stranger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [example, stranger])
    with contextlib.suppress(SystemExit):
        runpy.run_path(str(ROOT / "examples" / example), run_name="__main__")


def test_the_technique_of_the_contributors_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file shown there is a technique: it runs on a generator and says what it found."""
    from genvet.core.generator import Generator
    from genvet.core.latent import Latent
    from genvet.core.rng import Rng
    from genvet.core.technique import Nothing

    (code,) = blocks("CONTRIBUTING.md", "python")
    name = "genvet.inspections.static.sparsity"
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(code, "CONTRIBUTING.md", "exec", dont_inherit=True), module.__dict__)
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Unflatten(1, (1, 2, 2)))
    torch.nn.init.zeros_(net[0].bias)
    target = Generator(module=net, latent=Latent(4), shape=(1, 2, 2), name="toy")
    probe = module.Sparsity()
    result = probe(target, Nothing(), Rng())
    assert probe.name() == "static.sparsity" and probe.access() is Generator
    assert result.summary() == "4 of 20 weights are exactly zero."
