"""Images in: folders, zips, npz, npy, idx and single pictures, as floats in [-1, 1]. Images out: PNG."""

from __future__ import annotations

import gzip
import io
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from genvet.core.data import Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.printable import printable
from genvet.files import members
from genvet.files.members import Member
from genvet.files.pictures import write_grid as write_grid
from genvet.files.pictures import write_png as write_png

FORMATS = ("PNG", "JPEG", "BMP", "PPM")
"""What Pillow may decode: its other decoders stay shut."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm")
MOST_PIXELS = 1 << 26
"""Of one picture."""
MOST_BYTES = 8 << 30
"""Of all images together, as floats; and of one array, unpacked."""

Array = NDArray[np.generic]
Shape = tuple[int, ...]


def load_images(path: str | Path, shape: Shape | None = None) -> Images:
    """Images in [-1, 1], (n, c, h, w), from a folder, zip, npz, npy, idx(.gz) or a single picture; `#a:b` slices.

    With a `shape` (c, h, w), pictures are cropped to its proportions, resized and made grey or coloured; arrays must
    have it already. Arrays are of bytes or of numbers up to 255; floats are in [0, 1] or, with one below 0, in [-1, 1].
    Raises BadInput where they do not, or where there is nothing to read.
    """
    path, part = members.split_slice(path)
    found = pictures_in(path)
    if found is not None:
        return _decoded(found, part, shape, path)
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(b"PK"):
        return _from_array(_npz(path), part, shape, path)
    if start.startswith(b"\x93NUMPY"):
        return _from_array(npy_array(members.single(path).read(), path), part, shape, path)
    return _from_array(idx_array(path), part, shape, path)


def pictures_in(path: Path) -> list[Member] | None:
    """The pictures that a folder, a zip or a file of its own holds; None where it holds an array."""
    members.existing(path)
    if path.is_dir():
        return members.in_folder(path, SUFFIXES)
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(b"PK"):
        return None if _is_npz(path) else members.in_zip(path, SUFFIXES)
    return None if start.startswith((b"\x93NUMPY", b"\x1f\x8b", b"\0\0\x08")) else [members.single(path)]


# Pictures


@dataclass(frozen=True)
class Picture:
    """One picture, decoded."""

    name: str
    image: Image.Image

    @property
    def grey(self) -> bool:
        return self.image.mode in ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L")


def _decoded(found: Sequence[Member], part: slice, shape: Shape | None, path: Path) -> Images:
    """Decode pictures to one shape: the given one, or that of the first."""
    chosen = members.sliced(found, part, path)
    if not chosen:
        raise BadInput(f"no images in {printable(path)}", expected="PNG, JPEG, BMP or PPM files")
    fixed = shape is not None
    if shape is None:
        first = [opened(m) for m in chosen[:16]]
        shape = (1 if all(p.grey for p in first) else 3, first[0].image.height, first[0].image.width)
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise Unsupported(f"pictures cannot be turned into samples of shape {shape}", hint="give an npz of that shape")
    _check_total(len(chosen), shape)
    x = torch.empty(len(chosen), *shape)
    for i, member in enumerate(chosen):
        x[i] = _pixels(opened(member), shape, fixed)
    return Images(x, tuple(m.name for m in chosen))


def opened(member: Member) -> Picture:
    """Decode one picture, its size checked before a pixel is."""
    data = member.read()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of sizes that are refused just below
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > MOST_PIXELS:
                raise BadInput(
                    f"{member.name} is too large", expected=f"at most {MOST_PIXELS} pixels", got=f"{image.size}"
                )
            image.load()
    except BadInput:
        raise
    except Exception as error:  # a decoder of a hostile picture raises whatever it runs into
        why = {
            Image.UnidentifiedImageError: "is no PNG, JPEG, BMP or PPM",
            Image.DecompressionBombError: "is too large",
        }
        raise BadInput(f"{member.name} {why.get(type(error), 'cannot be decoded')}") from None
    if image.mode == "F":
        raise BadInput(f"{member.name} holds floats", expected="8 or 16 bits a channel")
    return Picture(member.name, image)


def _pixels(picture: Picture, shape: Shape, fixed: bool) -> Tensor:
    """One picture as (c, h, w) in [-1, 1]; resized only where the shape was asked for."""
    return octets(picture, shape, fixed).float().div(127.5).sub(1)


def octets(picture: Picture, shape: Shape, fixed: bool = True) -> Tensor:
    """One picture as (c, h, w) in 0 to 255; cropped to its proportions and resized, where `fixed`."""
    image, (channels, height, width) = picture.image, shape
    if image.mode.startswith("I"):  # 16 bits: Pillow would clip them
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    elif image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        if not fixed:
            hint = "give images of one size"
            raise BadInput(
                f"{picture.name} differs in size", expected=f"{width}x{height}", got=str(image.size), hint=hint
            )
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image, dtype=np.uint8)).reshape(height, width, channels).permute(2, 0, 1)


# Arrays


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return all(name.endswith(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def _npz(path: Path) -> Array:
    """The array `images` or `x` of an npz."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        wanted = next((n for n in ("images.npy", "x.npy") if n in names), names[0] if len(names) == 1 else None)
        if wanted is None:
            raise BadInput(f"no images in {printable(path)}", expected="an array `images` or `x`", got=printable(names))
        if archive.getinfo(wanted).file_size > MOST_BYTES:
            raise BadInput(f"the array of {printable(path)} is too large", expected=f"at most {MOST_BYTES} bytes")
        try:
            data = archive.read(wanted)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError) as error:
            raise BadInput(f"{printable(path)} cannot be read: {printable(error)}") from None
    return npy_array(data, path)


def npy_array(data: bytes, path: Path) -> Array:
    """One npy file: plain numbers only, and as many as its header says."""
    file = io.BytesIO(data)
    try:
        major, _ = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except (ValueError, SyntaxError, TypeError) as error:
        raise BadInput(f"{printable(path)} is no readable npy: {printable(error)}") from None
    if dtype.kind not in "biuf":
        raise BadInput(f"{printable(path)} holds no images", expected="numbers", got=f"dtype {dtype}")
    flat = np.frombuffer(data, np.uint8, offset=file.tell())
    if flat.size != int(np.prod(shape, dtype=object)) * dtype.itemsize:
        raise BadInput(f"{printable(path)} is damaged", expected=f"{shape} of {dtype}", got=f"{flat.size} bytes")
    array = flat.view(dtype)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def idx_array(path: Path) -> Array:
    """The MNIST family's format: big-endian sizes, then bytes; packed with gzip or not."""
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            head = file.read(4)
            if head[:3] != b"\0\0\x08" or len(head) < 4:
                raise BadInput(f"{printable(path)} is no idx file of bytes")
            sizes = np.frombuffer(file.read(4 * head[3]), ">u4").tolist()
            total = int(np.prod(sizes, dtype=object))
            if len(sizes) != head[3] or total > MOST_BYTES:
                raise BadInput(f"{printable(path)} is damaged: it declares the sizes {sizes}")
            data = file.read(total + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{printable(path)} cannot be read: {printable(error)}") from None
    if len(data) != total:
        raise BadInput(f"{printable(path)} is damaged", expected=f"{total} bytes", got=f"{len(data)}")
    return np.frombuffer(data, np.uint8).reshape(sizes)


def _from_array(array: Array, part: slice, shape: Shape | None, path: Path) -> Images:
    """An array of images, in whichever order of axes, as (n, c, h, w) in [-1, 1]."""
    whole, array = array, members.sliced(array, part, path) if array.ndim else array
    if array.ndim not in (3, 4) or 0 in array.shape:
        got = f"an array of shape {array.shape}"
        raise BadInput(f"no images in {printable(path)}", expected="(n, h, w), (n, h, w, c) or (n, c, h, w)", got=got)
    if array.ndim == 3:
        array = array[:, None]
    elif _channels_last(array.shape[1:], shape):
        array = array.transpose(0, 3, 1, 2)
    _check_total(len(array), array.shape[1:])
    black, white = _range(whole, path)  # of the whole array: a slice of it may have a narrower one
    x = torch.from_numpy(np.ascontiguousarray(array).astype(np.float32))
    x = x.sub_(black).mul_(2 / (white - black)).sub_(1).clamp_(-1, 1)
    images = Images(x, tuple(f"{printable(path.name)}#{i}" for i in range(len(whole))[part]))
    if shape is not None:
        images.fitting(shape)
    return images


def _channels_last(sizes: Shape, shape: Shape | None) -> bool:
    """Whether (a, b, c) means (h, w, channels): by the wanted shape, else by which end looks like channels."""
    if shape is not None and sizes != shape and (sizes[2], *sizes[:2]) == shape:
        return True
    return sizes != shape and sizes[2] in (1, 3) and sizes[0] not in (1, 3)


def _range(array: Array, path: Path) -> tuple[float, float]:
    """The values that stand for black and white: of bytes, of [0, 1], of [0, 255] or of [-1, 1] itself.

    Floats within [0, 1] are taken to have that range; raises BadInput where they are all one value, which tells none.
    """
    if array.dtype == np.uint8:
        return 0.0, 255.0
    if array.dtype == np.bool_:
        return 0.0, 1.0
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind == "f" and low >= -1.001 and high <= 1.001:
        if 0 <= low == high:
            what = f"every value of {printable(path.name)} is {low:g}, which may be of [0, 1] or of [-1, 1]"
            raise BadInput(what, expected="bytes (uint8), or floats that differ")
        return (0.0, 1.0) if low >= 0 else (-1.0, 1.0)
    if low >= 0 and high <= 255:
        return 0.0, 255.0
    expected = "[-1, 1], [0, 1] or [0, 255]"
    raise BadInput(f"the values of {printable(path)} are out of range", expected=expected, got=f"[{low:g}, {high:g}]")


def _check_total(n: int, shape: Shape) -> None:
    total = int(np.prod([n, *shape, 4], dtype=object))
    if total > MOST_BYTES:
        hint = "take a slice: path#0:1000"
        raise BadInput(
            "too many images at once", expected=f"{MOST_BYTES >> 30} GiB", got=f"{total >> 30} GiB", hint=hint
        )
