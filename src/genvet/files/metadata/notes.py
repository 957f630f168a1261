"""Facts about one file, as they are found."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import Any, ClassVar

from genvet.core.modelfile import Evidence
from genvet.core.personal import traces
from genvet.core.printable import printable
from genvet.files import signatures

MOST_TEXT = 1 << 20
"""Bytes of a text, packed or unpacked, that are looked at."""
_PREVIEWS = 8
_HIDDEN = (b"PK\x03\x04", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"Rar!\x1a\x07", b"%PDF-", b"7z\xbc\xaf\x27\x1c")


class _Enough(Exception):
    """A file of so many facts is made to exhaust whoever reads it."""


@dataclass
class Notes:
    """What was found in one file, and the previews that it holds."""

    name: str
    facts: list[Evidence] = field(default_factory=list)
    previews: list[tuple[str, bytes]] = field(default_factory=list)
    """Pictures inside the picture's file: what holds them, and their bytes."""
    turned: int = 1
    """EXIF's orientation: how the picture is to be turned before it is shown."""

    MOST: ClassVar[int] = 200
    """Facts of one file."""
    Enough: ClassVar[type[Exception]] = _Enough

    def tell(
        self, rule: str, message: str, offset: int | None = None, length: int | None = None, detail: str = ""
    ) -> None:
        """One fact, made printable."""
        if len(self.facts) >= self.MOST + (rule == "data.metadata-malformed"):
            raise self.Enough
        said, more = printable(message, 300), printable(detail, 400)
        fact = Evidence(rule=rule, message=said, place=self.name, offset=offset, length=length, detail=more)
        self.facts.append(fact)

    def text(self, what: str, text: str, offset: int | None = None, length: int | None = None) -> None:
        """A text that somebody wrote: personal where it holds an address or a number of a person, a comment else.

        What personal text says is masked: a report is no place to spread it.
        """
        text = text.strip("\0 \r\n\t")
        if not text:
            return
        found = [trace for trace in traces(text) if trace.kind != "day"]
        if found:
            shown = ", ".join(dict.fromkeys(map(str, found[:5])))
            return self.tell("data.personal", f"{what}: {shown}", offset, length)
        self.tell("data.comment", f"{what}: {text[:160]!r}", offset, length)

    def owner(self, what: str, text: str, offset: int | None = None, length: int | None = None) -> None:
        """Who made a picture, or with which one device; masked but for its first letters."""
        text = text.strip("\0 \r\n\t")
        if any(trace.kind == "e-mail" for trace in traces(text)):
            return self.text(what, text, offset, length)
        if text:
            self.tell("data.owner", f"{what}: {text[:3]}*** ({len(text)} characters)", offset, length)

    def preview(self, where: str, data: bytes, offset: int | None = None) -> None:
        """A picture inside the file, kept for a comparison."""
        if data and len(self.previews) < _PREVIEWS:
            self.previews.append((where, data))
        self.tell("data.thumbnail", f"{where}, {len(data):,} bytes", offset, len(data))

    def rest(self, data: memoryview, offset: int, where: str = "after the end of the picture") -> None:
        """Bytes that no part of the format accounts for, and what they look like."""
        if not len(data):
            return
        head = bytes(data[:MOST_TEXT])
        if not head.strip(b"\0"):
            return self.tell("data.trailing", f"{len(data):,} zero bytes {where}", offset, len(data))
        kind = signatures.describe(data)
        inside = [at for mark in _HIDDEN if (at := head.find(mark)) >= 0]
        if head.startswith(_HIDDEN) or (kind not in ("plain text", "no format that GenVet knows")):
            kind = "a zip archive" if head.startswith(b"PK\x03\x04") else kind
            return self.tell("data.trailing-file", f"{len(data):,} bytes {where}: {kind}", offset, len(data))
        if inside:
            kind = signatures.describe(data[min(inside) :])
            kind = "a zip archive" if head[min(inside) :].startswith(b"PK\x03\x04") else kind
            said = f"{len(data):,} bytes {where}, which hold {kind} {min(inside):,} bytes on"
            return self.tell("data.trailing-file", said, offset, len(data))
        self.tell("data.trailing", f"{len(data):,} bytes {where}: {kind}", offset, len(data))
        if kind == "plain text":
            self.text(f"text {where}", head.decode("utf-8", "replace"), offset, len(data))


def numbers(layout: str, data: memoryview, at: int) -> tuple[Any, ...]:
    """Unpacked there; raises ValueError where the data end before."""
    if at < 0 or at + struct.calcsize(layout) > len(data):
        raise ValueError(f"something is said to lie at byte {at:,}, of {len(data):,}")
    return struct.unpack_from(layout, data, at)


def inflated(data: memoryview | bytes) -> bytes:
    """What is packed there, or its first megabyte; raises ValueError where it cannot be unpacked."""
    try:
        return zlib.decompressobj().decompress(bytes(data), MOST_TEXT)
    except zlib.error as error:
        raise ValueError(f"packed text is damaged: {error}") from None


def decoded(data: memoryview | bytes) -> str:
    """Text of an unknown code: UTF-8 where it is that, Latin-1 else."""
    some = bytes(data[:MOST_TEXT])
    try:
        return some.decode("utf-8")
    except UnicodeDecodeError:
        return some.decode("latin-1")
