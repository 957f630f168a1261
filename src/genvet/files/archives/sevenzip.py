"""7z archives: headers by our own reader, data by the standard library's raw LZMA decoders."""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from genvet.files import formats
from genvet.files.archives.sevenzip_header import (
    ENCODED,
    END,
    HEADER,
    Coder,
    Cursor,
    Folder,
    Streams,
    parse,
    read_streams,
)
from genvet.files.archives.unpacking import ERRORS, inflate
from genvet.files.archives.zips import escapes
from genvet.files.reading import Reading, Stop

MAGIC = b"7z\xbc\xaf\x27\x1c"
COPY, LZMA1, LZMA2, DELTA, BZIP2, DEFLATE = b"\0", b"\3\1\1", b"\x21", b"\3", b"\4\2\2", b"\4\1\x08"
AES = b"\6\xf1\7\1"
_BRANCHES = {
    **dict.fromkeys((b"\3\3\1\3", b"\4"), lzma.FILTER_X86),
    **dict.fromkeys((b"\3\3\2\5", b"\5"), lzma.FILTER_POWERPC),
    **dict.fromkeys((b"\3\3\4\1", b"\6"), lzma.FILTER_IA64),
    **dict.fromkeys((b"\3\3\5\1", b"\7"), lzma.FILTER_ARM),
    **dict.fromkeys((b"\3\3\7\1", b"\x08"), lzma.FILTER_ARMTHUMB),
    **dict.fromkeys((b"\3\3\x08\5", b"\x09"), lzma.FILTER_SPARC),
}


def matches(data: memoryview) -> bool:
    """The signature."""
    return bytes(data[:6]) == MAGIC


def read(data: memoryview, reading: Reading, place: str, nesting: int) -> None:
    """Every member, read by content."""
    spans: list[tuple[int, int]] = []
    formats.read_members(list(_members(data, reading, place, spans)), reading, place, nesting)
    _check_space(data, spans, reading, place)


def _members(
    data: memoryview, reading: Reading, place: str, spans: list[tuple[int, int]]
) -> Iterator[tuple[str, memoryview]]:
    header = _header(data, reading, place, spans)
    if header is None:
        return
    streams, names = parse(header)
    spans += _pack_spans(streams)
    contents = _contents(data, streams, reading, place)
    for (name, empty), content in _paired(names, contents):
        where = formats.within(place, name)
        if reason := escapes(name):
            reading.note("archive.traversal", f"the entry's name {reason}", place=where)
        if not empty:
            yield name, content


def _paired(
    names: list[tuple[str, bool]], contents: Iterator[memoryview]
) -> Iterator[tuple[tuple[str, bool], memoryview]]:
    """Names and contents side by side; contents without a name are read as well."""
    nothing = memoryview(b"")
    for name, empty in names:
        yield (name, empty), nothing if empty else next(contents, nothing)
    for i, content in enumerate(contents):
        yield (f"(unnamed {i})", False), content


def _header(data: memoryview, reading: Reading, place: str, spans: list[tuple[int, int]]) -> Cursor | None:
    """The plain header, unpacked where it is packed itself."""
    if len(data) < 32:
        raise Stop("file.truncated", "the 7z archive ends in its first header", 0)
    stated, offset, size, crc = struct.unpack_from("<IQQI", data, 8)
    if zlib.crc32(data[12:32]) != stated:
        reading.note("archive.crc", "the first header's checksum is wrong", place=place, offset=8)
    spans += [(0, 32), (32 + offset, 32 + offset + size)]
    if 32 + offset + size > len(data):
        raise Stop("file.truncated", "the 7z archive ends before its header", 32)
    header = data[32 + offset : 32 + offset + size]
    most = reading.limits.members
    for _ in range(reading.limits.nesting):
        if zlib.crc32(header) != crc:
            reading.note("archive.crc", "the header's checksum is wrong", place=place, offset=32 + offset)
        cursor = Cursor(header, most)
        kind = cursor.number() if size else END
        if kind in (HEADER, END):
            return cursor if kind == HEADER else None
        if kind != ENCODED:
            raise Stop("archive.malformed", "the 7z header is of no known kind", 32 + offset)
        streams = read_streams(cursor)
        spans += _pack_spans(streams)
        if len(streams.folders) != 1:
            raise Stop("archive.malformed", "the packed 7z header is not one stream", 32 + offset)
        header = _unpack(data, streams, 0, 0, reading, place)
        crc = streams.folders[0].crc if streams.folders[0].crc is not None else zlib.crc32(header)
    raise Stop("archive.bomb", "the 7z header is packed again and again", 32 + offset)


def _pack_spans(streams: Streams) -> list[tuple[int, int]]:
    return [(32 + streams.start, 32 + streams.start + sum(streams.sizes))]


def _contents(data: memoryview, streams: Streams, reading: Reading, place: str) -> Iterator[memoryview]:
    """The files' bytes, in order; a folder that cannot be unpacked gives empty ones and a note."""
    pack = 0
    for number, folder in enumerate(streams.folders):
        try:
            whole = _unpack(data, streams, number, pack, reading, place)
        except Stop as stop:
            if stop.rule == "archive.bomb":
                raise
            reading.note(stop.rule, stop.message, place=place, offset=stop.offset)
            whole = memoryview(b"")
        pack += folder.packs
        at = 0
        for size, crc in folder.streams:
            content = whole[at : at + size]
            at += size
            if whole and crc is not None and zlib.crc32(content) != crc:
                reading.note("archive.crc", "an entry's checksum is wrong", place=place)
            yield content


def _unpack(data: memoryview, streams: Streams, number: int, pack: int, reading: Reading, place: str) -> memoryview:
    """The bytes of one folder; its size is charged before they are made."""
    folder = streams.folders[number]
    if any(c.method == AES for c in folder.coders):
        raise Stop("archive.encrypted", "the 7z entry is encrypted")
    chain = _chain(folder)
    if pack >= len(streams.sizes):
        raise Stop("archive.malformed", "a 7z folder has no packed stream")
    start = 32 + streams.start + sum(streams.sizes[:pack])
    packed = data[start : start + streams.sizes[pack]]
    if len(packed) < streams.sizes[pack]:
        raise Stop("file.truncated", "a packed 7z stream reaches past the end", start)
    size = folder.coders[folder.last].size
    reading.unpack(size, start)
    try:
        content, problem = _decoded(packed, chain, size)
    except (*ERRORS, struct.error) as error:
        content, problem = packed[:0], str(error)
    if problem:
        message = f"the 7z entry cannot be unpacked: {problem}"
        reading.note("archive.unreadable", message, place=place, offset=start)
    return content


def _chain(folder: Folder) -> list[Coder]:
    """The coders in the order of unpacking, where each has one input and one output."""
    if any(c.inputs != 1 or c.outputs != 1 for c in folder.coders):
        raise Stop("archive.unreadable", "a 7z coder with several streams")
    chain, at = [folder.coders[folder.last]], folder.last
    while at in folder.bonds and len(chain) < len(folder.coders):
        at = folder.bonds[at]
        if at >= len(folder.coders):
            raise Stop("archive.malformed", "a 7z bond leads nowhere")
        chain.append(folder.coders[at])
    return chain[::-1]


def _decoded(packed: memoryview, chain: list[Coder], size: int) -> tuple[memoryview, str]:
    """What comes out, and what went wrong, if anything."""
    first, *filters = chain
    if first.method == COPY and not filters:
        return packed, "" if len(packed) == size else "a copied entry has two sizes"
    if first.method in (LZMA1, LZMA2):
        return _lzma(packed, first, filters, size)
    if filters or first.method not in (BZIP2, DEFLATE):
        return packed[:0], "method " + " ".join(c.method.hex() for c in chain) + " is not read"
    unpacker: Any = bz2.BZ2Decompressor() if first.method == BZIP2 else zlib.decompressobj(-15)
    return inflate(packed, size, unpacker)


def _lzma(packed: memoryview, coder: Coder, filters: list[Coder], size: int) -> tuple[memoryview, str]:
    main = _lzma_filter(coder, size)
    outer = [_filter(f) for f in reversed(filters)]
    content, problem = inflate(packed, size, lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[*outer, main]), ends=False)
    missing = size - len(content)
    if outer and 0 < missing < 16:
        # A branch filter holds back a last few bytes, which it leaves as they are, where no end mark follows.
        plain, problem = inflate(packed, size, lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[main]), ends=False)
        content = memoryview(bytes(content) + bytes(plain[len(content) :]))
    return content, problem


def _lzma_filter(coder: Coder, size: int) -> dict[str, int]:
    """liblzma's name for the coder; no distance can reach further back than there are bytes."""
    if coder.method == LZMA2:
        if len(coder.properties) != 1 or coder.properties[0] > 40:
            raise ValueError("the LZMA2 properties are wrong")
        bits = coder.properties[0]
        dictionary = (2 | bits & 1) << (bits // 2 + 11)
        return {"id": lzma.FILTER_LZMA2, "dict_size": max(4096, min(dictionary, size))}
    if len(coder.properties) != 5 or coder.properties[0] >= 9 * 5 * 5:
        raise ValueError("the LZMA properties are wrong")
    rest, lc = divmod(coder.properties[0], 9)
    pb, lp = divmod(rest, 5)
    (dictionary,) = struct.unpack_from("<I", coder.properties, 1)
    dictionary = max(4096, min(dictionary, size))
    return {"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": lc, "lp": lp, "pb": pb}


def _filter(coder: Coder) -> dict[str, int]:
    if coder.method == DELTA and len(coder.properties) == 1:
        return {"id": lzma.FILTER_DELTA, "dist": coder.properties[0] + 1}
    if coder.method not in _BRANCHES:
        raise ValueError(f"filter {coder.method.hex()} is not read")
    return {"id": _BRANCHES[coder.method]}


def _check_space(data: memoryview, spans: list[tuple[int, int]], reading: Reading, place: str) -> None:
    at = 0
    for start, stop in [*sorted(spans), (len(data), len(data))]:
        if start > at and bytes(data[at : min(start, at + (1 << 20))]).strip(b"\0"):
            message = f"{start - at} bytes lie outside every entry"
            reading.note("archive.hidden", message, place=place, offset=at, length=start - at)
        at = max(at, stop)
