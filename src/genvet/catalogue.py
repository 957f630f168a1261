"""Finds every technique by its file, and reads its name and first sentence without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from genvet.core.errors import BadInput

if TYPE_CHECKING:
    from genvet.core.technique import Technique

ROOMS = {
    "attacks": "attack",
    "inspections": "inspection",
    "defences": "defence",
    "studies": "study",
    "training": "recipe",
}
"""Folders that hold techniques, and what one of them is called."""
VERBS = {"Probe", "Repair", "Guard", "Recipe", "Audit"}
_ROOT = Path(__file__).parent


@dataclass(frozen=True)
class Entry:
    """A technique as its file describes it; nothing is imported before `load`."""

    kind: str
    """attack, inspection, defence, study or recipe."""
    name: str
    """The file below its room: output.brute_force."""
    summary: str
    """The first sentence of its docstring."""
    path: Path
    class_name: str
    access: str
    """The view of the target that it needs, as its source writes it: ModelFile, Generator ..."""

    def load(self) -> type[Technique]:
        """Import the file and give its class."""
        module = ".".join(("genvet", *self.path.relative_to(_ROOT).with_suffix("").parts))
        found: type[Technique] = getattr(import_module(module), self.class_name)
        return found


def techniques(kind: str | None = None) -> dict[str, Entry]:
    """Every technique by name, or those of one kind, in the order of their files.

    >>> techniques("inspection")["file"].class_name
    'File'
    """
    if kind is not None and kind not in ROOMS.values():
        raise BadInput(f"there is no kind {kind!r}", hint=_suggestion(kind, ROOMS.values()))
    return {name: entry for name, entry in _all().items() if kind in (None, entry.kind)}


def find(name: str, kind: str | None = None) -> Entry:
    """One technique by its name, or by the unique end of it (`brute_force`); suggests near names otherwise."""
    known = techniques(kind)
    ends = [entry for full, entry in known.items() if full == name or full.endswith("." + name)]
    if name in known or len(ends) == 1:
        return known.get(name) or ends[0]
    what = "there are several techniques" if ends else f"there is no {kind or 'technique'}"
    raise BadInput(f"{what} named {name!r}", hint=_suggestion(name, [e.name for e in ends] or known))


@cache
def _all() -> Mapping[str, Entry]:
    found = {}
    for room, kind in ROOMS.items():
        for path in sorted((_ROOT / room).rglob("*.py")):
            entry = _read(path, _ROOT / room, kind)
            if entry:
                found[entry.name] = entry
    return MappingProxyType(found)


def _read(path: Path, room: Path, kind: str) -> Entry | None:
    """The technique in one file; None for a package's own file and for what holds no technique."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id in VERBS for b in node.bases):
            name = ".".join(path.relative_to(room).with_suffix("").parts)
            first = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
            return Entry(kind, name, first, path, node.name, _access(node))
    return None


def _access(technique: ast.ClassDef) -> str:
    """The annotation of `target`, or of a guard's `view`; recipes have none, they look at data."""
    verbs = [node for node in technique.body if isinstance(node, ast.FunctionDef) and node.name == "__call__"]
    targets = [a.annotation for verb in verbs for a in verb.args.args if a.arg in ("target", "view") and a.annotation]
    return ast.unparse(targets[0]) if targets else "data"


def _suggestion(wanted: str, known: Iterable[str]) -> str:
    names = list(known)
    ends = {name.rpartition(".")[2]: name for name in names}
    near = get_close_matches(wanted, [*names, *ends], n=3, cutoff=0.5)
    shown = list(dict.fromkeys(ends.get(name, name) for name in near)) or names[:12]
    return f"did you mean {' or '.join(shown)}?" if near else f"known: {', '.join(shown)}"
