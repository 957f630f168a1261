"""Picture files of known content, made byte by byte: what is planted, and where."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image

PLACE = (48.0, 8.0, 14.5), (11.0, 34.0, 31.0)


def scene(side: int = 128) -> Image.Image:
    """Smooth colours, and a small object whose loss would be seen."""
    y, x = np.mgrid[0:side, 0:side] / side
    pixels = np.stack([x, y, 1 - x * y], 2) * 200 + 20
    pixels[side // 5 : side // 3, side // 5 : side // 3] = (250, 10, 10)
    return Image.fromarray(pixels.astype(np.uint8))


def jpeg(x: Image.Image | None = None, **more: object) -> bytes:
    data = io.BytesIO()
    (x or scene()).save(data, "JPEG", quality=90, **more)
    return data.getvalue()


def png(x: Image.Image | None = None, **more: object) -> bytes:
    data = io.BytesIO()
    (x or scene()).save(data, "PNG", **more)
    return data.getvalue()


def with_segment(data: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment behind its start."""
    return data[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body + data[2:]


def with_chunk(data: bytes, kind: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data[:33] + chunk + data[33:]


def tiff(preview: bytes, orientation: int = 1) -> bytes:
    """EXIF of an orientation and a preview."""
    first = struct.pack("<HHHIII", 1, 0x0112, 3, 1, orientation, 26)
    second = struct.pack("<HHHIIHHIII", 2, 0x0201, 4, 1, 56, 0x0202, 4, 1, len(preview), 0)
    return b"II*\0" + struct.pack("<I", 8) + first + second + preview


def previewed(picture: Image.Image, before: Image.Image) -> bytes:
    """A JPEG whose preview was made of `before`."""
    small = before.copy()
    small.thumbnail((96, 96))
    return with_segment(jpeg(picture), 0xE1, b"Exif\0\0" + tiff(jpeg(small)))


def placed() -> bytes:
    """A JPEG that says where, when, by whom and with what it was taken."""
    exif = Image.Exif()
    exif[0x010F], exif[0x013B], exif[0x0132] = "Acme", "Jane Roe", "2021:05:06 10:11:12"
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "N", PLACE[0], "E", PLACE[1]
    return jpeg(exif=exif)


def iptc() -> bytes:
    """A JPEG with Photoshop's resources, in which IPTC names an author and a town."""
    records = b"".join(
        b"\x1c\x02" + bytes((kind,)) + struct.pack(">H", len(text)) + text
        for kind, text in ((80, b"Jane Roe"), (90, b"Springfield"), (120, b"The mayor at home"))
    )
    block = b"8BIM" + struct.pack(">H", 0x0404) + b"\0\0" + struct.pack(">I", len(records)) + records
    return with_segment(jpeg(), 0xED, b"Photoshop 3.0\0" + block)


def archive() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("secret.txt", "hidden")
    return data.getvalue()
