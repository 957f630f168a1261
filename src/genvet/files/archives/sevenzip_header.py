"""The header of a 7z archive: where the packed streams lie, how they unpack, and what the files are called."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from genvet.files.reading import Stop

(END, HEADER, PROPERTIES, EXTRA_STREAMS, STREAMS, FILES, PACK, FOLDERS, SUBSTREAMS, SIZE, CRC, FOLDER) = range(12)
UNPACK_SIZE, COUNTS, EMPTY, EMPTY_FILE, ANTI, NAMES, ENCODED = 12, 13, 14, 15, 16, 17, 23


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


def parse(cursor: Cursor) -> tuple[Streams, list[tuple[str, bool]]]:
    """The streams, and every file's name with whether it is empty."""
    streams, names = Streams(), []
    while (kind := cursor.number()) != END:
        if kind == PROPERTIES:
            while cursor.number() != END:
                cursor.take(cursor.number())
        elif kind in (STREAMS, EXTRA_STREAMS):
            streams = read_streams(cursor)
        elif kind == FILES:
            names = _files(cursor)
        else:
            raise Stop("archive.malformed", f"the 7z header holds the unknown property {kind}", cursor.at)
    return streams, names


def read_streams(cursor: Cursor) -> Streams:
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
    sizes = [_file_sizes(cursor, f, n, given) for f, n in zip(streams.folders, counts, strict=True)]
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


def _file_sizes(cursor: Cursor, folder: Folder, count: int, given: bool) -> list[int]:
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
            text = bytes(body.data[1:]).decode("utf-16-le", "replace")
            names = (text.split("\0")[:-1] + names)[:count]
    return list(zip(names, empty, strict=True))
