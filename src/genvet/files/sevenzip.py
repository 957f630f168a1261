"""7z archives: headers by our own reader, data by the standard library's raw LZMA decoders."""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from genvet.files import formats
from genvet.files.reading import Reading, Stop
from genvet.files.zips import escapes

MAGIC = b"7z\xbc\xaf\x27\x1c"
(END, HEADER, PROPERTIES, EXTRA_STREAMS, STREAMS, FILES, PACK, FOLDERS, SUBSTREAMS, SIZE, CRC, FOLDER) = range(12)
UNPACK_SIZE, COUNTS, EMPTY, EMPTY_FILE, ANTI, NAMES, ENCODED = 12, 13, 14, 15, 16, 17, 23

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


@dataclass
class Coder:
    """One step of unpacking, with the size of what it gives."""

    method: bytes
    properties: bytes
    inputs: int
    outputs: int
    size: int = 0


@dataclass
class Folder:
    """Coders that follow one another, and the streams that come out at their end."""

    coders: list[Coder]
    bonds: dict[int, int]
    """Input stream -> output stream that feeds it."""
    crc: int | None = None
    packs: int = 1
    streams: list[tuple[int, int | None]] = field(default_factory=list)
    """Size and checksum of each file in it."""

    @property
    def last(self) -> int:
        """The coder whose output nothing else takes."""
        return next((i for i in range(len(self.coders)) if i not in self.bonds.values()), 0)


@dataclass
class Streams:
    """Where the packed streams lie, and how they unpack."""

    start: int = 0
    sizes: list[int] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)


class Cursor:
    """Reads a header's numbers; every length is bounded by the bytes that are there."""

    def __init__(self, data: memoryview, most: int) -> None:
        self.data, self.most, self.at = data, most, 0

    def take(self, n: int) -> memoryview:
        if n < 0 or self.at + n > len(self.data):
            raise Stop("archive.malformed", "the 7z header ends too early", self.at)
        self.at += n
        return self.data[self.at - n : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        """7z's own variable length: the first byte's leading ones say how many bytes follow."""
        first, value, mask = self.byte(), 0, 0x80
        for i in range(8):
            if not first & mask:
                return value + ((first & (mask - 1)) << (8 * i))
            value += self.byte() << (8 * i)
            mask >>= 1
        return value

    def count(self) -> int:
        """A number of things, capped."""
        n = self.number()
        if n > self.most:
            raise Stop("archive.bomb", f"the 7z header claims {n} items", self.at)
        return n

    def expect(self, kind: int) -> None:
        if self.number() != kind:
            raise Stop("archive.malformed", "the 7z header is out of order", self.at)

    def bits(self, n: int) -> list[bool]:
        data = self.take(-(-n // 8))
        return [bool(data[i // 8] & 0x80 >> i % 8) for i in range(n)]

    def digests(self, n: int) -> list[int | None]:
        known = [True] * n if self.byte() else self.bits(n)
        return [struct.unpack("<I", self.take(4))[0] if k else None for k in known]


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
    streams, names = _parse(header)
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
        streams = _streams(cursor)
        spans += _pack_spans(streams)
        if len(streams.folders) != 1:
            raise Stop("archive.malformed", "the packed 7z header is not one stream", 32 + offset)
        header = _unpack(data, streams, 0, 0, reading)
        crc = streams.folders[0].crc if streams.folders[0].crc is not None else zlib.crc32(header)
    raise Stop("archive.bomb", "the 7z header is packed again and again", 32 + offset)


def _pack_spans(streams: Streams) -> list[tuple[int, int]]:
    return [(32 + streams.start, 32 + streams.start + sum(streams.sizes))]


def _parse(cursor: Cursor) -> tuple[Streams, list[tuple[str, bool]]]:
    """The streams, and every file's name with whether it is empty."""
    streams, names = Streams(), []
    while (kind := cursor.number()) != END:
        if kind == PROPERTIES:
            while cursor.number() != END:
                cursor.take(cursor.number())
        elif kind in (STREAMS, EXTRA_STREAMS):
            streams = _streams(cursor)
        elif kind == FILES:
            names = _files(cursor)
        else:
            raise Stop("archive.malformed", f"the 7z header holds the unknown property {kind}", cursor.at)
    return streams, names


def _streams(cursor: Cursor) -> Streams:
    streams = Streams()
    while (kind := cursor.number()) != END:
        if kind == PACK:
            _pack_info(cursor, streams)
        elif kind == FOLDERS:
            _folder_info(cursor, streams)
        elif kind == SUBSTREAMS:
            _substreams(cursor, streams)
        else:
            raise Stop("archive.malformed", f"the 7z streams hold the unknown property {kind}", cursor.at)
    for folder in streams.folders:
        if not folder.streams:
            folder.streams = [(folder.coders[folder.last].size, folder.crc)]
    return streams


def _pack_info(cursor: Cursor, streams: Streams) -> None:
    streams.start, count = cursor.number(), cursor.count()
    while (kind := cursor.number()) != END:
        if kind == SIZE:
            streams.sizes = [cursor.number() for _ in range(count)]
        elif kind == CRC:
            cursor.digests(count)


def _folder_info(cursor: Cursor, streams: Streams) -> None:
    cursor.expect(FOLDER)
    count = cursor.count()
    if cursor.byte():
        raise Stop("archive.unreadable", "the 7z folders lie elsewhere", cursor.at)
    streams.folders = [_folder(cursor) for _ in range(count)]
    cursor.expect(UNPACK_SIZE)
    for folder in streams.folders:
        for coder in folder.coders:
            coder.size, *_ = (cursor.number() for _ in range(coder.outputs))
    while (kind := cursor.number()) != END:
        if kind == CRC:
            for folder, crc in zip(streams.folders, cursor.digests(count), strict=True):
                folder.crc = crc


def _folder(cursor: Cursor) -> Folder:
    coders = [_coder(cursor) for _ in range(cursor.count())]
    if not 1 <= len(coders) <= 32:
        raise Stop("archive.malformed", f"a 7z folder of {len(coders)} coders", cursor.at)
    inputs, outputs = sum(c.inputs for c in coders), sum(c.outputs for c in coders)
    bonds = {cursor.number(): cursor.number() for _ in range(outputs - 1)}
    packs = inputs - len(bonds)
    if packs > 1:
        for _ in range(packs):
            cursor.number()
    return Folder(coders=coders, bonds=bonds, packs=packs)


def _coder(cursor: Cursor) -> Coder:
    flags = cursor.byte()
    method = bytes(cursor.take(flags & 0x0F))
    inputs, outputs = (cursor.number(), cursor.number()) if flags & 0x10 else (1, 1)
    if not (1 <= inputs <= 32 and 1 <= outputs <= 32) or flags & 0x80:
        raise Stop("archive.malformed", "a 7z coder of an unknown form", cursor.at)
    return Coder(method, bytes(cursor.take(cursor.number())) if flags & 0x20 else b"", inputs, outputs)


def _substreams(cursor: Cursor, streams: Streams) -> None:
    """Several files in one folder: sizes of all but the last, and the checksums that are not known yet."""
    counts, kind = [1] * len(streams.folders), cursor.number()
    if kind == COUNTS:
        counts = [cursor.count() for _ in streams.folders]
        kind = cursor.number()
    if sum(counts) > cursor.most:
        raise Stop("archive.bomb", f"the 7z header claims {sum(counts)} files", cursor.at)
    given = kind == SIZE
    sizes = [_sizes(cursor, f, n, given) for f, n in zip(streams.folders, counts, strict=True)]
    kind = cursor.number() if given else kind
    known = [n == 1 and f.crc is not None for f, n in zip(streams.folders, counts, strict=True)]
    missing = sum(n for n, k in zip(counts, known, strict=True) if not k)
    crcs = iter(())
    while kind != END:
        if kind != CRC:
            raise Stop("archive.malformed", f"the 7z substreams hold the unknown property {kind}", cursor.at)
        crcs, kind = iter(cursor.digests(missing)), cursor.number()
    for folder, own, is_known in zip(streams.folders, sizes, known, strict=True):
        folder.streams = [(size, folder.crc if is_known else next(crcs, None)) for size in own]


def _sizes(cursor: Cursor, folder: Folder, count: int, given: bool) -> list[int]:
    if count == 0:
        return []
    sizes = [cursor.number() for _ in range(count - 1)] if given else [0] * (count - 1)
    rest = folder.coders[folder.last].size - sum(sizes)
    if rest < 0:
        raise Stop("archive.malformed", "the files of a 7z folder are larger than the folder", cursor.at)
    return [*sizes, rest]


def _files(cursor: Cursor) -> list[tuple[str, bool]]:
    count = cursor.count()
    names, empty = [f"(file {i})" for i in range(count)], [False] * count
    while (kind := cursor.number()) != END:
        body = Cursor(cursor.take(cursor.number()), cursor.most)
        if kind == EMPTY:
            empty = body.bits(count)
        elif kind == NAMES:
            if body.byte():
                raise Stop("archive.unreadable", "the 7z names lie elsewhere", cursor.at)
            text = bytes(body.data[1:]).decode("utf-16-le", "surrogatepass")
            names = (text.split("\0")[:-1] + names)[:count]
    return list(zip(names, empty, strict=True))


def _contents(data: memoryview, streams: Streams, reading: Reading, place: str) -> Iterator[memoryview]:
    """The files' bytes, in order; a folder that cannot be unpacked gives empty ones and a note."""
    pack = 0
    for number, folder in enumerate(streams.folders):
        try:
            whole = _unpack(data, streams, number, pack, reading)
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


def _unpack(data: memoryview, streams: Streams, number: int, pack: int, reading: Reading) -> memoryview:
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
        return _decoded(packed, chain, size)
    except (lzma.LZMAError, zlib.error, OSError, EOFError, ValueError, struct.error) as error:
        raise Stop("archive.unreadable", f"the 7z entry cannot be unpacked: {error}", start) from None


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


def _decoded(packed: memoryview, chain: list[Coder], size: int) -> memoryview:
    first, *filters = chain
    if first.method == COPY and not filters:
        if len(packed) != size:
            raise ValueError("a copied entry has two sizes")
        return packed
    if first.method in (LZMA1, LZMA2):
        return _lzma(packed, first, filters, size)
    if filters or first.method not in (BZIP2, DEFLATE):
        raise ValueError("method " + " ".join(c.method.hex() for c in chain) + " is not read")
    unpacker: Any = bz2.BZ2Decompressor() if first.method == BZIP2 else zlib.decompressobj(-15)
    return _whole(unpacker.decompress(packed, size) if size else b"", size)


def _lzma(packed: memoryview, coder: Coder, filters: list[Coder], size: int) -> memoryview:
    main = _lzma_filter(coder, size)
    outer = [_filter(f) for f in reversed(filters)]
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[*outer, main])
    content = unpacker.decompress(packed, size) if size else b""
    if outer and 0 < size - len(content) < 16:
        # A branch filter holds back a last few bytes, which it leaves as they are, where no end mark follows.
        plain = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[main]).decompress(packed, size)
        content += plain[len(content) :]
    return _whole(content, size)


def _whole(content: bytes, size: int) -> memoryview:
    if len(content) != size:
        raise ValueError(f"{len(content)} bytes come out of the declared {size}")
    return memoryview(content)


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
