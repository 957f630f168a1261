"""Samples with their classes: idx with its sibling labels, npz with labels, folders and zips with a folder a class."""

from __future__ import annotations

import zipfile
from dataclasses import fields
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray

from genvet.core.data import Images, Labelled
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.files import members
from genvet.files.images import idx_array, load_images, npy_array

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
    """The folder that a picture lies in names its class."""
    folders = [PurePosixPath(name).parent.name for name in images.names]
    if not folders or not all(folders):
        expected = "an npz with labels, idx with labels beside it, or a folder for each class"
        raise BadInput(f"no labels come with {printable(path)}", expected=expected)
    classes = tuple(sorted(set(folders)))
    number = {name: i for i, name in enumerate(classes)}
    return _labelled(images, torch.tensor([number[f] for f in folders]), classes)


def _labelled(images: Images, labels: torch.Tensor, classes: tuple[str, ...]) -> Labelled:
    if len(classes) > MOST_CLASSES:
        raise BadInput("too many classes", expected=f"at most {MOST_CLASSES}", got=str(len(classes)))
    return Labelled(**{f.name: getattr(images, f.name) for f in fields(Images)}, labels=labels, classes=classes)
