"""Photoshop's resources, and the IPTC records in them."""

from __future__ import annotations

from genvet.files.metadata.notes import Notes, decoded, numbers

IPTC, PREVIEWS = 0x0404, (0x0409, 0x040C)
OWNERS = {80: "By-line", 85: "By-line title", 110: "Credit", 115: "Source", 116: "Copyright", 122: "Writer"}
TEXTS = {5: "Title", 25: "Keyword", 40: "Instructions", 105: "Headline", 120: "Caption", 118: "Contact"}
PLACES = {90: "City", 92: "Sublocation", 95: "State", 101: "Country"}
TIMES = {55: "Date created", 62: "Date digitised"}
MOST = 2000
"""Resources, and records."""


def read_resources(data: memoryview, notes: Notes, offset: int) -> None:
    """Blocks of `8BIM`: IPTC records, a preview, or settings of the program."""
    at, told = 0, len(notes.facts)
    for _ in range(MOST):
        if at + 12 > len(data) or bytes(data[at : at + 4]) not in (b"8BIM", b"MeSa", b"PHUT"):
            break
        (kind,) = numbers(">H", data, at + 4)
        name = 1 + data[at + 6]
        start = at + 6 + name + name % 2
        (size,) = numbers(">I", data, start)
        body = data[start + 4 : start + 4 + size]
        if len(body) < size:
            raise ValueError("a Photoshop resource reaches past its segment")
        if kind == IPTC:
            _records(body, notes, offset + start)
        elif kind in PREVIEWS and size > 28:
            notes.preview("the preview of Photoshop", bytes(body[28:]), offset + start)
        at = start + 4 + size + size % 2
    if len(notes.facts) == told and len(data):
        notes.tell("data.metadata", f"Photoshop resources, {len(data):,} bytes", offset, len(data))


def _records(data: memoryview, notes: Notes, offset: int) -> None:
    at = 0
    for _ in range(MOST):
        if at + 5 > len(data) or data[at] != 0x1C:
            return
        record, kind, size = numbers(">BBH", data, at + 1)
        if size & 0x8000:
            return notes.tell("data.metadata-malformed", "an IPTC record of extended length", offset + at)
        text = decoded(data[at + 5 : at + 5 + size])
        if record == 2 and kind in OWNERS:
            notes.owner(f"IPTC {OWNERS[kind]}", text, offset + at)
        elif record == 2 and kind in TEXTS:
            notes.text(f"IPTC {TEXTS[kind]}", text, offset + at)
        elif record == 2 and kind in PLACES:
            notes.tell("data.gps", f"IPTC names a place ({PLACES[kind]})", offset + at)
        elif record == 2 and kind in TIMES:
            notes.tell("data.time", f"IPTC {TIMES[kind]}: {text}", offset + at)
        at += 5 + size
