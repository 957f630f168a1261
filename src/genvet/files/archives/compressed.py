"""Single streams wrapped by gzip, xz, bzip2, zlib or LZMA: unpacked within the budget, then read as what they hold."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Any

from genvet.files import formats
from genvet.files.archives.unpacking import ERRORS, PIECE, Stream
from genvet.files.reading import MIB, Reading, Stop

_HEAD = 256
_BARE = {"zlib": (b"x\x01", b"x\x5e", b"x\x9c", b"x\xda"), "lzma": (b"]\0\0",)}
XZ_MEMORY = 48 * MIB
"""What an xz stream's dictionary may take, beside twice the file's size: presets up to 8 need less."""


def matches(data: memoryview) -> bool:
    """The magic numbers of gzip, xz and bzip2; zlib's and the oldest LZMA's streams, where they begin as such."""
    return _kind(bytes(data[:_HEAD])) != ""


def _kind(head: bytes) -> str:
    if head.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if head.startswith(b"\xfd7zXZ\0"):
        return "xz"
    if head.startswith(b"BZh") and head[4:10] == b"1AY&SY":
        return "bzip2"
    return next((kind for kind, first in _BARE.items() if head.startswith(first) and _begins(kind, head)), "")


def _begins(kind: str, head: bytes) -> bool:
    """Whether these bytes unpack: streams without a magic number open like any text."""
    try:
        return bool(_unpacker(kind, 0).decompress(head, 64))
    except ERRORS:
        return False


def read(data: memoryview, reading: Reading, place: str, nesting: int) -> None:
    """What is inside, read again by content."""
    formats.name(reading, _kind(bytes(data[:_HEAD])), place, nesting)
    content = _unpack(data, reading, place)
    try:
        formats.read_bytes(memoryview(content), reading, place, nesting + 1)
    except formats.NotAModel as stop:
        if not reading.evidence:
            raise formats.NotAModel(f"compressed data that hold {stop.message}") from None


def _unpack(data: memoryview, reading: Reading, place: str) -> bytearray:
    """All streams that stand one behind the other, as gunzip, unxz and bunzip2 read them."""
    content = bytearray()
    kind = _kind(bytes(data[:_HEAD]))
    at = streams = 0
    while _kind(bytes(data[at : at + _HEAD])) == kind:
        streams += 1
        if streams > reading.limits.members:
            raise Stop("archive.bomb", f"more than {reading.limits.members} compressed streams", at)
        stream = Stream(_unpacker(kind, len(data)), data[at:])
        try:
            for piece in stream.pieces(reading.limits.unpacked + 1):
                reading.unpack(len(piece), at)
                content += piece
        except ERRORS as error:
            message = f"the compressed stream is damaged: {error}"
            reading.note("archive.unreadable", message, place=place, offset=at)
            return content
        if not stream.unpacker.eof:
            reading.note("file.truncated", "the compressed stream ends too early", place=place, offset=at)
        at += stream.end
    rest = data[at:]
    if any(bytes(rest[i : i + PIECE]).strip(b"\0") for i in range(0, len(rest), PIECE)):
        message = f"{len(rest)} bytes after the end of the compressed stream"
        reading.note("archive.hidden", message, place=place, offset=at, length=len(rest))
    return content


def _unpacker(kind: str, size: int) -> Any:
    if kind == "gzip":
        return zlib.decompressobj(31)
    if kind == "zlib":
        return zlib.decompressobj()
    if kind == "bzip2":
        return bz2.BZ2Decompressor()
    if kind == "lzma":
        return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=XZ_MEMORY + 2 * size)
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY + 2 * size)
