"""PNG: every chunk but those that the pixels need."""

from __future__ import annotations

import binascii
import re
import zlib

from genvet.files.metadata import exif, iptc, xmp
from genvet.files.metadata.notes import MOST_TEXT, Notes, decoded, inflated, numbers

START = 8
# The picture itself, and how it is to be shown.
_PICTURE = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD", b"pHYs", b"hIST"}
_PICTURE |= {b"cICP", b"mDCV", b"mDCv", b"cLLI", b"cLLi"}
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
MOST_CHUNKS = 1_000_000
MOST_UNPACKED = 1 << 28


def read(data: memoryview, notes: Notes) -> None:
    """Chunk by chunk to the end of the picture, and what comes after it."""
    at, frames = START, 0
    for _ in range(MOST_CHUNKS):
        if at == len(data):
            return notes.tell("data.metadata-malformed", "the file ends without the end of a picture", at)
        (length,) = numbers(">I", data, at)
        kind, body = bytes(data[at + 4 : at + 8]), data[at + 8 : at + 8 + length]
        (sum_,) = numbers(">I", data, at + 8 + length)
        if kind not in _PICTURE:
            if zlib.crc32(data[at + 4 : at + 8 + length]) != sum_:
                notes.tell("data.metadata-malformed", f"the checksum of chunk {kind!r} is wrong", at, length)
            frames += kind == b"fcTL"
            _chunk(kind, body, at, notes)
        elif kind in (b"IEND", b"bKGD", b"pHYs") and length > 16:
            notes.tell("data.trailing", f"chunk {kind!r} has {length:,} bytes", at, length)
        at += 12 + length
        if kind == b"IEND":
            break
    if frames > 1:
        notes.tell("data.frames", f"an animation of {frames:,} pictures")
    _after_the_data(data[START:at], notes)
    notes.rest(data[at:], at)


def _chunk(kind: bytes, body: memoryview, at: int, notes: Notes) -> None:
    """One chunk that is not of the picture; a damaged one is told, and the next is read."""
    try:
        if kind in _TEXTS:
            keyword, text = _text(kind, body)
            _told(keyword, text, at, len(body), notes)
        elif kind == b"eXIf":
            exif.read(body, notes, at + 8)
        elif kind == b"tIME":
            year, month, day = numbers(">HBB", body, 0)
            notes.tell("data.time", f"last changed on {year:04}-{month:02}-{day:02}", at)
        elif kind == b"iCCP":
            name = decoded(bytes(body[:80]).partition(b"\0")[0])
            notes.tell("data.profile", f"colour profile {name}", at, len(body))
        elif kind not in (b"acTL", b"fcTL", b"fdAT"):
            notes.tell("data.metadata", f"chunk {kind!r}, {len(body):,} bytes", at, len(body))
    except ValueError as error:
        notes.tell("data.metadata-malformed", f"chunk {kind!r}: {error}", at, len(body))


def _text(kind: bytes, body: memoryview) -> tuple[str, bytes]:
    """A text chunk's keyword and text, unpacked."""
    keyword, _, rest = bytes(body[: 4 * MOST_TEXT]).partition(b"\0")
    if kind == b"tEXt":
        return decoded(keyword), rest
    if kind == b"zTXt":
        return decoded(keyword), inflated(rest[1:])
    packed, rest = rest[:1], rest[2:]
    _language, _, rest = rest.partition(b"\0")
    _translated, _, rest = rest.partition(b"\0")
    return decoded(keyword), inflated(rest) if packed == b"\1" else rest


def _told(keyword: str, text: bytes, at: int, length: int, notes: Notes) -> None:
    if keyword == "XML:com.adobe.xmp":
        return xmp.read(decoded(text), notes, at, length)
    raw = re.match(rb"\s*(exif|app1|iptc|8bim|xmp)\s+\d+\s", text)
    if keyword.lower().startswith("raw profile type") and raw:
        packed = binascii.a2b_hex(re.sub(rb"[^0-9a-fA-F]", b"", text[raw.end() :])[: 2 * MOST_TEXT // 2 * 2] or b"")
        if raw[1] in (b"exif", b"app1"):
            return exif.read(memoryview(packed.removeprefix(b"Exif\0\0")), notes, at)
        return iptc.read_resources(memoryview(packed), notes, at)
    if keyword.lower() in ("creation time", "date:create", "date:modify"):
        return notes.tell("data.time", f"{keyword}: {decoded(text[:60])}", at, length)
    if keyword.lower() in ("author", "copyright", "artist"):
        return notes.owner(keyword, decoded(text), at, length)
    notes.text(f"text {keyword}", decoded(text), at, length)


def _after_the_data(data: memoryview, notes: Notes) -> None:
    """Bytes in the chunks of pixels, behind the end of what is packed there, that no decoder looks at."""
    unpacker, at, left, rest = zlib.decompressobj(), 0, MOST_UNPACKED, b""
    while at + 12 <= len(data) and left > 0:
        (length,) = numbers(">I", data, at)
        if bytes(data[at + 4 : at + 8]) == b"IDAT":
            body: memoryview | bytes = data[at + 8 : at + 8 + length]
            try:
                while body and not unpacker.eof and left > 0:
                    left -= len(unpacker.decompress(body, 1 << 20))
                    body = unpacker.unconsumed_tail
            except zlib.error:
                return  # the pixels cannot be decoded: whoever opens them says so
            rest += unpacker.unused_data if not rest and unpacker.unused_data else bytes(body)
        at += 12 + length
    notes.rest(memoryview(rest), START, "behind the pixels, inside their chunks")
