"""Judges program text that a model file carries: known by fingerprint, or read line by line. Never runs it.

Runs in the child process: standard library only.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from typing import Literal

from genvet.core.modelfile import Source
from genvet.files.reading import Reading
from genvet.files.texts import fingerprints
from genvet.files.texts import flow as source_flow
from genvet.files.texts import rules as source_rules
from genvet.files.texts.names import Names

Kind = Literal["module_src", "tensorflow", "torchscript", "keras-lambda"]

MAX_TEXT = 1 << 20
"""Characters; the longest published network text has 60,000."""
MAX_LINES = 50_000
MAX_BRACKETS = 80
"""Brackets inside one another; Python itself stops at 200."""
MAX_DOTS = 200
"""In one dotted name: Python's parser takes quadratic time for those of an import."""
MAX_DEPTH = 150
"""Nodes of the syntax tree above one another."""

# Every alternative always ends, so that no start of a string is scanned twice.
_STRINGS = re.compile(
    r'#[^\n]*|"""(?:[^"\\]|\\.|"(?!""))*(?:"""|\Z)|\'\'\'(?:[^\'\\]|\\.|\'(?!\'\'))*(?:\'\'\'|\Z)'
    r'|"(?:[^"\\\n]|\\.)*"?|\'(?:[^\'\\\n]|\\.)*\'?',
    re.DOTALL,
)
_DOTTED = re.compile(r"[^\w. \t\\\n]|(?<!\\)\n")


def judge(text: str, reading: Reading, place: str, kind: Kind, classes: tuple[str, ...]) -> Source:
    """Note what a program text would do; a known release is recognised and nothing else is said about it."""
    release = ""
    try:
        tree = parse(text, kind)
    except ValueError as error:
        known = fingerprints.recognise(text, None)
        reading.note("source.unparsable", str(error), place=place)
    else:
        known = fingerprints.recognise(text, tree)
        if not known.release:
            _rules(text, tree, reading, place, kind, known)
    if known.release:
        release = known.release
        same = "the same text" if known.how == "text" else "the same program, with other comments or layout"
        reading.note("source.recognised", f"{release}: {same}", place=place)
    source = Source(
        text=text, sha256=fingerprints.sha256(text), kind=kind, place=place, classes=classes, recognised=release
    )
    reading.sources.append(source)
    return source


def parse(text: str, kind: Kind = "module_src") -> ast.Module:
    """The syntax tree, or a ValueError that says why there is none. Nothing is compiled or run."""
    _check_size(text)
    if kind == "keras-lambda":
        text = textwrap.dedent(text).strip().rstrip(",")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # strange escapes and literals are the text's own affair
        try:
            tree = ast.parse(fingerprints.plain(text), filename="<source text>")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ValueError(f"does not parse: {type(error).__name__}: {error}") from None
    if (depth := _depth(tree)) > MAX_DEPTH:
        raise ValueError(f"{depth} constructs inside one another are too many to follow")
    return tree


def _check_size(text: str) -> None:
    """Cheap checks before the parser, which deep nesting can exhaust."""
    if len(text) > MAX_TEXT or text.count("\n") > MAX_LINES:
        raise ValueError(f"{len(text)} characters of source text are too many to judge")
    depth = 0
    bare = _STRINGS.sub("", text)
    for bracket in re.findall(r"[(\[{)\]}]", bare):
        depth = depth + 1 if bracket in "([{" else max(0, depth - 1)
        if depth > MAX_BRACKETS:
            raise ValueError(f"more than {MAX_BRACKETS} brackets inside one another")
    if any(piece.count(".") > MAX_DOTS for piece in _DOTTED.split(bare)):
        raise ValueError(f"more than {MAX_DOTS} dots in one name")


def _depth(tree: ast.AST) -> int:
    deepest, level = 0, [tree]
    while level:
        deepest += 1
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return deepest


def _rules(text: str, tree: ast.Module, reading: Reading, place: str, kind: Kind, known: fingerprints.Known) -> None:
    """Note every rule that an unknown text breaks, or that it is unknown and breaks none."""
    lines = fingerprints.plain(text).split("\n")
    found: dict[tuple[str, int, str], None] = {}

    def note(rule: str, message: str, node: ast.AST) -> None:
        found.setdefault((rule, getattr(node, "lineno", 1), message))

    names = Names.of(tree)
    source_rules.check(tree, names, kind, note)
    for (_, message), node in source_flow.follow(tree, names, kind).items():
        note("source.bypass", message, node)
    about = _about(known)
    for rule, line, message in found:
        shown = lines[line - 1].strip() if line <= len(lines) else ""
        reading.note(rule, f"{message}{about}", place=place, line=line, detail=shown)
        about = ""  # said once
    if not found and kind in ("module_src", "tensorflow"):
        message = f"an unknown text{about}" if about else "no known release, in whole or in part"
        reading.note("source.unrecognised", message, place=place)


def _about(known: fingerprints.Known) -> str:
    """Which pieces of an unknown text are known."""
    if not known.pieces:
        return ""
    releases = ", ".join(sorted({release for _, release in known.pieces}))
    same = ", ".join(name for name, _ in known.pieces)
    other = ", ".join(known.unknown) or "only statements outside them"
    return f" (as in {releases}: {same}; not known: {other})"
