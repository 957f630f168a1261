"""Zip archives, read field by field: what the local and the central view say, and where they disagree."""

from __future__ import annotations

import bz2
import lzma
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from genvet.files.archives.unpacking import inflate
from genvet.files.archives.zip_headers import (
    BZIP2,
    DEFLATED,
    DESCRIBED,
    ENCRYPTED,
    END,
    FULL32,
    LOCAL,
    LZMA,
    STORED,
    UNKNOWN,
    UTF8,
    Header,
    begins,
    central_headers,
    central_starts,
    find,
    find_end,
    local_header,
    salvage,
    span_end,
)
from genvet.files.reading import Reading, Stop

END64, LOCATOR64 = b"PK\x06\x06", b"PK\x06\x07"
# Deflate options (bits 1 and 2), a data descriptor (3) and UTF-8 names (11) are all that honest writers set.
USUAL_FLAGS = 0x2 | 0x4 | DESCRIBED | UTF8


@dataclass
class Unpacked:
    """The members by the central directory, and every other view of the archive's bytes."""

    members: dict[str, memoryview] = field(default_factory=dict)
    others: list[tuple[str, memoryview]] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    """The stretches of the archive that its entries and tables take up."""


def matches(data: memoryview) -> bool:
    """It begins like a zip, or ends like one."""
    return begins(data) or find_end(data) is not None


def unpack(data: memoryview, reading: Reading, place: str) -> Unpacked:
    """Every entry in every view, checked; anomalies are noted, and none is trusted."""
    found = Unpacked()
    end = find_end(data)
    if end is None:
        reading.note("file.truncated", "the zip archive has no end record: read entry by entry", place=place)
        for header in salvage(data, 0, len(data), reading, place):
            _add_local(data, header, reading, place, found)
        return found
    try:
        directories = list(_directories(data, end, reading, place, found))
    except Stop as problem:
        # Without a directory every entry is one that no directory lists.
        reading.note(problem.rule, problem.message, place=place, offset=problem.offset)
        directories = []
    for start, stop, count, shift in directories:
        for header in central_headers(data, start, stop, count, reading, place):
            _add(data, replace(header, offset=header.offset + shift), reading, place, found)
        found.spans.append((start, stop))
    _check_space(data, reading, place, found)
    return found


def _directories(
    data: memoryview, end: int, reading: Reading, place: str, found: Unpacked
) -> Iterator[tuple[int, int, int, int]]:
    """(start, stop, count, shift) of the central directory; two of them where readers would disagree.

    An archive with bytes before it counts its offsets from where it began: `shift` says how far in that is.
    """
    disk, first, here, count, size, offset, comment = struct.unpack_from("<HHHHIIH", data, end + 4)
    stop, disks = end, disk | first
    found.spans.append((end, min(len(data), end + 22 + comment)))
    if end + 22 + comment > len(data):
        reading.note("archive.malformed", "the zip comment reaches past the end", place=place, offset=end)
    if bytes(data[end + 22 : end + 22 + comment]).find(END) >= 0:
        reading.note("archive.malformed", "the zip comment holds a second end record", place=place, offset=end + 22)
    if bytes(data[max(0, end - 20) : max(0, end - 16)]) == LOCATOR64:
        stop, disks, here, count, size, offset = _zip64_end(data, end, found)
    if disks or here != count:
        reading.note("archive.malformed", "the zip archive claims to be split over several disks", place=place)
    starts = central_starts(data, stop, size, offset)
    if count and not starts:
        raise Stop("archive.malformed", "the central directory is not where the end record says", end)
    if len(starts) > 1:
        reading.note("archive.mismatch", "two central directories can be found", place=place, offset=starts[0])
    for start in starts:
        yield start, stop, count, start - offset


def _zip64_end(data: memoryview, end: int, found: Unpacked) -> tuple[int, int, int, int, int, int]:
    disk, at, _ = struct.unpack_from("<IQI", data, end - 16)
    # With bytes before the archive the stated place is wrong: then the record lies right before its locator.
    for start in (at, end - 20 - 56):
        if 0 <= start <= end - 76 and bytes(data[start : start + 4]) == END64:
            first, own, here, count, size, offset = struct.unpack_from("<IIQQQQ", data, start + 16)
            found.spans.append((start, end))
            return start, disk | first | own, here, count, size, offset
    raise Stop("archive.malformed", "the zip64 end record is missing", end)


def _add(data: memoryview, central: Header, reading: Reading, place: str, found: Unpacked) -> None:
    """Read one entry as its central header says, and once more as its local header says where that differs."""
    name, where = central.text, _within(place, central.text)
    local = local_header(data, central.offset)
    if local is None:
        reading.note("archive.malformed", "an entry has no local header", place=where, offset=central.offset)
        return
    _check_name(replace(central, alias=central.alias or local.alias), reading, where)
    _check_flags(central.flags | local.flags, reading, where, central.offset)
    differing = _differences(central, local)
    if differing:
        message = f"local and central header disagree about {', '.join(differing)}"
        detail = f"central: {central}\nlocal: {local}"
        reading.note("archive.mismatch", message, place=where, offset=central.offset, detail=detail)
        _keep_other(data, _completed(local, central), reading, place, found)
    if name in found.members:
        reading.note("archive.duplicate", "two entries have this name", place=where, offset=central.offset)
        found.others.append((name, _content(data, replace(central, start=local.start), reading, where)))
    else:
        found.members[name] = _content(data, replace(central, start=local.start), reading, where)
    found.spans.append((central.offset, span_end(data, central, local)))


def _completed(local: Header, central: Header) -> Header:
    """The local view, with what it leaves to its data descriptor."""
    if not local.flags & DESCRIBED or local.packed:
        return local
    return replace(local, packed=central.packed, size=central.size, crc=central.crc)


def _keep_other(data: memoryview, header: Header, reading: Reading, place: str, found: Unpacked) -> None:
    """Another view of an entry; where it cannot be read the disagreement has been noted already."""
    try:
        content = _content(data, header, reading, _within(place, header.text))
    except Stop as stop:
        if stop.rule == "archive.bomb":
            raise
        return
    found.others.append((f"{header.text} (local)", content))


def _add_local(data: memoryview, header: Header, reading: Reading, place: str, found: Unpacked) -> None:
    where = _within(place, header.text)
    _check_name(header, reading, where)
    _check_flags(header.flags, reading, where, header.offset)
    content = _content(data, header, reading, where)
    if found.members.setdefault(header.text, content) is not content:
        found.others.append((header.text, content))


def _differences(central: Header, local: Header) -> list[str]:
    fields = ["name", "flags", "method"]
    # With a data descriptor the local header may leave these at zero.
    described = local.flags & DESCRIBED
    fields += [f for f in ("crc", "packed", "size") if not (described and getattr(local, f) in (0, FULL32))]
    return [f for f in fields if getattr(central, f) != getattr(local, f)]


def _check_name(header: Header, reading: Reading, where: str) -> None:
    if reason := escapes(header.text):
        reading.note("archive.traversal", f"the entry's name {reason}", place=where, offset=header.offset)
    if stat.S_ISLNK(header.mode):
        reading.note("archive.traversal", "the entry is a symbolic link", place=where, offset=header.offset)
    other = header.alias.decode("utf-8", "replace")
    if other not in ("", header.text, header.name.decode("utf-8", "replace")) and header.name.isascii():
        message = f"another field calls the entry {other!r}"
        reading.note("archive.mismatch", message, place=where, offset=header.offset)
        if reason := escapes(other):
            reading.note("archive.traversal", f"the entry's other name {reason}", place=where, offset=header.offset)


def escapes(name: str) -> str:
    """Why a member's name would leave the folder, or "".

    >>> escapes("model/../../etc/passwd")
    'climbs out with ..'
    """
    if "\x00" in name:
        return "holds a NUL character"
    if name.startswith("/") or name[1:2] == ":":
        return "is absolute"
    if "\\" in name:
        return "holds a backslash"
    return "climbs out with .." if ".." in name.split("/") else ""


def _check_flags(flags: int, reading: Reading, where: str, offset: int) -> None:
    if odd := flags & ~USUAL_FLAGS:
        reading.note("archive.flags", f"unusual flag bits {odd:#06x} are set", place=where, offset=offset)


def _content(data: memoryview, header: Header, reading: Reading, where: str) -> memoryview:
    """The unpacked bytes of an entry; where it is damaged, those that come out before."""
    packed = data[header.start : header.start + header.packed]
    if len(packed) < header.packed:
        reading.note("file.truncated", "the entry reaches past the end", place=where, offset=header.start)
    content, problem = _unpacked(packed, header, reading)
    if header.flags & ENCRYPTED:
        if problem or zlib.crc32(content) != header.crc:
            reading.note("archive.encrypted", "the entry is encrypted", place=where, offset=header.start)
    elif problem:
        message = f"the entry cannot be unpacked: {problem}"
        reading.note("archive.unreadable", message, place=where, offset=header.start)
    elif header.crc not in (UNKNOWN, zlib.crc32(content)):
        reading.note("archive.crc", "the checksum is wrong", place=where, offset=header.start)
    return content


def _unpacked(packed: memoryview, header: Header, reading: Reading) -> tuple[memoryview, str]:
    """Unpack by method; every byte that comes out is charged before it is made. Says what went wrong, if anything."""
    # Stored bytes are charged as well: a thousand entries may share the same ones.
    reading.unpack(max(header.size, len(packed)) if header.method == STORED else header.size, header.start)
    if header.method == STORED:
        return packed, "" if header.size == header.packed else "a stored entry has two sizes"
    if header.method == DEFLATED:
        return inflate(packed, header.size, zlib.decompressobj(-15))
    if header.method == BZIP2:
        return inflate(packed, header.size, bz2.BZ2Decompressor())
    if header.method == LZMA:
        try:
            return inflate(packed[9:], header.size, _lzma(packed, header.size), ends=False)
        except (ValueError, struct.error) as error:
            return packed[:0], str(error)
    return packed[:0], f"compression method {header.method} is not known"


def _lzma(packed: memoryview, size: int) -> lzma.LZMADecompressor:
    length, properties, dictionary = struct.unpack_from("<HBI", packed, 2)
    if length != 5 or properties >= 9 * 5 * 5:
        raise ValueError("the LZMA header is wrong")
    rest, lc = divmod(properties, 9)
    pb, lp = divmod(rest, 5)
    # No distance can reach further back than there are bytes.
    dictionary = max(4096, min(dictionary, size))
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": lc, "lp": lp, "pb": pb}]
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)


def _check_space(data: memoryview, reading: Reading, place: str, found: Unpacked) -> None:
    """Note entries that overlap, and bytes that belong to no entry; entries hidden there are read."""
    at = 0
    for start, stop in sorted(found.spans):
        if start < at:
            reading.note("archive.malformed", "two entries overlap", place=place, offset=start, length=at - start)
        elif start > at:
            _hidden(data, at, start, reading, place, found)
        at = max(at, stop)
    _hidden(data, at, len(data), reading, place, found)


def _hidden(data: memoryview, start: int, stop: int, reading: Reading, place: str, found: Unpacked) -> None:
    gap = data[start:stop]
    # Writers align entries with zeros: those hide nothing.
    if not any(gap[i : i + 4096].tobytes().strip(b"\0") for i in range(0, len(gap), 4096)):
        return
    message = f"{len(gap)} bytes lie outside every entry"
    reading.note("archive.hidden", message, place=place, offset=start, length=len(gap), detail=bytes(gap[:64]).hex(" "))
    found.others += _entries_in_gap(data, start, stop, reading, place)


def _entries_in_gap(
    data: memoryview, start: int, stop: int, reading: Reading, place: str
) -> Iterator[tuple[str, memoryview]]:
    """Entries that no directory lists, wherever they stand in a gap, and what lies around them."""
    at = start
    for _ in range(reading.limits.members):
        next_one = find(data[at:stop], LOCAL)
        until = stop if next_one < 0 else at + next_one
        if until > at:
            yield f"(bytes {at} to {until})", data[at:until]
        if next_one < 0:
            return
        at = until + len(LOCAL)
        for header in salvage(data, until, stop, reading, place):
            yield header.text, _content(data, header, reading, _within(place, header.text))
            at = max(at, span_end(data, header, header))
    raise Stop("archive.bomb", f"more than {reading.limits.members} entries", start)


def _within(place: str, name: str) -> str:
    return f"{place}/{name}" if place else name
