"""The headers of zip archives: where they stand and what each says, unchecked."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from genvet.files.archives.unpacking import ERRORS, Stream
from genvet.files.reading import Reading, Stop

LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
DESCRIPTOR = b"PK\x07\x08"

ENCRYPTED, DESCRIBED, UTF8 = 0x1, 0x8, 0x800
STORED, DEFLATED, BZIP2, LZMA = 0, 8, 12, 14
FULL32, FULL16 = 0xFFFFFFFF, 0xFFFF
UNKNOWN = -1


@dataclass(frozen=True, kw_only=True)
class Header:
    """What one header, local or central, says about an entry."""

    name: bytes
    flags: int
    method: int
    crc: int
    """-1 where the header does not say."""
    packed: int
    size: int
    offset: int
    """Of the local header."""
    start: int = 0
    """Of the packed data; known from the local header only."""
    alias: bytes = b""
    """Another name in UTF-8, by Info-ZIP's extra field: some readers take it instead."""
    mode: int = 0
    """The Unix kind and permissions; known from the central header only."""

    @property
    def text(self) -> str:
        """The name, as text; bytes outside the encoding survive as surrogates."""
        return self.name.decode("utf-8", "surrogateescape") if self.flags & UTF8 else _legacy_name(self.name)


def begins(data: memoryview) -> bool:
    return bytes(data[:4]) in (LOCAL, END)


def find_end(data: memoryview) -> int | None:
    """Where the end record lies: the last one that points at a central directory before itself."""
    tail = max(0, len(data) - 22 - FULL16)
    window = bytes(data[tail:])
    at = window.rfind(END)
    while at >= 0:
        if _plausible_end(data, tail + at):
            return tail + at
        at = window.rfind(END, 0, at)
    return None


def _plausible_end(data: memoryview, at: int) -> bool:
    if at + 22 > len(data):
        return False
    count, size, offset = struct.unpack_from("<HII", data, at + 10)
    if count == 0 and size == 0 and len(data) == 22:
        return True
    # Behind a directory of the wide kind stand its own end record, of 56 bytes, and the 20 that locate it.
    stops = (at, at - 76) if bytes(data[max(0, at - 20) : max(0, at - 16)]) == b"PK\x06\x07" else (at,)
    found = any(central_starts(data, stop, size, offset) for stop in stops)
    return found or FULL32 in (size, offset) or count == FULL16


def central_starts(data: memoryview, at: int, size: int, offset: int) -> list[int]:
    """Where a central directory really begins: by its stated offset, and counted back from its end."""
    return [s for s in dict.fromkeys((offset, at - size)) if 0 <= s < at and bytes(data[s : s + 4]) == CENTRAL]


def central_headers(data: memoryview, at: int, stop: int, count: int, reading: Reading, place: str) -> list[Header]:
    """The entries of the central directory between two offsets."""
    headers: list[Header] = []
    start = at
    while at + 46 <= stop and bytes(data[at : at + 4]) == CENTRAL:
        fields = struct.unpack_from("<HHHHHHIIIHHHHHII", data, at + 4)
        _, _, flags, method, _, _, crc, packed, size, names, extras, comments, disk, _, outer, offset = fields
        name = bytes(data[at + 46 : at + 46 + names])
        extra = data[at + 46 + names : at + 46 + names + extras]
        size, packed, offset = _zip64(extra, [size, packed, offset])
        header = Header(name=name, flags=flags, method=method, crc=crc, packed=packed, size=size, offset=offset)
        headers.append(replace(header, alias=_alias(extra), mode=outer >> 16))
        if disk not in (0, FULL16):
            reading.note("archive.malformed", "an entry claims another disk", place=place, offset=at)
        if len(headers) > reading.limits.members:
            raise Stop("archive.bomb", f"more than {reading.limits.members} entries", at)
        at += 46 + names + extras + comments
    if len(headers) != count or at != stop:
        message = f"the central directory has {len(headers)} entries of the {count} it claims"
        reading.note("archive.malformed", message, place=place, offset=start, length=stop - start)
    return headers


def _extras(extra: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The extra fields by their kind."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        yield kind, extra[at + 4 : at + 4 + length]
        at += 4 + length


def _zip64(extra: memoryview, values: list[int]) -> list[int]:
    """Size, packed size and offset, with those taken from the zip64 extra field that the header leaves open."""
    for kind, content in _extras(extra):
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{len(content) // 8}Q", content))
            return [next(wide, v) if v == FULL32 else v for v in values]
    return values


def _alias(extra: memoryview) -> bytes:
    """The name of the Unicode path field: a version, the checksum of the other name, and the name."""
    return next((bytes(content[5:]) for kind, content in _extras(extra) if kind == 0x7075), b"")


def local_header(data: memoryview, at: int) -> Header | None:
    """The local header at this place, or None where there is none."""
    if at < 0 or at + 30 > len(data) or bytes(data[at : at + 4]) != LOCAL:
        return None
    _, flags, method, _, _, crc, packed, size, names, extras = struct.unpack_from("<HHHHHIIIHH", data, at + 4)
    name = bytes(data[at + 30 : at + 30 + names])
    extra = data[at + 30 + names : at + 30 + names + extras]
    size, packed = _zip64(extra, [size, packed])
    start = at + 30 + names + extras
    header = Header(name=name, flags=flags, method=method, crc=crc, packed=packed, size=size, offset=at, start=start)
    return replace(header, alias=_alias(extra))


def span_end(data: memoryview, central: Header, local: Header) -> int:
    """Where the entry ends, its data descriptor included."""
    at = local.start + central.packed
    if not (central.flags | local.flags) & DESCRIBED:
        return at
    wide = 8 if central.size >= FULL32 or central.packed >= FULL32 else 4
    signed = bytes(data[at : at + 4]) == DESCRIPTOR
    end = at + 4 * signed + 4 + 2 * wide
    # Some writers use wide sizes wherever the entry has a zip64 field.
    if wide == 4 and signed and bytes(data[end : end + 4]) not in (LOCAL, CENTRAL) and end + 8 <= len(data):
        tail = struct.unpack_from("<QQ", data, at + 8)
        end = at + 24 if tail == (central.packed, central.size) else end
    return end


def salvage(data: memoryview, at: int, stop: int, reading: Reading, place: str) -> Iterator[Header]:
    """The entries that stand one behind the other from here, by their local headers."""
    for _ in range(reading.limits.members):
        header = local_header(data, at)
        if header is None or at >= stop:
            return
        if header.flags & DESCRIBED and header.packed in (0, FULL32):
            header = _measured(data, header, stop, reading)
        yield header
        at = span_end(data, header, header)
    raise Stop("archive.bomb", f"more than {reading.limits.members} entries", at)


def _measured(data: memoryview, header: Header, stop: int, reading: Reading) -> Header:
    """An entry whose sizes stand behind it: found by inflating it, or by the next signature."""
    rest = data[header.start : stop]
    if header.method == DEFLATED:
        stream = Stream(zlib.decompressobj(-15), rest)
        size = 0
        try:
            for piece in stream.pieces(reading.limits.unpacked + 1):
                reading.unpack(len(piece), header.start)
                size += len(piece)
        except ERRORS:
            pass
        return replace(header, packed=stream.end, size=size, crc=UNKNOWN)
    ends = (find(rest, mark) for mark in (DESCRIPTOR, LOCAL, CENTRAL))
    packed = min((e for e in ends if e >= 0), default=len(rest))
    return replace(header, packed=packed, size=packed, crc=UNKNOWN)


def find(data: memoryview, mark: bytes) -> int:
    """Where these bytes first stand, -1 if nowhere; searched in pieces, so that nothing large is copied."""
    for at in range(0, len(data), 1 << 20):
        inside = bytes(data[at : at + (1 << 20) + len(mark) - 1]).find(mark)
        if inside >= 0:
            return at + inside
    return -1


def _legacy_name(name: bytes) -> str:
    try:
        return name.decode("ascii")
    except UnicodeDecodeError:
        return name.decode("cp437")
