"""Single streams wrapped by gzip, xz or bzip2: unpacked within the budget, then read as what they hold."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Any

from genvet.files import formats
from genvet.files.reading import MIB, Reading, Stop

PIECE = 64 * 1024
XZ_MEMORY = 48 * MIB
"""What an xz stream's dictionary may take, beside twice the file's size: presets up to 8 need less."""


def matches(data: memoryview) -> bool:
    """The magic numbers of gzip, xz and bzip2."""
    return _kind(bytes(data[:10])) != ""


def _kind(head: bytes) -> str:
    if head.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if head.startswith(b"\xfd7zXZ\0"):
        return "xz"
    return "bzip2" if head.startswith(b"BZh") and head[4:10] == b"1AY&SY" else ""


def read(data: memoryview, reading: Reading, place: str, nesting: int) -> None:
    """What is inside, read again by content."""
    formats.name(reading, _kind(bytes(data[:10])), place, nesting)
    try:
        content = _unpack(data, reading, place)
    except (zlib.error, OSError, lzma.LZMAError, ValueError) as error:
        raise Stop("archive.unreadable", f"the compressed stream is damaged: {error}") from None
    try:
        formats.read_bytes(memoryview(content), reading, place, nesting + 1)
    except formats.NotAModel as stop:
        if not reading.evidence:
            raise formats.NotAModel(f"compressed data that hold {stop.message}") from None


def _unpack(data: memoryview, reading: Reading, place: str) -> bytearray:
    """All streams that stand one behind the other, as gunzip, unxz and bunzip2 read them."""
    content = bytearray()
    kind = _kind(bytes(data[:10]))
    at = streams = 0
    while _kind(bytes(data[at : at + 10])) == kind:
        streams += 1
        if streams > reading.limits.members:
            raise Stop("archive.bomb", f"more than {reading.limits.members} compressed streams", at)
        at = _stream(data, at, kind, content, reading, place)
    rest = data[at:]
    if any(bytes(rest[i : i + PIECE]).strip(b"\0") for i in range(0, len(rest), PIECE)):
        message = f"{len(rest)} bytes after the end of the compressed stream"
        reading.note("archive.hidden", message, place=place, offset=at, length=len(rest))
    return content


def _stream(data: memoryview, at: int, kind: str, content: bytearray, reading: Reading, place: str) -> int:
    """Unpack one stream into `content`; gives where it ends. What comes out is charged piece by piece."""
    # zlib keeps its unread input in unconsumed_tail, the others keep it inside: both are fed in pieces.
    unpacker: Any = {
        "gzip": lambda: zlib.decompressobj(31),
        "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY + 2 * len(data)),
        "bzip2": bz2.BZ2Decompressor,
    }[kind]()
    tail = b""
    while not unpacker.eof and (tail or at < len(data) or not getattr(unpacker, "needs_input", True)):
        if not tail and getattr(unpacker, "needs_input", True):
            tail = bytes(data[at : at + PIECE])
            at += len(tail)
        out = unpacker.decompress(tail, MIB)
        tail = getattr(unpacker, "unconsumed_tail", b"")
        reading.unpack(len(out), at)
        content += out
    if not unpacker.eof:
        reading.note("file.truncated", "the compressed stream ends too early", place=place, offset=at)
    return at - len(unpacker.unused_data)
