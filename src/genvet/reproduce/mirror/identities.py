"""Who is private and who is public: characters, faces, digits or garments, without a picture that is on both sides."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from genvet.core.data import Labelled
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.core.rng import Rng
from genvet.files.images import npy_array
from genvet.files.labelled import load_labelled
from genvet.files.omniglot import chosen, divided, load_omniglot
from genvet.maths.duplicates import Screening, screened
from genvet.maths.fitting import fitted
from genvet.nets.spaces import pixels, random_convolutions
from genvet.training.supervision import parted

Domain = Literal["characters", "faces", "digits", "garments"]
HELD_OUT: dict[Domain, float] = {"characters": 0.3, "faces": 0.4, "digits": 0.2, "garments": 0.2}
"""The share of each identity's pictures that no classifier learns from: the last ones."""
FILES = {
    "digits": "mnist/train-images-idx3-ubyte.gz",
    "garments": "fashion_mnist/train-images-idx3-ubyte.gz",
    "orl": "faces_orl/orl_faces.npz",
    "yaleb": "faces_yaleb/yaleb_cropped_64.npz",
}
"""Below the folder of data sets, beside omniglot/."""
MANY = 500
"""Pictures of each digit or garment."""
AZIMUTH, ELEVATION = 50, 45
"""Degrees that the light of a face may be off the axis: beyond, half of it is black."""
FROM_YALE = 0.4
"""Of the private persons; the others are from ORL."""
RATE = 0.01
"""Share of the public pictures that is taken for copies though there are none."""


@dataclass(frozen=True, eq=False)
class Identities:
    """Pictures of those who are private, to learn from and to test with, and of others, who are public."""

    private: Labelled
    """Of each identity, the last ones are to test with."""
    test: Labelled
    public: Labelled
    """Without those that look like private ones."""
    screening: Screening
    """Which these were."""


@lru_cache(maxsize=3)
def identities(root: Path, domain: Domain, size: int, private: int) -> Identities:
    """So many private identities of one domain at this size, and its public ones, screened against them."""
    ours, theirs = LOADERS[domain](root, size, private)
    found = screened(rows(ours.x), rows(theirs.x), theirs.labels, Rng(0, "screening"), rate(len(ours), len(theirs)))
    held_out = parted(ours.labels, HELD_OUT[domain], "last", Rng(0))[0]
    public = chosen(theirs, ~found.near)
    return Identities(ours, chosen(ours, held_out), public, found)


def rows(x: Tensor) -> dict[str, Tensor]:
    """In the spaces that copies are looked for in."""
    return {space.name: space(x) for space in (pixels(), random_convolutions())}


def rate(private: int, public: int) -> float:
    """The usual one; as much more as few public pictures take to be told from copies."""
    half = max(public // 2, 1)
    return max(RATE, 3 * 2 * -(-private // half) / half)


def characters(root: Path, size: int, private: int) -> tuple[Labelled, Labelled]:
    """Omniglot's: private alphabets are no public ones, and whoever drew to learn from drew none to test with."""
    paths = sorted((root / "omniglot").glob("*.zip"))
    if not paths:
        hint = "--data names a folder that holds omniglot/, with its archives"
        raise BadInput(f"there is no omniglot in {printable(root)}", hint=hint)
    parts = divided(load_omniglot(paths, size), private=private)
    return parts.drawings, parts.public


def faces(root: Path, size: int, private: int) -> tuple[Labelled, Labelled]:
    """Persons of ORL and of the Extended Yale B, the first of each private, their pictures in an order by chance."""
    from_yale = round(FROM_YALE * private)
    ours, theirs = [], []
    for images, n in ((labelled(root, "orl", size), private - from_yale), (lit(root, size), from_yale)):
        one, other = parted_by_class(images, n)
        ours.append(one)
        theirs.append(other)
    both = joined(*ours)
    order = torch.randperm(len(both), generator=Rng(0, "order").block())
    return chosen(both, order), joined(*theirs)


def lit(root: Path, size: int) -> Labelled:
    """Faces of the Extended Yale B that can be made out, by where the light comes from."""
    images, path = labelled(root, "yaleb", size), root / FILES["yaleb"]
    with zipfile.ZipFile(path) as archive:
        azimuth, elevation = (npy_array(archive.read(f"{name}.npy"), path) for name in ("azimuth", "elevation"))
    near = (abs(azimuth) <= AZIMUTH) & (abs(elevation) <= ELEVATION)
    return chosen(images, torch.from_numpy(near))


def halves(name: str) -> Callable[[Path, int, int], tuple[Labelled, Labelled]]:
    """The first classes of MNIST or Fashion-MNIST are private, the others public: a control, with few classes."""

    def load(root: Path, size: int, private: int) -> tuple[Labelled, Labelled]:
        whole = labelled(root, name, size)
        first = torch.cat([(whole.labels == k).nonzero()[:MANY, 0] for k in range(len(whole.classes))])
        return parted_by_class(chosen(whole, first), private)

    return load


LOADERS: dict[Domain, Callable[[Path, int, int], tuple[Labelled, Labelled]]] = {
    "characters": characters,
    "faces": faces,
    "digits": halves("digits"),
    "garments": halves("garments"),
}


def labelled(root: Path, name: str, size: int) -> Labelled:
    """One data set in this size, square."""
    path = root / FILES[name]
    if not path.is_file():
        raise BadInput(f"there is no {printable(path)}", hint=f"--data names a folder that holds {FILES[name]}")
    found = load_labelled(path)
    named = tuple(f"{name} {k}" for k in found.classes)
    return replace(found, x=fitted(found.x, size), classes=named)


def parted_by_class(images: Labelled, private: int) -> tuple[Labelled, Labelled]:
    """The pictures of so many classes, the first ones, and those of all others."""
    if not 0 < private < len(images.classes):
        expected = f"1 to {len(images.classes) - 1} private classes"
        raise BadInput("nobody would be left on one side", expected=expected, got=str(private))
    ours = images.labels < private
    return chosen(images, ours), chosen(images, ~ours)


def joined(one: Labelled, other: Labelled) -> Labelled:
    """Two sets with classes of their own as one."""
    labels = torch.cat([one.labels, other.labels + len(one.classes)])
    return Labelled(
        torch.cat([one.x, other.x]), one.names + other.names, labels=labels, classes=one.classes + other.classes
    )
