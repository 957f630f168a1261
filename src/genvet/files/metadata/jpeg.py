"""JPEG: every segment but those that the pixels need, and what follows the end of the picture."""

from __future__ import annotations

from genvet.files.metadata import exif, iptc, xmp
from genvet.files.metadata.notes import Notes, decoded, numbers

SOS, EOI, COM = 0xDA, 0xD9, 0xFE
_ALONE = {0x01, *range(0xD0, 0xD8)}
"""Markers without a length: restarts, and one that nobody writes."""
MOST_SEGMENTS = 100_000


def read(data: memoryview, notes: Notes) -> None:
    """Segment by segment, through all scans, to the end of the picture."""
    at, raw = 2, bytes(data)
    for _ in range(MOST_SEGMENTS):
        start = at
        while at < len(data) and raw[at] == 0xFF and at + 1 < len(data) and raw[at + 1] == 0xFF:
            at += 1  # fill bytes
        if at + 2 > len(data) or raw[at] != 0xFF:
            return notes.tell("data.metadata-malformed", "the file ends without the end of a picture", start)
        marker, at = raw[at + 1], at + 2
        if marker == EOI:
            return notes.rest(data[at:], at)
        if marker in _ALONE:
            continue
        (length,) = numbers(">H", data, at)
        if length < 2 or at + length > len(data):
            raise ValueError(f"a segment of {length:,} bytes at byte {at:,}, of {len(data):,}")
        _segment(marker, data[at + 2 : at + length], at + 2, notes)
        at += length
        if marker == SOS:
            at = _scanned(raw, at)


def _scanned(raw: bytes, at: int) -> int:
    """Where the coded pixels end: at the next marker that is no restart."""
    while True:
        at = raw.find(b"\xff", at)
        if at < 0 or at + 1 >= len(raw):
            raise ValueError("the file ends within the pixels")
        if raw[at + 1] not in (0, 0xFF) and raw[at + 1] not in _ALONE:
            return at
        at += 1 + (raw[at + 1] != 0xFF)


def _segment(marker: int, body: memoryview, at: int, notes: Notes) -> None:
    """One segment; a damaged one is told, and the next is read."""
    head = bytes(body[:40])
    try:
        if marker == COM:
            notes.text("comment", decoded(body), at, len(body))
        elif marker == 0xE0:
            _jfif(head, body, at, notes)
        elif marker == 0xE1 and head.startswith(b"Exif\0"):
            exif.read(body[6:], notes, at + 6)
        elif marker == 0xE1 and head.startswith((b"http://ns.adobe.com/xap/", b"http://ns.adobe.com/xmp/")):
            xmp.read(decoded(bytes(body).partition(b"\0")[2]), notes, at, len(body))
        elif marker == 0xE2 and head.startswith(b"ICC_PROFILE\0"):
            notes.tell("data.profile", f"colour profile, {len(body):,} bytes", at, len(body))
        elif marker == 0xE2 and head.startswith(b"MPF\0"):
            notes.tell("data.frames", "an index of further pictures in this file", at, len(body))
        elif marker == 0xED and head.startswith(b"Photoshop 3.0\0"):
            iptc.read_resources(body[14:], notes, at + 14)
        elif 0xE0 <= marker <= 0xEF and not head.startswith(b"Adobe"):
            kind = decoded(head.partition(b"\0")[0][:20])
            notes.tell("data.metadata", f"segment APP{marker - 0xE0} {kind!r}, {len(body):,} bytes", at, len(body))
    except ValueError as error:
        notes.tell("data.metadata-malformed", f"segment {marker:02X}: {error}", at, len(body))


def _jfif(head: bytes, body: memoryview, at: int, notes: Notes) -> None:
    """JFIF's own previews: plain colours, or a JPEG in an extension."""
    if head.startswith(b"JFXX\0") and head[5:6] == b"\x10":
        notes.preview("a preview in the JFIF extension", bytes(body[6:]), at)
    elif head.startswith(b"JFXX\0") or (head.startswith(b"JFIF\0") and len(body) > 14):
        width, height = head[12:13], head[13:14]
        size = f"{width[0]}x{height[0]}" if head.startswith(b"JFIF\0") and height else f"{len(body):,} bytes"
        notes.tell("data.thumbnail", f"a preview in plain colours, {size}", at, len(body))
    elif not head.startswith(b"JFIF\0"):
        notes.tell("data.metadata", f"segment APP0 {decoded(head[:5])!r}, {len(body):,} bytes", at, len(body))
