"""What a pickle becomes when nothing in it is run: names that it asks for, and records of what it would have built.

Runs in the child process: standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from genvet.core.printable import printable
from genvet.files.reading import Stop

How = Literal["reduce", "newobj", "newobj_ex", "inst", "obj", "ext", "persid"]
"""The opcode by which something would be made."""

BytesLike = bytes | bytearray | memoryview


@dataclass(eq=False, slots=True, repr=False)
class Global:
    """A name that loading would import. Two are equal only where they are the same object."""

    module: str
    name: str
    offset: int = 0

    @property
    def path(self) -> str:
        return f"{self.module}.{self.name}"

    def __repr__(self) -> str:
        return f"<{printable(self.path, 120)}>"


@dataclass(eq=False, slots=True, repr=False)
class Record:
    """What calling something would have given: who would be called, with what, and what was then put into it."""

    callee: Global | Record
    args: tuple[Any, ...]
    how: How = "reduce"
    offset: int = 0
    kwargs: Mapping[Any, Any] = field(default_factory=dict)
    state: Any = None
    """What BUILD handed over."""
    elements: list[Any] = field(default_factory=list)
    """What APPEND and APPENDS added."""
    items: list[tuple[Any, Any]] = field(default_factory=list)
    """What SETITEM and SETITEMS added, as pairs: keys are never hashed."""

    @property
    def root(self) -> Global:
        """The name at the bottom of a chain of calls."""
        callee = self.callee
        while isinstance(callee, Record):
            callee = callee.callee
        return callee

    @property
    def path(self) -> str:
        return self.callee.path if isinstance(self.callee, Global) else f"{self.root.path}(...)"

    def __repr__(self) -> str:
        return f"<record of {printable(self.path, 120)}>"


def key(value: Any) -> Any:
    """The value, where it may be hashed; raises Stop where hashing it could overflow the stack or be made slow.

    Integers within 61 bits hash to themselves, texts and bytes by a secret; what is left can be made to collide.
    """
    if value is None or isinstance(value, (str, bool, float, Global, Record)):
        return value
    if isinstance(value, int) and -(1 << 60) < value < (1 << 60):
        return value
    if isinstance(value, bytes) or (isinstance(value, memoryview) and len(value) <= 4096):
        return bytes(value)
    if isinstance(value, tuple) and len(value) <= 8 and all(_flat(v) for v in value):
        return value
    if isinstance(value, frozenset) and len(value) <= 1000:
        return value
    raise Stop("pickle.limit", f"a {type(value).__name__} of that size or kind as a key could be made to hang a loader")


def _flat(value: Any) -> bool:
    return value is None or isinstance(value, (str, bytes, bool, float, int, Global))


def shown(value: Any, limit: int = 160) -> str:
    """Arguments for a reader: never follows a structure deep, prints nothing that deceives.

    >>> shown(("ls -la", [1, 2, (3, (4,))]))
    "('ls -la', [1, 2, (3, (…))])"
    """
    return printable("".join(_shown(value, 3)), limit)


def _shown(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield repr(value[:200])
    elif isinstance(value, (bytes, bytearray, memoryview)):
        yield repr(bytes(value[:40])) + (f" ({len(value)} bytes)" if len(value) > 40 else "")
    elif isinstance(value, int) and value.bit_length() > 256:
        yield f"an integer of {value.bit_length()} bits"
    elif isinstance(value, (list, tuple, dict, set, frozenset)):
        yield from _container(value, depth)
    elif value is None or isinstance(value, (bool, int, float, complex, Global, Record)):
        yield repr(value)
    else:
        yield f"<{type(value).__name__}>"


def _container(value: Any, depth: int) -> Iterator[str]:
    first, last = {list: "[]", tuple: "()"}.get(type(value), "{}")
    yield first
    for i, item in enumerate(value):
        if i:
            yield ", "
        if i == 6 or depth == 0:
            yield "…"
            break
        yield from _shown(item, depth - 1)
        if isinstance(value, dict):
            yield ": "
            yield from _shown(value[item], depth - 1)
    yield ",)" if isinstance(value, tuple) and len(value) == 1 and depth else last
