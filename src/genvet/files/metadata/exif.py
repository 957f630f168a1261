"""EXIF: TIFF directories, with bounds on their number, their entries and their loops."""

from __future__ import annotations

from genvet.files.metadata.notes import Notes, decoded, numbers

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""Bytes of a value, by its type."""
MOST_ENTRIES, MOST_DIRECTORIES, MOST_VALUE = 1000, 12, 1 << 16
BELOW = {0x8769: "Exif", 0x8825: "GPS", 0xA005: "Interoperability"}
OWNERS = {
    0x013B: "Artist",
    0x8298: "Copyright",
    0xA430: "CameraOwnerName",
    0xA431: "BodySerialNumber",
    0xA435: "LensSerialNumber",
    0xA420: "ImageUniqueID",
    0x9C9D: "XPAuthor",
    0x013C: "HostComputer",
    0xC62F: "CameraSerialNumber",
}
TEXTS = {
    0x010E: "ImageDescription",
    0x9286: "UserComment",
    0x9C9B: "XPTitle",
    0x9C9C: "XPComment",
    0x9C9E: "XPKeywords",
    0x9C9F: "XPSubject",
}
TIMES = {0x0132: "DateTime", 0x9003: "DateTimeOriginal", 0x9004: "DateTimeDigitized"}
DEVICES = {0x010F: "Make", 0x0110: "Model", 0x0131: "Software", 0xA433: "LensMake", 0xA434: "LensModel"}
ORIENTATION, MAKER_NOTE, THUMBNAIL, THUMBNAIL_BYTES = 0x0112, 0x927C, 0x0201, 0x0202

Entries = dict[int, tuple[int, memoryview]]
"""Of one directory: tag -> type and bytes of the value."""


def read(data: memoryview, notes: Notes, offset: int) -> None:
    """A TIFF header and all directories that it leads to; `offset` is where it lies in the file."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None or numbers(f"{order}H", data, 2) != (42,):
        raise ValueError("EXIF without a TIFF header")
    before = len(notes.facts)
    (first,) = numbers(f"{order}I", data, 4)
    waiting, seen = [("", first)], set[int]()
    while waiting:
        kind, at = waiting.pop(0)
        if at in seen or len(seen) >= MOST_DIRECTORIES:
            notes.tell("data.metadata-malformed", "EXIF directories that lead in a circle, or too many", offset + at)
            break
        seen.add(at)
        entries, after = _directory(data, at, order)
        waiting += [(BELOW[tag], _whole(*entry, order)) for tag, entry in entries.items() if tag in BELOW]
        if after and kind in ("", "preview"):
            waiting.append(("preview", after))
        if kind == "GPS":
            _place(entries, order, notes, offset + at)
        elif kind == "preview":
            _preview(data, entries, order, notes, offset)
        else:
            _told(entries, order, notes, offset + at)
    if len(notes.facts) == before:
        notes.tell("data.metadata", f"EXIF, {len(data):,} bytes", offset, len(data))


def _directory(data: memoryview, at: int, order: str) -> tuple[Entries, int]:
    """The entries of one directory, and where the next one lies; values that lead out of the data are left out."""
    (count,) = numbers(f"{order}H", data, at)
    found: Entries = {}
    for i in range(min(count, MOST_ENTRIES)):
        start = at + 2 + 12 * i
        tag, kind, values = numbers(f"{order}HHI", data, start)
        size = SIZES.get(kind, 0) * values
        if not 0 < size:
            continue
        (place,) = (start + 8,) if size <= 4 else numbers(f"{order}I", data, start + 8)
        if place + size <= len(data):
            found[tag] = (kind, data[place : place + min(size, MOST_VALUE)])
    end = at + 2 + 12 * count
    return found, numbers(f"{order}I", data, end)[0] if end + 4 <= len(data) else 0


def _whole(kind: int, value: memoryview, order: str) -> int:
    """A whole number of two or four bytes."""
    number: int = numbers(f"{order}{'H' if kind == 3 else 'I'}", value, 0)[0]
    return number


def _string(tag: int, kind: int, value: memoryview) -> str:
    """Text: of Windows' own tags in UTF-16, of a user comment behind the name of its code."""
    raw = bytes(value)
    if 0x9C9B <= tag <= 0x9C9F:
        return raw.decode("utf-16-le", "replace").strip("\0")
    if tag == 0x9286:
        code, raw = raw[:8], raw[8:]
        if code.startswith(b"UNICODE"):
            return raw.decode("utf-16-le" if b"\0" in raw[1:2] else "utf-16-be", "replace")
    return decoded(raw).strip("\0 ")


def _told(entries: Entries, order: str, notes: Notes, at: int) -> None:
    for tag, (kind, value) in entries.items():
        if tag in OWNERS:
            notes.owner(OWNERS[tag], _string(tag, kind, value), at)
        elif tag in TEXTS:
            notes.text(TEXTS[tag], _string(tag, kind, value), at)
        elif tag == MAKER_NOTE:
            notes.tell("data.metadata", f"MakerNote, {len(value):,} bytes that only its maker can read", at)
        elif tag == ORIENTATION:
            notes.turned = _whole(kind, value, order) if kind in (3, 4) else 1
    times = [_string(tag, *entries[tag]) for tag in TIMES if tag in entries]
    if any(times):
        notes.tell("data.time", f"taken at {max(times)}", at)
    devices = [_string(tag, *entries[tag]) for tag in DEVICES if tag in entries]
    if any(devices):
        notes.tell("data.metadata", f"made by {' '.join(devices)[:120]}", at)


def _place(entries: Entries, order: str, notes: Notes, at: int) -> None:
    """GPS; shown to a tenth of a degree, some ten kilometres: a report is no place to spread the rest."""
    degrees = [_degrees(entries, tag, order) for tag in (2, 4)]
    if None in degrees:
        return notes.tell("data.gps" if entries else "data.metadata", f"{len(entries)} GPS entries", at)
    signs = [-1 if bytes(entries[tag][1][:1]) in (b"S", b"W") else 1 for tag in (1, 3) if tag in entries]
    shown = ", ".join(f"{sign * (d or 0):.1f}" for sign, d in zip([*signs, 1, 1], degrees, strict=False))
    notes.tell("data.gps", f"taken near {shown} (latitude, longitude; the file has more digits)", at)


def _degrees(entries: Entries, tag: int, order: str) -> float | None:
    """Degrees, minutes and seconds as one number."""
    kind, value = entries.get(tag, (0, memoryview(b"")))
    if kind != 5 or len(value) < 24:
        return None
    parts = numbers(f"{order}6I", value, 0)
    if 0 in parts[1::2]:
        return None
    return sum(float(n / d / scale) for n, d, scale in zip(parts[::2], parts[1::2], (1, 60, 3600), strict=True))


def _preview(data: memoryview, entries: Entries, order: str, notes: Notes, offset: int) -> None:
    if THUMBNAIL not in entries or THUMBNAIL_BYTES not in entries:
        if entries:
            notes.tell("data.thumbnail", f"a second EXIF directory of {len(entries)} entries", offset)
        return
    at, size = (_whole(*entries[tag], order) for tag in (THUMBNAIL, THUMBNAIL_BYTES))
    if at + size > len(data):
        return notes.tell("data.metadata-malformed", "the preview is said to lie outside EXIF", offset + at, size)
    notes.preview("the preview in EXIF", bytes(data[at : at + size]), offset + at)
