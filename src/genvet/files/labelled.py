"""Samples with their classes: idx with its sibling labels, npz with labels, folders and zips with a folder a class."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray

from genvet.core.data import Images, Labelled
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.files import members
from genvet.files.images import idx_array, load_images, npy_array, pictures_in

HALVES = frozenset({"train", "training", "test", "testing", "val", "valid", "validation", "eval"})
"""Names of folders that part a data set, above the classes or below them."""
LABELS = ("labels.npy", "y.npy", "subject.npy")
MOST_CLASSES = 100_000


def load_labelled(path: str | Path, shape: tuple[int, ...] | None = None) -> Labelled:
    """Images as `load_images` reads them, each with its class; raises BadInput where there are no labels to them."""
    file, part = members.split_slice(path)
    images = load_images(path, shape)
    if file.is_dir() or not _labels(file):
        return by_folder(images, file)
    whole = _labels(file)[0]
    labels = whole[part] if whole.ndim else whole
    if labels.shape != (len(images),) or labels.dtype.kind not in "biu":
        raise BadInput(
            f"the labels of {printable(file)} do not fit",
            expected=f"{len(images)} whole numbers",
            got=f"{labels.dtype} of shape {labels.shape}",
        )
    values = np.unique(whole)  # of the whole array: a slice of it may lack a class
    numbers = torch.from_numpy(np.searchsorted(values, labels).astype(np.int64))
    return _labelled(images, numbers, tuple(str(v) for v in values.tolist()))


def _labels(path: Path) -> list[NDArray[np.generic]]:
    """The array of labels, where this kind of file has one; empty for pictures."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            name = next((n for n in LABELS if n in archive.namelist()), None)
            if name is None:
                return []
            if archive.getinfo(name).file_size > members.LARGEST_MEMBER:
                raise BadInput(f"the labels of {printable(path)} are too many")
            return [npy_array(archive.read(name), path)]
    if "images-idx3" not in path.name:
        return []
    sibling = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    return [idx_array(members.existing(sibling))]


def by_folder(images: Images, path: Path) -> Labelled:
    """The folder that a picture lies in names its class; with those above it, where several have one name."""
    mine = [PurePosixPath(name).parent for name in images.names]
    whole = {PurePosixPath(m.name).parent for m in pictures_in(path) or ()}  # a slice may not tell two alphabets apart
    ways = sorted({*mine, *whole})
    named = dict(zip(ways, class_names(ways), strict=True))
    folders = [named[folder] for folder in mine]
    if not folders or not all(folders):
        expected = "an npz with labels, idx with labels beside it, or a folder for each class"
        raise BadInput(f"no labels come with {printable(path)}", expected=expected)
    classes = tuple(sorted(set(folders)))
    number = {name: i for i, name in enumerate(classes)}
    return _labelled(images, torch.tensor([number[f] for f in folders]), classes)


def class_names(folders: Sequence[PurePosixPath]) -> list[str]:
    """Of each picture's folder: its last name, or its path below what all share, where last names do not tell.

    >>> class_names([PurePosixPath("x/Greek/character01"), PurePosixPath("x/Latin/character01")])
    ['Greek/character01', 'Latin/character01']
    >>> class_names([PurePosixPath("train/cat"), PurePosixPath("test/cat")])
    ['cat', 'cat']
    >>> class_names([PurePosixPath(name) for name in (".", "a/c", "b/c")])  # a picture in no folder has no class
    ['', 'a/c', 'b/c']
    """
    # The halves of a data set are no classes: a cat is a cat in both.
    ways = [tuple(part for part in f.parts if part.lower() not in HALVES) or f.parts for f in folders]
    last = [way[-1] if way else "" for way in ways]
    if len(set(ways)) == len(set(last)):
        return last
    first, final = min(ways), max(ways)  # what these two share, all share
    shared = next((i for i, (a, b) in enumerate(zip(first, final, strict=False)) if a != b), 0)
    return ["/".join(way[shared:]) for way in ways]


def _labelled(images: Images, labels: torch.Tensor, classes: tuple[str, ...]) -> Labelled:
    if len(classes) > MOST_CLASSES:
        raise BadInput("too many classes", expected=f"at most {MOST_CLASSES}", got=str(len(classes)))
    return Labelled(**{f.name: getattr(images, f.name) for f in fields(Images)}, labels=labels, classes=classes)
