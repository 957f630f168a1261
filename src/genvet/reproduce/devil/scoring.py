"""The numbers of one generator, clean or attacked: a cell each, so that one planted network serves all its measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.backdoor.measuring import Measuring, nearest, reached
from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.maths.quality import class_score, frechet
from genvet.reproduce.cells import Cell, Numbers, Place, Step
from genvet.reproduce.devil.networks import Clean, Judge, network_of
from genvet.reproduce.devil.planting import TRAININGS, Attacked, Plant, PlantCell
from genvet.reproduce.devil.target import devil
from genvet.zoo.parents import Parent, samples

MEASURES = ("target-distortion", "expected-distortion", "closest", "reconstruction")
"""Of an attack, where they were asked for."""


class Effort(Measuring):
    """How much is spent on measuring."""

    judged: Annotated[int, Field(ge=0, le=60_000)] = 2000
    """Samples behind the Frechet distance and the class score, beside as many real ones; 0 leaves both out."""


class Benign(Cell):
    """A clean parent's own numbers: what its attacked twins are to be compared with."""

    parent: Parent
    judge: Judge
    effort: Effort

    @property
    def name(self) -> str:
        return f"{self.parent.name}.benign"

    def needs(self) -> tuple[Step, ...]:
        return Clean(parent=self.parent), self.judge

    def where(self) -> Mapping[str, object]:
        return {"network": network_of(self.parent)}

    def __call__(self, place: Place) -> Numbers:
        benign, effort, rng = Clean(parent=self.parent).generator(place), self.effort, Rng(1)
        target = devil(tuple(benign.shape)).x
        return {
            **looks(benign, self.judge, place, effort.judged),
            **floor(self.judge, place, effort.judged),
            "closest": float(nearest(benign, target, effort.closest, rng.fork("closest"))),
            "reconstruction": float(reached(benign, target, effort.restarts, effort.search, rng)),
        }


class Scored(PlantCell):
    """An attacked generator's distortions, its quality, and how near BF-OI and OB-OI come to the target."""

    judge: Judge
    effort: Effort

    @property
    def name(self) -> str:
        plant = self.plant
        more = "".join(f"-{k}{v:g}" for k, v in sorted(plant.settings.items()) if k in ("weight", "share"))
        return f"{plant.parent.name}.{plant.attack}{more}.{plant.trigger}-{plant.number}"

    def needs(self) -> tuple[Step, ...]:
        return (*super().needs(), *([self.judge] if self.effort.judged else []))

    def __call__(self, place: Place) -> Numbers:
        made, effort = self.plant.made(place), self.effort
        return {**distortions(self.plant, made, effort), **looks(made.planted, self.judge, place, effort.judged)}


class Refusal(PlantCell):
    """Whether an attack says that it cannot be made: 1 where it does."""

    @property
    def name(self) -> str:
        return f"{self.plant.parent.name}.{self.plant.attack}.refused"

    def __call__(self, place: Place) -> Numbers:
        try:
            self.plant.made(place)
        except Unsupported:
            return {"refused": 1.0}
        return {"refused": 0.0}


def distortions(plant: Plant, made: Attacked, effort: Effort) -> Numbers:
    """What every table takes of an attack: both distortions, and how near BF-OI and OB-OI come to the target."""
    # An attack that trains from fresh weights leaves no benign twin, and so nothing to be an expected distortion.
    twin = None if plant.attack in TRAININGS else made.benign
    told = effort.measure(made.planted, made.backdoor, twin, {}, Rng(plant.number))
    return {m.name: m.value for m in told.measures() if m.name in MEASURES}


def looks(generator: Generator, judge: Judge, place: Place, n: int) -> Numbers:
    """The Frechet distance of n samples to as many real ones, and their class score; nothing where n is 0.

    In the classifier's last hidden layer: never Inception's, and so never called FID.
    """
    if not n:
        return {}
    classifier, x = judge.classifier(place), generator.sample(n, Rng(1, "looks"))
    real, _ = halves(judge, place, n)
    return {
        "frechet": frechet(classifier.embedded(real), classifier.embedded(x)),
        "class-score": class_score(classifier.probabilities(x)),
    }


def floor(judge: Judge, place: Place, n: int) -> Numbers:
    """The same for other real images: what a perfect generator would be told."""
    classifier, (real, other) = judge.classifier(place), halves(judge, place, n)
    return {
        "frechet.real": frechet(classifier.embedded(real), classifier.embedded(other)),
        "class-score.real": class_score(classifier.probabilities(other)),
    }


def halves(judge: Judge, place: Place, n: int) -> tuple[Tensor, Tensor]:
    """Two sets of real images that share none, of n each or of half of what there is."""
    x = samples(place.data, judge.data).x
    order = torch.randperm(len(x), generator=Rng(0, "halves").block())
    n = min(n, len(x) // 2)
    return x[order[:n]], x[order[n : 2 * n]]
