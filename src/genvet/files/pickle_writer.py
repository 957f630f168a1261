"""Writes pickle streams opcode by opcode, without the pickle module: honest ones, and hostile ones for tests."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FRAME = 64 * 1024
"""Python closes a frame at this many bytes, and writes longer strings outside of frames."""
BATCH = 1000


@dataclass(frozen=True)
class Global:
    """A name that the reader would import."""

    module: str
    name: str


@dataclass(frozen=True, eq=False)
class Reduce:
    """A call: `function(*args)`; with a state, `BUILD` follows."""

    function: Any
    args: tuple[Any, ...]
    state: Any = None


@dataclass(frozen=True, eq=False)
class New:
    """An object by `cls.__new__(cls, *args)`; with a state, `BUILD` follows."""

    cls: Any
    args: tuple[Any, ...] = ()
    state: Any = None
    items: Mapping[Any, Any] = field(default_factory=dict)
    """Of a dict's subclass: set before the state."""


@dataclass(frozen=True, eq=False)
class Persistent:
    """An object that the reader's `persistent_load` is asked for."""

    id: Any


@dataclass(frozen=True, eq=False)
class Raw:
    """Opcodes as they are; they must leave one value on the stack."""

    opcodes: bytes


class Writer:
    """Writes one stream: `Writer(4).value(x).finish()` is the bytes. Frames and the memo follow Python's own habits."""

    def __init__(self, protocol: int = 4, *, frames: bool = True) -> None:
        if protocol not in range(2, 6):
            raise ValueError(f"protocol {protocol} is not one of 2 to 5")
        self.protocol = protocol
        self._frames = frames and protocol >= 4
        self._out = bytearray(b"\x80" + bytes([protocol]))
        self._frame = bytearray()
        self._memo: dict[Any, int] = {}
        self._alive: list[Any] = []  # ids stay taken while the objects they stand for are kept
        self._puts = 0

    def finish(self) -> bytes:
        """The stream, closed by STOP."""
        self.raw(b".")
        self._close_frame()
        return bytes(self._out)

    def raw(self, opcodes: bytes) -> Writer:
        """Add opcodes as they are."""
        self._frame += opcodes
        return self

    def value(self, value: Any) -> Writer:
        """Write a value; the same string, container, call or global a second time is a GET from the memo."""
        if len(self._frame) >= FRAME:
            self._close_frame()
        return self._value(value)

    def _value(self, value: Any) -> Writer:
        match value:
            case None:
                return self.raw(b"N")
            case bool():
                return self.raw(b"\x88" if value else b"\x89")
            case int():
                return self._int(value)
            case float():
                return self.raw(b"G" + struct.pack(">d", value))
            case Raw():
                return self.raw(value.opcodes)
        key = value if isinstance(value, (str, bytes, Global)) else id(value)
        if (index := self._memo.get((type(value), key))) is not None:
            return self.get(index)
        self._alive.append(value)
        self._compound(value, (type(value), key))
        return self

    def get(self, index: int) -> Writer:
        """Push a memo entry."""
        return self.raw(b"h" + bytes([index]) if index < 256 else b"j" + struct.pack("<I", index))

    def put(self, key: Any = None) -> Writer:
        """Keep the top of the stack in the memo."""
        if key is not None:
            self._memo[key] = self._puts
        n, self._puts = self._puts, self._puts + 1
        if self.protocol >= 4:
            return self.raw(b"\x94")
        return self.raw(b"q" + bytes([n]) if n < 256 else b"r" + struct.pack("<I", n))

    def _compound(self, value: Any, key: Any) -> None:
        match value:
            case str():
                self._text(value).put(key)
            case bytes():
                self._bytes(value).put(key)
            case tuple():
                self._tuple(value)
            case list():
                self.raw(b"]").put(key)
                self._batch([(x,) for x in value], b"a", b"e")
            case Mapping():
                self.raw(b"}").put(key)
                self._items(value)
            case set() | frozenset():
                self._set(value, key)
            case Global():
                self._global(value).put(key)
            case Reduce():
                self.value(value.function).value(value.args).raw(b"R").put(key)
                self._build(value.state)
            case New():
                self.value(value.cls).value(value.args).raw(b"\x81").put(key)
                self._items(value.items)
                self._build(value.state)
            case Persistent():
                self.value(value.id).raw(b"Q")
            case _:
                raise TypeError(f"{type(value).__name__} has no opcodes here")

    def _int(self, value: int) -> Writer:
        if 0 <= value < 256:
            return self.raw(b"K" + bytes([value]))
        if 0 <= value < 65536:
            return self.raw(b"M" + struct.pack("<H", value))
        if -(2**31) <= value < 2**31:
            return self.raw(b"J" + struct.pack("<i", value))
        data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return self.raw(b"\x8a" + bytes([len(data)]) + data)

    def _text(self, value: str) -> Writer:
        data = value.encode("utf-8", "surrogatepass")
        if self.protocol >= 4 and len(data) < 256:
            return self.raw(b"\x8c" + bytes([len(data)]) + data)
        return self._long(b"X" + struct.pack("<I", len(data)), data)

    def _bytes(self, value: bytes) -> Writer:
        if self.protocol < 3:
            raise TypeError("bytes need protocol 3")
        if len(value) < 256:
            return self.raw(b"C" + bytes([len(value)]) + value)
        if len(value) < 2**32:
            return self._long(b"B" + struct.pack("<I", len(value)), value)
        return self._long(b"\x8e" + struct.pack("<Q", len(value)), value)

    def _long(self, head: bytes, data: bytes) -> Writer:
        if not self._frames or len(data) < FRAME:
            return self.raw(head + data)
        self._close_frame()
        self._out += head + data
        return self

    def _close_frame(self) -> None:
        if self._frames and len(self._frame) >= 4:
            self._out += b"\x95" + struct.pack("<Q", len(self._frame))
        self._out += self._frame
        self._frame.clear()

    def _tuple(self, value: tuple[Any, ...]) -> None:
        if len(value) > 3:
            self.raw(b"(")
        for x in value:
            self.value(x)
        self.raw((b")", b"\x85", b"\x86", b"\x87")[len(value)] if len(value) <= 3 else b"t")
        if value:
            self.put((tuple, id(value)))

    def _set(self, value: set[Any] | frozenset[Any], key: Any) -> None:
        if self.protocol < 4:
            self.value(Reduce(Global("builtins", "set"), (sorted(value),))).put(key)
            return
        self.raw(b"\x8f").put(key)
        if value:
            self.raw(b"(")
            for x in sorted(value):
                self.value(x)
            self.raw(b"\x90")

    def _global(self, value: Global) -> Writer:
        if self.protocol < 4:
            return self.raw(f"c{value.module}\n{value.name}\n".encode())
        return self.value(value.module).value(value.name).raw(b"\x93")

    def _items(self, items: Mapping[Any, Any]) -> None:
        self._batch(list(items.items()), b"s", b"u")

    def _batch(self, items: Sequence[tuple[Any, ...]], one: bytes, many: bytes) -> None:
        """Items of a list or dict, 1000 at a time; a lone one has an opcode of its own."""
        for start in range(0, len(items), BATCH):
            batch = items[start : start + BATCH]
            if len(batch) > 1:
                self.raw(b"(")
            for item in batch:
                for x in item:
                    self.value(x)
            self.raw(many if len(batch) > 1 else one)

    def _build(self, state: Any) -> None:
        if state is not None:
            self.value(state).raw(b"b")


def dumps(value: Any, protocol: int = 4, *, frames: bool = True) -> bytes:
    """One value as a pickle stream."""
    return Writer(protocol, frames=frames).value(value).finish()
