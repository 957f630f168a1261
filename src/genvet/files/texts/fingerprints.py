"""Tells known releases of program text by fingerprints; none of the texts themselves are in this package.

Two texts have one tree fingerprint where they differ only in comments, docstrings, whitespace, line endings and
byte order marks. Runs in the child process: standard library only.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Fields that say nothing about what the code does, or that Python's versions add, rename or leave out.
_SKIPPED = {"type_ignores", "type_comment", "kind", "ctx", "type_params"}
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Known:
    """The releases that a text, or pieces of it, are taken from."""

    release: str = ""
    """The release that the whole text is; empty where it is none."""
    how: str = ""
    """`text` (the same bytes) or `tree` (the same program)."""
    pieces: tuple[tuple[str, str], ...] = ()
    """Name and release of every known top-level class and function of an unknown text."""
    unknown: tuple[str, ...] = ()
    """Names of the top-level classes and functions that no known release has."""


def plain(text: str) -> str:
    """The text as Python's own `inspect` hands it out: no byte order mark, line feeds only."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def tree_hash(node: ast.AST) -> str:
    """A fingerprint of a syntax tree, the same on every version of Python that parses it.

    >>> tree_hash(ast.parse("x = 1  # one")) == tree_hash(ast.parse("x=1"))
    True
    """
    digest = hashlib.sha256()
    for token in _tokens(node):
        digest.update(token.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def _tokens(value: object) -> Iterator[str]:
    """A walk over class names, fields and constants. Not `ast.dump`: what that leaves out changed with 3.13."""
    if isinstance(value, ast.AST):
        yield f"({type(value).__name__}"
        for name in sorted(value._fields):
            inner = getattr(value, name, None)
            if name == "body" and isinstance(value, _DOCUMENTED) and isinstance(inner, list):
                inner = inner[1:] if ast.get_docstring(value, clean=False) is not None else inner
            if (name in _SKIPPED and not (name == "type_params" and inner)) or inner is None or inner == []:
                continue
            yield name
            yield from _tokens(inner)
        if isinstance(value, ast.Constant) and value.value is None:
            yield "None"
        yield ")"
    elif isinstance(value, list):
        yield "["
        for item in value:
            yield from _tokens(item)
        yield "]"
    else:
        yield f"{type(value).__name__} {hex(value) if type(value) is int else repr(value)}"


def pieces(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """The top-level classes and functions by name."""
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node


def recognise(text: str, tree: ast.Module | None) -> Known:
    """Which release this text is; `tree` is None where it has not been parsed, and then only its bytes count."""
    table = _table()
    for shape in (text, plain(text)):
        if release := table["texts"].get(sha256(shape)):
            return Known(release, "text")
    if tree is None:
        return Known()
    if release := table["trees"].get(tree_hash(tree)):
        return Known(release, "tree")
    found = [(name, table["pieces"].get(tree_hash(node), "")) for name, node in pieces(tree)]
    return Known(
        pieces=tuple((name, release) for name, release in found if release),
        unknown=tuple(name for name, release in found if not release),
    )


@cache
def _table() -> dict[str, dict[str, str]]:
    """sha256 -> release for `texts`, `trees` and `pieces`; written by benchmarks/fingerprints.py."""
    table: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("fingerprints.json").read_text("utf-8"))
    return table
