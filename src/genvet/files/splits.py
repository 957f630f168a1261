"""Members and non-members in one place: an npz that marks its members, or a folder with a folder for each."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import Tensor

from genvet.core.data import Images, Labelled, Split
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.files import members as listed
from genvet.files.images import load_images, npy_array
from genvet.files.labelled import by_folder

MEMBERS, OTHERS = ("members", "member", "in"), ("non-members", "non_members", "nonmembers", "out")
"""Names of the folders."""
MARK, PERSON = "member.npy", ("subject.npy", "person.npy")
"""Of the arrays in an npz."""
EXPECTED = "an npz with `images` or `x` and `member` (1 or 0 each), or a folder with members/ and non-members/"


def load_split(path: str | Path, shape: tuple[int, ...] | None = None) -> Split:
    """Both sets, with whom they show where `subject` or a folder for each person says so; raises BadInput otherwise."""
    file, _ = listed.split_slice(path)
    if file.is_dir():
        return _of_folders(file, shape)
    if not zipfile.is_zipfile(file):
        raise BadInput(f"{printable(path)} does not say who is a member", expected=EXPECTED)
    arrays = _arrays(file)
    if MARK not in arrays:
        raise BadInput(
            f"{printable(path)} does not say who is a member", expected=EXPECTED, got=f"{sorted(arrays)}"[:200]
        )
    images, mark = load_images(file, shape), arrays[MARK]
    if mark.shape != (len(images),) or not bool(((mark == 0) | (mark == 1)).all()):
        expected = f"{len(images)} numbers, 1 for a member and 0 for others"
        raise BadInput(f"the marks in {printable(path)} do not fit", expected=expected, got=str(tuple(mark.shape)))
    person = next((arrays[name] for name in PERSON if name in arrays), None)
    if person is not None and person.shape != mark.shape:
        raise BadInput(f"not every record of {printable(path)} shows somebody", got=str(tuple(person.shape)))
    inside = mark == 1
    people = None if person is None else (person[inside], person[~inside])
    return Split(images.take(inside), images.take(~inside), people)


def persons_in(file: Path) -> Tensor | None:
    """Whom the records of an npz show, as numbers (n,); None for other files, and where it does not say."""
    if file.is_dir() or not zipfile.is_zipfile(file):
        return None
    arrays = _arrays(file)
    return next((arrays[name] for name in PERSON if name in arrays), None)


def _arrays(file: Path) -> dict[str, Tensor]:
    """The marks and persons of an npz, as whole numbers."""
    found = {}
    with zipfile.ZipFile(file) as archive:
        for name in {MARK, *PERSON} & set(archive.namelist()):
            if archive.getinfo(name).file_size > listed.LARGEST_MEMBER:
                raise BadInput(f"the marks of {printable(file)} are too many")
            array = npy_array(archive.read(name), file)
            if array.dtype.kind not in "biu":
                raise BadInput(
                    f"{name} of {printable(file)} does not fit", expected="whole numbers", got=str(array.dtype)
                )
            found[name] = torch.from_numpy(array.astype("int64"))
    return found


def _of_folders(folder: Path, shape: tuple[int, ...] | None) -> Split:
    """Two folders, and in both of them a folder for each person, or in neither."""
    paths = [next((folder / name for name in names if (folder / name).is_dir()), None) for names in (MEMBERS, OTHERS)]
    if None in paths:
        raise BadInput(f"{printable(folder)} does not say who is a member", expected=EXPECTED)
    ones, others = (load_images(path, shape) for path in paths if path)
    named = [_person(images, path) for images, path in zip((ones, others), paths, strict=True) if path]
    if None in named:
        return Split(ones, others)
    known = {name: i for i, name in enumerate(sorted({n for one in named if one for n in one}))}
    first, second = (torch.tensor([known[name] for name in one]) for one in named if one)
    return Split(ones, others, (first, second))


def _person(images: Images, path: Path) -> list[str] | None:
    """Whom each picture shows, by its folder; None where pictures lie in no folder of their own."""
    if not all("/" in name for name in images.names):
        return None
    labelled: Labelled = by_folder(images, path)
    return [labelled.classes[int(k)] for k in labelled.labels]
