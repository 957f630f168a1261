"""Measures a value without following it twice: how deep it is, and how large a naive walk would find it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from genvet.files.pickles.inert import Record
from genvet.files.reading import Stop


def children(value: Any) -> Collection[Any]:
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
    agenda: list[tuple[Any, bool]] = [(value, False)] if isinstance(value, _HOLDS) else []
    while agenda:
        node, ready = agenda.pop()
        if not ready and id(node) in sizes:
            continue
        inside = children(node)
        containers = [c for c in inside if isinstance(c, _HOLDS)]
        if ready:
            sizes[id(node)] = 1 + len(inside) - len(containers) + sum(sizes[id(c)] for c in containers)
            depths[id(node)] = 1 + max((depths[id(c)] for c in containers), default=0)
            _check(depths[id(node)] > depth, f"values are nested more than {depth} deep", offset)
            _check(sizes[id(node)] > size, f"shared values unfold to more than {size}", offset)
        elif containers:
            sizes[id(node)], depths[id(node)] = 1, 0
            agenda.append((node, True))
            new = {id(c): c for c in containers if id(c) not in sizes}
            agenda.extend((c, False) for c in new.values())
        else:
            sizes[id(node)], depths[id(node)] = 1 + len(inside), 1


def _check(broken: bool, message: str, offset: int) -> None:
    if broken:
        raise Stop("pickle.limit", message, offset)
