"""What a picture's file carries besides its pixels, read from the raw bytes by code that trusts none of them."""

from __future__ import annotations

from genvet.files.metadata import bitmap, jpeg, png
from genvet.files.metadata.notes import Notes as Notes

_READERS = ((b"\x89PNG\r\n\x1a\n", png.read), (b"\xff\xd8", jpeg.read), (b"BM", bitmap.read_bmp))


def look(data: bytes, name: str) -> Notes:
    """All that is found in one file of a picture; what cannot be read is a fact of its own, never an error.

    >>> [fact.rule for fact in look(b"P5 1 1 255 x" + bytes(9), "a.pgm").facts]
    ['data.trailing']
    """
    notes = Notes(name)
    readers = [read for start, read in _READERS if data.startswith(start)]
    if not readers and data[:1] == b"P" and data[1:2] in b"123456":
        readers = [bitmap.read_pnm]
    for read in readers:
        try:
            read(memoryview(data), notes)
        except notes.Enough:
            notes.tell("data.metadata-malformed", f"more than {notes.MOST} facts in one file: the rest was not read")
        except (ValueError, IndexError, OverflowError) as error:  # a length or an offset that leads nowhere
            notes.tell("data.metadata-malformed", f"reading stopped: {error}")
    return notes
