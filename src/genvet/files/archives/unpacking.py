"""Decompression piece by piece: what comes out before an error is kept, since a loader would have read it as well."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator
from typing import Any

from genvet.files.reading import MIB

PIECE = 64 * 1024
ERRORS = (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError)


class Stream:
    """One compressed stream over a stretch of bytes; `unpacker` is one of the standard library's."""

    def __init__(self, unpacker: Any, packed: memoryview) -> None:
        self.unpacker, self.packed, self.at = unpacker, packed, 0

    def pieces(self, most: int) -> Iterator[bytes]:
        """What comes out, a megabyte at a time, at most `most` bytes; raises one of ERRORS where it is damaged."""
        left, waiting, out = most, b"", b"x"
        # A decompressor may hold output back when it has taken all input: it is done when nothing comes any more.
        while left and not self.unpacker.eof and (out or waiting or self.at < len(self.packed)):
            # zlib hands back the input that it did not use; the others keep it and say whether they need more.
            if not waiting and getattr(self.unpacker, "needs_input", True):
                waiting = bytes(self.packed[self.at : self.at + PIECE])
                self.at += len(waiting)
            out = self.unpacker.decompress(waiting, min(MIB, left))
            waiting = getattr(self.unpacker, "unconsumed_tail", b"")
            left -= len(out)
            yield out

    @property
    def end(self) -> int:
        """Where the stream ended among the packed bytes."""
        return self.at - len(self.unpacker.unused_data) - len(getattr(self.unpacker, "unconsumed_tail", b""))


def inflate(packed: memoryview, size: int, unpacker: Any, *, ends: bool = True) -> tuple[memoryview, str]:
    """The first `size` bytes, charged already, and what went wrong, if anything.

    `ends` is for streams that know their own end: one that goes on behind `size` is told.
    """
    content = bytearray()
    problem = ""
    try:
        for piece in Stream(unpacker, packed).pieces(size + ends):
            content += piece
    except ERRORS as error:
        problem = str(error)
    if len(content) > size:
        return memoryview(content)[:size], f"more than the declared {size} bytes come out"
    if len(content) < size:
        problem = problem or f"{len(content)} bytes come out of the declared {size}"
    return memoryview(content), problem
