"""The protobuf wire format: fields in turn, every length bounded by the bytes that are there."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator

from genvet.files.reading import Stop

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MASK = (1 << 64) - 1


def fields(data: memoryview, start: int = 0) -> Iterator[tuple[int, int | memoryview, int]]:
    """(number, value, offset) of each field; whole numbers come unsigned, the rest as bytes."""
    at = 0
    while at < len(data):
        tag, value_at = varint(data, at, start)
        number, wire = tag >> 3, tag & 7
        offset = start + at
        if not number:
            raise Stop("onnx.malformed", "a field numbered zero", offset)
        if wire == VARINT:
            value, at = varint(data, value_at, start)
            yield number, value, offset
            continue
        if wire == BYTES:
            length, value_at = varint(data, value_at, start)
        elif wire in (FIXED32, FIXED64):
            length = 4 if wire == FIXED32 else 8
        else:
            raise Stop("onnx.malformed", f"wire type {wire} is not read", offset)
        at = value_at + length
        if at > len(data):
            rule = "onnx.malformed" if start else "file.truncated"
            raise Stop(rule, "a field reaches past the end", offset)
        yield number, data[value_at:at], start + value_at


def varint(data: memoryview, at: int, start: int = 0) -> tuple[int, int]:
    """An unsigned number of at most 64 bits, and where it ends."""
    value = shift = 0
    while shift < 70:
        if at >= len(data):
            raise Stop("onnx.malformed" if start else "file.truncated", "a number reaches past the end", start + at)
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK, at
        shift += 7
    raise Stop("onnx.malformed", "a number of more than ten bytes", start + at)


def varints(data: memoryview | int) -> array[int]:
    """A packed list of signed numbers, or the single one that an unpacked field holds. Eight bytes each, no more."""
    if isinstance(data, int):
        return array("q", (signed(data),))
    found = array("q")
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            found.append(signed(value & _MASK))
            value = shift = 0
        elif (shift := shift + 7) > 63:
            raise Stop("onnx.malformed", "a number of more than ten bytes")
    if shift:
        raise Stop("onnx.malformed", "a list of numbers that ends inside one")
    return found


def floats(data: memoryview | int) -> list[float]:
    """A packed list of 32-bit floats, or a single one."""
    if isinstance(data, int) or len(data) % 4:
        raise Stop("onnx.malformed", "a list of floats of the wrong length")
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def signed(value: int) -> int:
    """Two's complement of 64 bits.

    >>> signed(2**64 - 1)
    -1
    """
    return value - (1 << 64) if value >> 63 else value


def text(value: int | memoryview) -> str:
    """A string field; bytes outside UTF-8 survive as surrogates."""
    return str(message(value), "utf-8", "surrogateescape")


def whole(value: int | memoryview) -> int:
    """A varint field."""
    if isinstance(value, int):
        return value
    raise Stop("onnx.malformed", "bytes where a number belongs")


def message(value: int | memoryview) -> memoryview:
    """A field of bytes."""
    if isinstance(value, int):
        raise Stop("onnx.malformed", "a number where bytes belong")
    return value
