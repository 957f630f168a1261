"""BMP and the PNM family: formats without metadata, in which anything may lie before or after the pixels."""

from __future__ import annotations

import re

from genvet.files.metadata.notes import Notes, decoded, numbers

HEADER = 14
V5 = 124
_TOKEN = re.compile(rb"\s*(?:#([^\n]{0,4000})\n\s*)*(\d{1,10})")


def read_bmp(data: memoryview, notes: Notes) -> None:
    """What lies between the headers and the pixels, a colour profile, and what follows."""
    (start,) = numbers("<I", data, 10)
    size, width, height = numbers("<Iii", data, HEADER)
    if size < 40:  # the oldest header, of short numbers
        width, height, bits, packed, image = *numbers("<HHxxH", data, HEADER + 4), 0, 0
    else:
        bits, packed, image, _, _, used = numbers("<HIIiiI", data, HEADER + 14)
    colours = (used if size >= 40 and used else 1 << bits) if bits <= 8 else 0
    palette = colours * (3 if size < 40 else 4) + (12 if packed == 3 and size == 40 else 0)
    if start > HEADER + size + palette:
        notes.rest(data[HEADER + size + palette : start], HEADER + size + palette, "between header and pixels")
    end = start + (image if packed in (1, 2, 4, 5) else abs(height) * ((width * bits + 31) // 32 * 4))
    if size >= V5:
        where, length = numbers("<II", data, HEADER + 112)
        if length:
            notes.tell("data.profile", f"colour profile, {length:,} bytes", HEADER + where, length)
            end = max(end, HEADER + where + length)
    notes.rest(data[end:], end)


def read_pnm(data: memoryview, notes: Notes) -> None:
    """Comments in the header, and what follows the pixels; text pixels end where the file does."""
    head, at, found = bytes(data[: 1 << 16]), 2, []
    for _ in range(2 if head[1:2] in b"14" else 3):
        token = _TOKEN.match(head, at)
        if not token:
            raise ValueError("a header without sizes")
        for line in re.findall(rb"#([^\n]*)\n", head[at : token.end()]):
            notes.text("comment", decoded(line), at)
        found.append(int(token[2]))
        at = token.end()
    if head[1:2] in b"123":
        return
    width, height, most = (*found, 1)[:3]
    row = {b"4": (width + 7) // 8, b"5": width, b"6": 3 * width}[head[1:2]] * (2 if most > 255 else 1)
    notes.rest(data[at + 1 + row * height :], at + 1 + row * height)
