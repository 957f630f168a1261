"""Pictures, sounds and charts as data URLs inside a page: nothing but this report's own files is read."""

from __future__ import annotations

import base64
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from genvet.core.report import Figure
from genvet.page import charts

MOST_CAPTIONS = 200
MOST_MEDIA = 32 << 20

# A counter's name, at most one folder down: nothing that a scanned file could have chosen.
_BESIDE = re.compile(r"(?:[a-z]{1,20}/)?[0-9]{1,8}\.(png|wav)")
_MAGIC = {"png": (b"\x89PNG\r\n\x1a\n", "image/png"), "wav": (b"RIFF", "audio/wav")}


@dataclass(frozen=True)
class Shown:
    """A figure as the page holds it: a picture, a chart, a sound, or a note where it cannot be shown."""

    figure: Figure
    source: Markup | None = None
    width: int = 0
    height: int = 0
    note: str = ""

    @property
    def wide(self) -> bool:
        """Whether it takes a row of its own: a row of pictures, or a large grid."""
        return self.width > min(2 * self.height, 700)

    @property
    def chart(self) -> bool:
        return not self.figure.file

    @property
    def captions(self) -> list[object]:
        """One for each tile of a grid, in reading order."""
        captions = self.figure.data.get("captions", [])
        return list(captions[:MOST_CAPTIONS]) if isinstance(captions, list | tuple) else []


def inlined(figure: Figure, folder: Path) -> Shown:
    """Inline a figure, or say why it cannot be shown; never raises."""
    try:
        if not figure.file:
            return Shown(figure, _data_url(charts.svg(figure), "image/svg+xml"))
        data, kind = _beside(figure.file, folder)
    except (ValueError, OSError) as error:
        return Shown(figure, note=f"not shown: {error}")
    width, height = _size(data) if kind == "png" else (0, 0)
    return Shown(figure, _data_url(data, _MAGIC[kind][1]), width, height)


def _beside(name: str, folder: Path) -> tuple[bytes, str]:
    """The bytes of a picture or sound next to the report, by a counter's name only."""
    matched = _BESIDE.fullmatch(name)
    path = folder / name
    if not matched or path.is_symlink() or path.parent.is_symlink() or not path.is_file():
        raise ValueError("its file is not one of this report's")
    if path.stat().st_size > MOST_MEDIA:
        raise ValueError("its file is too large for a page")
    data = path.read_bytes()
    if not data.startswith(_MAGIC[matched[1]][0]):
        raise ValueError("its file is not what its name says")
    return data, matched[1]


def _size(png: bytes) -> tuple[int, int]:
    """How large to show a picture: small ones are enlarged by a whole factor, so that pixels stay square."""
    width, height = struct.unpack(">II", png[16:24]) if len(png) >= 24 else (0, 0)
    factor = max(1, 420 // max(width, 1))
    return width * factor, height * factor


def _data_url(data: bytes, mime: str) -> Markup:
    return Markup(f"data:{mime};base64,{base64.b64encode(data).decode()}")  # noqa: S704 - base64 of our own making
