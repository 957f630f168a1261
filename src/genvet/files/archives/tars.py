"""Tar archives, walked header by header: names, links, devices and sizes are claims to be checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from genvet.files import formats
from genvet.files.archives.zips import escapes
from genvet.files.pickles import torch_tar
from genvet.files.reading import Reading, Stop

BLOCK = 512
REGULAR = {b"0", b"\0", b"7"}
LINKS = {b"1": "a hard link", b"2": "a symbolic link"}
DEVICES = {b"3": "a character device", b"4": "a block device", b"6": "a FIFO"}
FOLDER, PAX, PAX_ALL, LONG_NAME, LONG_LINK, SPARSE = b"5", b"x", b"g", b"L", b"K", b"S"


@dataclass
class Entry:
    """One header block; sizes in bytes."""

    name: str
    kind: bytes
    size: int
    link: str
    offset: int
    """Of the header."""


def matches(data: memoryview) -> bool:
    """A first block whose checksum is right."""
    return len(data) >= BLOCK and _checksum_holds(bytes(data[:BLOCK])) and data[0] != 0


def _checksum_holds(block: bytes) -> bool:
    try:
        stated = _number(block[148:156])
    except ValueError:
        return False
    rest = block[:148] + block[156:]
    # Some old writers added the bytes as signed numbers, and readers take either sum.
    return stated > 0 and stated - 8 * 0x20 in (sum(rest), sum(b - 256 if b > 127 else b for b in rest))


def read(data: memoryview, reading: Reading, place: str, nesting: int) -> None:
    """The model, where torch's first format is told by the members' names; every other member by content."""
    members = list(_members(data, reading, place))
    named = dict(members)
    if torch_tar.matches(named):
        formats.name(reading, "torch-tar", place, nesting)
        _guarded(named, reading, place)
        members = [(name, content) for name, content in members if named[name] is not content or not _taken(name)]
    formats.read_members(members, reading, place, nesting)


def _guarded(named: dict[str, memoryview], reading: Reading, place: str) -> None:
    try:
        torch_tar.read(named, reading, place)
    except Stop as stop:
        reading.note(stop.rule, stop.message, place=place, offset=stop.offset)


def _taken(name: str) -> bool:
    return name in torch_tar.MEMBERS


def _members(data: memoryview, reading: Reading, place: str) -> Iterator[tuple[str, memoryview]]:
    seen: set[str] = set()
    for entry in _entries(data, reading, place):
        where = formats.within(place, entry.name)
        if reason := escapes(entry.name):
            reading.note("archive.traversal", f"the entry's name {reason}", place=where, offset=entry.offset)
        if entry.kind in LINKS:
            message = f"the entry is {LINKS[entry.kind]} to {entry.link!r}"
            reading.note("archive.traversal", message, place=where, offset=entry.offset)
        elif entry.kind in DEVICES:
            reading.note("archive.malformed", f"the entry is {DEVICES[entry.kind]}", place=where, offset=entry.offset)
        elif entry.kind in REGULAR:
            if entry.name in seen:
                reading.note("archive.duplicate", "two entries have this name", place=where, offset=entry.offset)
            seen.add(entry.name)
            reading.unpack(entry.size, entry.offset)
            yield entry.name, data[entry.offset + BLOCK : entry.offset + BLOCK + entry.size]
        elif entry.kind != FOLDER:
            kind = f"an entry of the unknown kind {entry.kind!r}"
            reading.note("archive.unreadable", kind, place=where, offset=entry.offset)


def _entries(data: memoryview, reading: Reading, place: str) -> Iterator[Entry]:
    """The headers in turn, with what extension headers say about the next one applied."""
    at = count = 0
    ahead: dict[str, str] = {}
    while at + BLOCK <= len(data):
        block = bytes(data[at : at + BLOCK])
        if not any(block):
            break
        if not _checksum_holds(block):
            raise Stop("archive.malformed", "a header's checksum is wrong", at)
        count += 1
        if count > reading.limits.members:
            raise Stop("archive.bomb", f"more than {reading.limits.members} entries", at)
        entry = _entry(block, at, ahead, reading)
        body = data[at + BLOCK : at + BLOCK + entry.size]
        if len(body) < entry.size:
            reading.note("file.truncated", "the entry reaches past the end", place=entry.name, offset=at)
        if entry.kind in (PAX, PAX_ALL, LONG_NAME, LONG_LINK):
            _extension(entry, body, ahead, reading)
        else:
            ahead = {}
            yield entry
        at += BLOCK + -(-entry.size // BLOCK) * BLOCK
    if (rest := _rest(data[at:], at, reading, place)) is not None:
        yield rest


def _entry(block: bytes, at: int, ahead: dict[str, str], reading: Reading) -> Entry:
    kind = block[156:157]
    size = _size(block[124:136], at)
    extension = kind in (PAX, PAX_ALL, LONG_NAME, LONG_LINK)
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and block[345] and not extension:
        name = f"{_text(block[345:500])}/{name}"
    if kind == SPARSE or any(key.startswith("GNU.sparse") for key in ahead):
        raise Stop("archive.unreadable", "sparse entries are not read", at)
    if not extension:
        name = ahead.get("path", name)
        size = _pax_size(ahead["size"], size, at, reading) if "size" in ahead else size
    if kind in LINKS or kind in DEVICES or kind == FOLDER:
        # Readers take no data for these, whatever their size field says.
        size = 0
    return Entry(name=name, kind=kind, size=size, link=ahead.get("linkpath", _text(block[157:257])), offset=at)


def _pax_size(text: str, size: int, at: int, reading: Reading) -> int:
    """The size that a pax header states; the block's own is then the same, or nothing where it would not fit."""
    stated = _decimal(text, at)
    if size not in (0, stated):
        message = f"an entry has {size} bytes by its block and {stated} by its pax header"
        reading.note("archive.mismatch", message, offset=at)
    return stated


def _extension(entry: Entry, body: memoryview, ahead: dict[str, str], reading: Reading) -> None:
    """Remember what a pax or GNU header says about the entry that follows."""
    reading.unpack(len(body), entry.offset)
    if len(body) > 1 << 20:
        raise Stop("archive.malformed", "an extension header is larger than a megabyte", entry.offset)
    if entry.kind in (LONG_NAME, LONG_LINK):
        ahead["path" if entry.kind == LONG_NAME else "linkpath"] = _text(bytes(body))
        return
    text, at = bytes(body), 0
    while at < len(text) and text[at : at + 1] != b"\0":
        length, space, _ = text[at : at + 20].partition(b" ")
        size = _decimal(length.decode("latin-1"), entry.offset) if space else 0
        record = text[at + len(length) + 1 : at + size]
        key, equals, value = record.partition(b"=")
        if size <= len(length) + 1 or not equals or at + size > len(text):
            raise Stop("archive.malformed", "a pax header is damaged", entry.offset)
        ahead[key.decode("utf-8", "surrogateescape")] = value.rstrip(b"\n").decode("utf-8", "surrogateescape")
        at += size


def _rest(rest: memoryview, at: int, reading: Reading, place: str) -> Entry | None:
    """What follows the end, which some readers go on to: from its first block that is not empty."""
    piece = 128 * BLOCK
    near = next((i for i in range(0, len(rest), piece) if bytes(rest[i : i + piece]).strip(b"\0")), None)
    if near is None:
        return None
    first = next(i for i in range(near, len(rest), BLOCK) if any(rest[i : i + BLOCK]))
    message = f"{len(rest) - first} bytes after the end of the archive"
    reading.note("archive.hidden", message, place=place, offset=at + first, length=len(rest) - first)
    begin = at + first
    return Entry(name=f"(bytes from {begin})", kind=b"0", size=len(rest) - first, link="", offset=begin - BLOCK)


def _size(field: bytes, at: int) -> int:
    try:
        size = _number(field)
    except ValueError:
        raise Stop("archive.malformed", "a size field is no number", at) from None
    if not 0 <= size < 1 << 60:
        raise Stop("archive.malformed", "a size field is out of range", at)
    return size


def _decimal(text: str, at: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Stop("archive.malformed", "a pax size is no number", at)
    return int(text)


def _number(field: bytes) -> int:
    """Octal text, or GNU's base 256 where the top bit is set."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big") if field[0] == 0x80 else -1
    text = field.split(b"\0")[0].strip()
    return int(text, 8) if text else 0


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", "surrogateescape")
