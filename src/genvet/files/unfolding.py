"""Measures a value without following it twice: how deep it is, and how large a naive walk would find it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from genvet.files.inert import Record
from genvet.files.reading import Stop


def children(value: Any) -> Iterable[Any]:
    """What a container or record holds; nothing for any other value."""
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return value
    if isinstance(value, Record):
        inside = [value.callee, value.args, value.state, value.elements]
        return [*inside, value.kwargs, *(part for pair in value.items for part in pair)]
    return ()


_HOLDS = (dict, list, tuple, set, frozenset, Record)


def check_expansion(value: Any, depth: int, size: int, offset: int) -> None:
    """Raises Stop for a value that is nested deeper than `depth`, or that unfolds to more than `size` values.

    Shared parts are counted as often as they are reached, as a walk without memory would meet them: lists of the same
    two lists, sixty times over, take a kilobyte and unfold to 2^60. A cycle counts once.
    """
    sizes: dict[int, int] = {}
    depths: dict[int, int] = {}
    agenda: list[tuple[Any, bool]] = [(value, False)]
    while agenda:
        node, ready = agenda.pop()
        inside = [c for c in children(node) if isinstance(c, _HOLDS)]
        if not ready:
            if id(node) in sizes:
                continue
            sizes[id(node)], depths[id(node)] = 1, 0
            agenda.append((node, True))
            agenda.extend((c, False) for c in inside if id(c) not in sizes)
            continue
        sizes[id(node)] = 1 + len(_all(node)) - len(inside) + sum(sizes[id(c)] for c in inside)
        depths[id(node)] = 1 + max((depths[id(c)] for c in inside), default=0)
        if depths[id(node)] > depth:
            raise Stop("pickle.limit", f"values are nested more than {depth} deep", offset)
        if sizes[id(node)] > size:
            raise Stop("pickle.limit", f"shared values unfold to more than {size}", offset)


def _all(node: Any) -> list[Any]:
    return list(children(node))
