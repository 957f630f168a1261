"""Images out: PNG files and captioned grids, for people to look at."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.files.writing import write_bytes

GAP = 2
SMALLEST = 56
"""Pixels that a side has in a grid at least: small images are enlarged by whole factors."""
SMALLEST_CAPTIONED = 96
"""With a caption below, which then holds a short file name or a sample's number and distance."""


def write_png(x: Tensor, path: str | Path) -> Path:
    """Write one image (c, h, w) in [-1, 1]; what reaches past the range is clipped."""
    return write_bytes(path, png(x))


def png(x: Tensor) -> bytes:
    """One image (c, h, w) in [-1, 1] as the bytes of a PNG file; what reaches past the range is clipped."""
    if x.ndim != 3:
        raise BadInput("this is no image", expected="(c, h, w)", got=str(tuple(x.shape)))
    return _bytes(_image(x))


def write_grid(x: Tensor, path: str | Path, columns: int = 8, captions: Sequence[str] = ()) -> Path:
    """Write images (n, c, h, w) in [-1, 1] as one picture, row by row, each with a caption where there is one."""
    if x.ndim != 4 or not len(x) or columns < 1:
        raise BadInput("nothing to draw", expected="(n, c, h, w)", got=str(tuple(x.shape)))
    columns = min(columns, len(x))
    zoom = max(1, -(-(SMALLEST_CAPTIONED if captions else SMALLEST) // max(x.shape[2:])))
    height, width = x.shape[2] * zoom, x.shape[3] * zoom
    font = ImageFont.load_default(11)
    text = 14 if captions else 0
    rows = -(-len(x) // columns)
    size = (columns * (width + GAP) + GAP, rows * (height + text + GAP) + GAP)
    page = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    for i, image in enumerate(x):
        left, top = GAP + i % columns * (width + GAP), GAP + i // columns * (height + text + GAP)
        page.paste(_image(image).resize((width, height), Image.Resampling.NEAREST), (left, top))
        if i < len(captions):
            draw.text((left, top + height), _fitted(captions[i], font, width), fill="black", font=font)
    return write_bytes(path, _bytes(page))


def _image(x: Tensor) -> Image.Image:
    """Grey, colour, or for other channel counts the palette's colour of the strongest channel."""
    x = x.detach().float().cpu()
    channels, height, width = x.shape
    if channels not in (1, 3):
        pixels = _palette(channels)[x.argmax(0)]
    else:
        pixels = x.nan_to_num(0).clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).permute(1, 2, 0)
    mode = "L" if pixels.shape[2] == 1 else "RGB"
    return Image.frombytes(mode, (width, height), pixels.contiguous().numpy().tobytes())


def _palette(n: int) -> Tensor:
    """`n` colours as far apart as the golden ratio puts them, (n, 3) bytes; the first is black."""
    hues = [colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.75, 0.95) for i in range(n)]
    return torch.tensor([(0.0, 0.0, 0.0), *hues[1:]]).mul(255).round().to(torch.uint8)


def _fitted(caption: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The caption, cut where it is wider than its picture: a cut is shown by dots."""
    text = whole = printable(caption, 100)
    kept = len(whole)
    while kept and font.getlength(text) > width:
        kept -= 1
        text = f"{whole[:kept].rstrip()}..."
    return text if kept else ""


def _bytes(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()
