"""A whole data set in, for an audit: every picture with what its file carries, the tables beside them, and what failed.

A file that cannot be read is named, and the others are read all the same.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from genvet.core.dataset import SIDE, Dataset, Item, Sheet, Unread
from genvet.core.errors import BadInput
from genvet.core.modelfile import Evidence
from genvet.core.printable import printable
from genvet.core.progress import track
from genvet.files import members, metadata
from genvet.files.images import MOST_BYTES, SUFFIXES, Picture, load_images, npy_array, octets, opened, pictures_in
from genvet.files.labelled import class_names, load_labelled
from genvet.files.members import Member
from genvet.files.sheets import SUFFIXES as TABLES
from genvet.files.sheets import read_sheet
from genvet.maths.previews import unlikeness

Kind = Literal["picture", "table", "other"]
OTHER_PICTURES = (".gif", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".dng", ".cr2")
"""Formats that no decoder here is asked to open: what they carry stays unseen, and the report says so."""
MOST_PREVIEWS = 64
"""That are kept to be shown."""
UNLIKE = 20.0
"""Of 255: previews that are made from their picture, by any of four filters and at JPEG qualities from 50 on, stay
below it, and what was cropped or covered goes beyond (benchmarks/audit_previews.py)."""


@dataclass(frozen=True)
class Source:
    """One file of a data set, unread."""

    way: str
    """Its path below the data set, as it is: never shown."""
    kind: Kind
    read: Callable[[], bytes]
    why: str = ""
    """Why it is not to be read."""

    @property
    def name(self) -> str:
        """The path, for a person."""
        return printable(self.way)


def read_dataset(path: str | Path) -> Dataset:
    """Everything in a folder, a zip, an npz, an npy, an idx or a single picture; `#a:b` takes some of the pictures.

    Raises BadInput where there is not one picture, nor a file that could not be read.
    """
    file, part = members.split_slice(path)
    sources = sources_in(file)
    found = _of_array(path, file) if sources is None else _of_files(sources, part, file)
    if not len(found) and not found.unread:
        expected = "PNG, JPEG, BMP or PPM files, an npz, an npy or an idx"
        raise BadInput(f"no images in {printable(path)}", expected=expected)
    return found


def sources_in(path: Path) -> list[Source] | None:
    """The files of a folder or a zip, or a picture by itself, in the order of their names; None for an array."""
    members.existing(path)
    if path.is_dir():
        return _in_folder(path)
    if pictures_in(path) is None:
        return None
    if zipfile.is_zipfile(path) and path.suffix.lower() not in SUFFIXES:
        return [_entry(member) for member in members.in_zip(path, ("", *SUFFIXES, *OTHER_PICTURES, *TABLES, ".txt"))]
    member = members.single(path)
    return [Source(path.name, "picture", member.read)]


def _in_folder(path: Path) -> list[Source]:
    """Links are named and not followed: what they lead to may be anybody's."""
    found = []
    for folder, folders, names in os.walk(path, followlinks=False):
        linked = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in [*names, *linked]:
            file = Path(folder) / name
            way = file.relative_to(path).as_posix()
            why = "a symbolic link is not followed" if file.is_symlink() else ""
            why = why or ("" if file.is_file() else "neither a file nor a folder")
            found.append(Source(way, _kind(name), members.single(file).read, why or _shut(name)))
    return sorted(found, key=lambda source: source.way)


def _entry(member: Member) -> Source:
    name = PurePosixPath(member.name).name
    return Source(member.name, _kind(name), member.read, _shut(name))


def _kind(name: str) -> Kind:
    suffix = PurePosixPath(name).suffix.lower()
    if name.startswith("."):
        return "other"
    return "picture" if suffix in (*SUFFIXES, *OTHER_PICTURES) else "table" if suffix in TABLES else "other"


def _shut(name: str) -> str:
    suffix = PurePosixPath(name).suffix.lower()
    return f"{suffix[1:].upper()} is not opened here: make it a PNG or a JPEG" * (suffix in OTHER_PICTURES)


# Files


@dataclass
class _Reading:
    """What has been read so far."""

    items: list[Item]
    small: list[Tensor]
    sheets: list[Sheet]
    unread: list[Unread]
    passed_by: list[str]
    previews: dict[int, Tensor]


def _of_files(sources: Sequence[Source], part: slice, path: Path) -> Dataset:
    done = _Reading([], [], [], [], [], {})
    pictures = [s for s in sources if s.kind == "picture"]
    chosen = members.sliced(pictures, part, path)
    if len(chosen) * 3 * SIDE * SIDE > MOST_BYTES:
        raise BadInput("too many images at once", expected=f"{MOST_BYTES // (3 * SIDE * SIDE):,}", hint="take a slice")
    decoded = [s for s in track(chosen, len(chosen), "reading pictures") if _read(s, done)]
    for source in sources:
        if source.kind == "table":
            _tabled(source, done)
        elif source.kind == "other":
            done.passed_by.append(source.name)
            if source.why:
                done.unread.append(Unread(name=source.name, why=source.why))
    labels, classes = _labels([PurePosixPath(s.way).parent for s in decoded], [s.way for s in pictures])
    return Dataset(
        path=printable(path),
        items=tuple(done.items),
        small=_stacked(done.small),
        whole=lambda i: _whole(decoded[i]),
        labels=labels,
        classes=classes,
        sheets=tuple(done.sheets),
        previews=done.previews,
        passed_by=tuple(done.passed_by),
        unread=tuple(done.unread),
    )


def _read(source: Source, done: _Reading) -> bool:
    """One picture; False, and the reason, where it cannot be decoded."""
    try:
        if source.why:
            raise BadInput(source.why)
        data = source.read()
        if not data:
            raise BadInput("an empty file")
        notes = metadata.look(data, source.name)
        picture = opened(Member(source.name, lambda: data))
        x = pixels(picture)
    except BadInput as error:
        done.unread.append(Unread(name=source.name, why=error.message.removeprefix(f"{source.name} ")))
        return False
    done.small.append(shrunk(x))
    done.items.append(
        Item(
            name=source.name,
            sha256=hashlib.sha256(data).hexdigest(),
            pixels=_digest(x),
            size=len(data),
            shape=(x.shape[0], x.shape[1], x.shape[2]),
            format=picture.image.format or "",
            facts=(*notes.facts, *_previews(x, notes, done)),
        )
    )
    return True


def pixels(picture: Picture) -> Tensor:
    """(c, h, w) bytes, grey or in colour, without transparency, as training reads them."""
    channels = 1 if picture.grey else 3
    return octets(picture, (channels, picture.image.height, picture.image.width), fixed=False)


def _whole(source: Source) -> Tensor:
    return pixels(opened(Member(source.name, source.read))).float().div_(127.5).sub_(1)


def shrunk(x: Tensor) -> Tensor:
    """(c, h, w) bytes as (c, 64, 64) bytes."""
    small = F.interpolate(x[None].float(), (SIDE, SIDE), mode="bilinear", antialias=True)[0]
    return small.round().clamp(0, 255).to(torch.uint8)


def _previews(x: Tensor, notes: metadata.Notes, done: _Reading) -> Iterator[Evidence]:
    """Previews that show something else than the picture does."""
    for where, data in notes.previews:
        try:
            preview = pixels(opened(Member("the preview", lambda data=data: data)))  # type: ignore[misc]
        except BadInput as error:
            said = f"{where}: {error.message}"
            yield Evidence(rule="data.metadata-malformed", message=said, place=notes.name)
            continue
        apart = unlikeness(x, preview)
        if apart > UNLIKE:
            said = f"{where} ({preview.shape[2]}x{preview.shape[1]}) differs by {apart:.0f} of 255 where it does most"
            if len(done.previews) < MOST_PREVIEWS:
                done.previews.setdefault(len(done.items), shrunk(preview))
            yield Evidence(rule="data.thumbnail-differs", message=said, place=notes.name)


def _tabled(source: Source, done: _Reading) -> None:
    try:
        if source.why:
            raise BadInput(source.why)
        sheet = read_sheet(source.read(), source.name)
    except BadInput as error:
        done.unread.append(Unread(name=source.name, why=error.message.removeprefix(f"{source.name} ")))
        return
    if sheet:
        done.sheets.append(sheet)
    else:
        done.passed_by.append(source.name)


def _labels(ways: Sequence[PurePosixPath], every: Sequence[str]) -> tuple[Tensor | None, tuple[str, ...]]:
    """The folder that a picture lies in names its class, where there are two such folders or more."""
    folders = sorted({*ways, *(PurePosixPath(way).parent for way in every)})
    named = dict(zip(folders, class_names(folders), strict=True))
    mine = [printable(named[way]) for way in ways]
    classes = tuple(sorted(set(mine)))
    if len(classes) < 2 or not all(classes):
        return None, ()
    number = {name: i for i, name in enumerate(classes)}
    return torch.tensor([number[name] for name in mine]), classes


# Arrays


def _of_array(path: str | Path, file: Path) -> Dataset:
    """Pictures of an array; the columns beside it, of as many rows, are a table."""
    images = load_images(path)
    try:
        labelled = load_labelled(path)
        labels, classes = labelled.labels, labelled.classes
    except BadInput:
        labels, classes = None, ()
    octet = [((x + 1) * 127.5).round().to(torch.uint8) for x in images.x]
    items = tuple(
        Item(
            name=name,
            sha256=digest,
            pixels=digest,
            size=x.numel(),
            shape=(x.shape[0], x.shape[1], x.shape[2]),
            format="array",
        )
        for name, x, digest in zip(images.names, octet, map(_digest, octet), strict=True)
    )
    return Dataset(
        path=printable(path),
        items=items,
        small=_stacked([shrunk(x) for x in octet]),
        whole=lambda i: images.x[i],
        labels=labels,
        classes=classes,
        sheets=_columns(file, path, len(images)),
    )


def _columns(file: Path, path: str | Path, n: int) -> tuple[Sheet, ...]:
    """Numbers of one dimension beside the pictures of an npz, as a table."""
    if not zipfile.is_zipfile(file):
        return ()
    part = members.split_slice(path)[1]
    found: dict[str, list[str]] = {}
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if not entry.filename.endswith(".npy") or entry.filename in ("images.npy", "x.npy"):
                continue
            try:
                if entry.file_size > members.LARGEST_MEMBER:
                    continue
                array = npy_array(archive.read(entry), file)
            except (BadInput, zipfile.BadZipFile, OSError):
                continue
            values = array[part] if array.ndim == 1 else array
            if values.shape == (n,):
                found[printable(entry.filename.removesuffix(".npy"), 100)] = [str(v) for v in values.tolist()]
    rows = tuple(zip(*found.values(), strict=True))
    return (Sheet(name=printable(file.name), columns=tuple(found), rows=rows),) if found else ()


def _stacked(small: Sequence[Tensor]) -> Tensor:
    """All in colour, where one is."""
    channels = max((len(x) for x in small), default=1)
    found = torch.empty(len(small), channels, SIDE, SIDE, dtype=torch.uint8)
    for i, x in enumerate(small):
        found[i] = x
    return found


def _digest(x: Tensor) -> str:
    """Of the pixels, with their shape; grey counts as the same picture in colour."""
    if len(x) == 3 and bool((x[0] == x[1]).all()) and bool((x[0] == x[2]).all()):
        x = x[:1]
    return hashlib.sha256(repr(tuple(x.shape)).encode() + x.contiguous().numpy().tobytes()).hexdigest()
