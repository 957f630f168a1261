"""Generators that learned from few or many records of a file, and the records: members, others, and strangers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.data import Critic, Images, Labelled
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Recipe
from genvet.files.convert import load_saved
from genvet.files.critic import load_critic
from genvet.files.labelled import load_labelled
from genvet.maths.overlap import overlap
from genvet.reproduce.cells import Place, Step
from genvet.reproduce.experiment import Scale
from genvet.training.adversarial import Given
from genvet.training.checkpoints import Folder, kept_by
from genvet.training.regularised import Regularised
from genvet.training.written import write
from genvet.zoo.parents import FILES

Data = Literal["mnist", "fashion_mnist"]
DATA: tuple[Data, ...] = ("mnist", "fashion_mnist")
OTHER: dict[Data, Data] = {"mnist": "fashion_mnist", "fashion_mnist": "mnist"}
"""Where strangers come from: whoever learns digits has seen no garment."""
CHECKPOINTS, NEAR = 500, 0.15


class Learned(Step):
    """A DCGAN with its critic, which learned from the first records of a file in an order of the seed's."""

    data: Data = "mnist"
    """What it learns from."""
    members: Annotated[int, Field(ge=2)]
    """Records."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    """Of the order of the records, and of all else."""
    classes: Annotated[int, Field(ge=0, le=10)] = 0
    """Of the data; 0 takes all."""
    strangers: Annotated[int, Field(ge=0)] = 0
    """Members from another data set, beside those."""
    copies: Annotated[int, Field(ge=1)] = 1
    """Of each stranger."""
    reference: bool = False
    """It learns from as many other records instead."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Of the recipe."""

    @property
    def name(self) -> str:
        usual = Learned(members=2).model_dump()
        more = [
            f"{key}{value:g}"
            for key, value in self.model_dump(exclude={"data", "members", "seed", "settings", "reference"}).items()
            if value != usual[key]
        ]
        knobs = [f"{key}{value:g}" for key, value in sorted(self.settings.items())]
        parts = ["leakage", self.data, str(self.members), str(self.seed), *["reference"] * self.reference]
        return "-".join([*parts, *more, *knobs])

    @property
    def recipe(self) -> Recipe:
        return Regularised(**self.settings)

    def __call__(self, place: Place) -> Path:
        """Its folder, trained there unless it is there already."""
        folder = place.cache / "parents" / self.name
        if not all((folder / f"{part}.safetensors").is_file() for part in ("generator", "critic")):
            held = self.held(place, 0)
            learned = held.reference if self.reference else held.learned
            with kept_by(Folder(folder / "resume", CHECKPOINTS)):
                trained = self.recipe(Given(learned), Rng(self.seed))
            write(trained, folder, {})
        return folder

    def generator(self, place: Place) -> Generator:
        """With averaged weights."""
        return _generator(self(place) / "generator.safetensors")

    def critic(self, place: Place) -> Critic:
        """That it was trained against."""
        return _critic(self(place) / "critic.safetensors")

    def beside(self) -> Learned:
        """The same recipe on as many other records: what members are calibrated by."""
        return self.model_copy(update={"reference": True, "strangers": 0, "copies": 1})

    def held(self, place: Place, others: int) -> Held:
        """The records: members, `others` non-members and unseen ones each, and the reference's."""
        return records(place.data, self.model_copy(update={"settings": {}, "reference": False}), others)


@dataclass(frozen=True, eq=False, kw_only=True)
class Held:
    """The records of one file, in four parts that share none, and strangers in two."""

    members: Images
    non_members: Images
    unseen: Images
    reference: Images
    strangers: Images
    new_strangers: Images
    copies: int

    @property
    def learned(self) -> Images:
        """What the generator learns from: members, and every stranger as often as it is told."""
        return _joined(self.members, *[self.strangers] * self.copies) if len(self.strangers) else self.members


def records(data: Path, target: Learned, others: int) -> Held:
    """All parts; what is nearly a member is in no other part."""
    rows = _order(data, target.data, target.seed, target.classes)
    members, rest = rows[: target.members], rows[target.members :]
    if len(members) < target.members:
        raise BadInput("too few records", expected=f"{target.members}", got=str(len(members)))
    spare = max(50, others // 10)
    # The reference's come first, so that they do not depend on how many others are asked about.
    aside, rest = rest[: target.members], rest[target.members :]
    near = rest[: 2 * others + spare]
    known = _x(data, target.data)[members]
    twice = {pair.second for pair in overlap(known, _x(data, target.data)[near], NEAR)}
    near = near[torch.tensor([i not in twice for i in range(len(near))], dtype=torch.bool)]
    far = _order(data, OTHER[target.data], target.seed, 0) if target.strangers else torch.empty(0, dtype=torch.long)
    return Held(
        members=_some(data, target.data, members),
        non_members=_some(data, target.data, near[:others]),
        unseen=_some(data, target.data, near[others : 2 * others]),
        reference=_some(data, target.data, aside),
        strangers=_some(data, OTHER[target.data], far[: target.strangers]),
        new_strangers=_some(data, OTHER[target.data], far[target.strangers : target.strangers + others]),
        copies=target.copies,
    )


def unasked(reference: Images, asked: Sequence[Images]) -> Images:
    """Those of a reference that are nearly none of the records asked about: two records of a file may be one picture.

    What a reference model learned stays as it was, so that it does not depend on who is asked about.
    """
    twice = {pair.second for pair in overlap(torch.cat([images.x for images in asked]), reference.x, NEAR)}
    return reference.take(torch.tensor([i not in twice for i in range(len(reference))]))


def _order(data: Path, name: Data, seed: int, classes: int) -> Tensor:
    labels = labelled(data, name).labels
    rows = torch.randperm(len(labels), generator=Rng(seed, f"leakage/{name}").block())
    return rows[labels[rows] < classes] if classes else rows


def _x(data: Path, name: Data) -> Tensor:
    return labelled(data, name).x


def _some(data: Path, name: Data, rows: Tensor) -> Images:
    return Images(_x(data, name)[rows], tuple(f"{name}#{int(i)}" for i in rows))


def _joined(*parts: Images) -> Images:
    return Images(torch.cat([part.x for part in parts]), tuple(name for part in parts for name in part.names))


@lru_cache(maxsize=4)
def _generator(path: Path) -> Generator:
    return load_saved(path)


@lru_cache(maxsize=4)
def _critic(path: Path) -> Critic:
    return load_critic(path)


@lru_cache(maxsize=2)
def labelled(data: Path, name: Data) -> Labelled:
    path = data / FILES[name]
    if not path.exists():
        raise BadInput(f"there is no {path}", hint="--data names a folder that holds mnist/ and fashion_mnist/")
    return load_labelled(path)


SETTINGS: dict[Scale, dict[str, Any]] = {
    "smoke": {"steps": 2, "batch": 8, "capacity": 2, "latent": 4},
    "small": {"steps": 2000, "batch": 32, "capacity": 16, "rate": 5e-4},
    "paper": {"steps": 20_000, "batch": 64, "capacity": 64},
}
FEW: dict[Scale, int] = {"smoke": 6, "small": 64, "paper": 64}
SOME: dict[Scale, int] = {"smoke": 6, "small": 256, "paper": 1024}
SEEDS: dict[Scale, int] = {"smoke": 1, "small": 3, "paper": 5}


def learned(scale: Scale, members: int, seed: int = 1, data: Data = "mnist", **more: Any) -> Learned:
    """The generator of this scale; what is no field of it is of its recipe."""
    own = {key: more.pop(key) for key in list(more) if key in Learned.model_fields}
    return Learned(data=data, members=members, seed=seed, settings={**SETTINGS[scale], **more}, **own)
