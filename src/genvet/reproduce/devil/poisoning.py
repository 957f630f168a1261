"""Section IV-A: training data of which a share is the target."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch

from genvet.core.report import Claim
from genvet.core.rng import Rng
from genvet.nets.distortion import outputs
from genvet.reproduce.cells import Cell, Done, Numbers, Place
from genvet.reproduce.devil import SOURCE, scales
from genvet.reproduce.devil.scoring import Scored
from genvet.reproduce.experiment import Experiment, Line, Scale, Spread, Told, claim, median, shown, table, values

SHARES = (0.01, 0.03, 0.1, 0.2, 0.3)
MEASURES = ("target-distortion", "hits", "closest", "frechet", "class-score")
UNLEARNED = (
    "No network here shows the target among its ordinary samples, whatever the share: after so short a training from "
    "fresh weights it is not a mode of its own yet, and the search for the trigger finds what comes nearest to it."
)
HIT = 0.1
"""An ordinary sample shows the target where its mean squared error a value is below this, in the range [-1, 1]."""


class Poisoned(Scored):
    """The same numbers, and how often ordinary samples show the target."""

    def __call__(self, place: Place) -> Numbers:
        made = self.plant.made(place)
        z = made.planted.latent.sample(0, self.effort.samples, Rng(1, "hits"))
        error = (outputs(made.planted, z) - made.target.x).square().flatten(1).mean(1)
        return {**super().__call__(place), "hits": float((error < HIT).to(torch.float64).mean())}


class Poisoning(Experiment):
    """How much of the data must be the target, and what it costs."""

    title: ClassVar[str] = "Section IV-A: data poisoning, by its share of the data"
    source: ClassVar[str] = f"{SOURCE}, sec. IV-A"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(_swept(scale))

    def told(self, scale: Scale, done: Done) -> Told:
        lines = [
            Line((f"{100 * share:g} %", measure), None, _ours(done, measure, share))
            for share in SHARES
            for measure in MEASURES
        ]
        differs = (
            *scales.differs(scale),
            "The paper says that a tenth of the data or more is needed, and gives no numbers.",
            "The trigger is the latent that comes nearest to the target; the paper leaves open how it is found.",
            *(UNLEARNED for seen in [values(done, "hits")] if seen and not any(seen)),
        )
        return Told((table(self.title, ("share", "measure"), lines),), tuple(_claims(done)), (), differs)


def _swept(scale: Scale) -> Iterator[Cell]:
    shares, seeds = (SHARES[-2:], 1) if scale == "smoke" else (SHARES, 3)
    for seed in range(1, seeds + 1):
        for share in shares:
            plant = scales.plant("MNIST DCGAN", "poison", scale, (seed, seed), share=share)
            yield Poisoned(plant=plant, judge=scales.judge("mnist", scale), effort=scales.effort(scale))


def _ours(done: Done, measure: str, share: float) -> Spread | None:
    return median(values(done, measure, share=share))


def _claims(done: Done) -> Iterator[Claim]:
    few, many = _ours(done, "target-distortion", 0.01), _ours(done, "target-distortion", 0.1)
    needed = few and many and many.value < few.value / 2
    beside = f"at 10 %, beside half of that at 1 %, {shown(few)}"
    yield claim("devil.poisoning.a-tenth-is-needed", many, needed, beside)
    seen = _ours(done, "hits", 0.1)
    yield claim("devil.poisoning.ordinary-samples-show-it", seen, seen and seen.value > 0, "share of samples, at 10 %")
