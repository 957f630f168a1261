"""Section V-B: triggers that fill a subspace, with one target and with a whole generator's outputs as the target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from genvet.core.report import Claim
from genvet.core.rng import Rng
from genvet.maths.quality import frechet
from genvet.nets.distortion import outputs
from genvet.nets.random_features import NAME, random_features
from genvet.reproduce.cells import Cell, Done, Numbers, Place, Step
from genvet.reproduce.devil import SOURCE, scales
from genvet.reproduce.devil.networks import Inverted, inverted
from genvet.reproduce.devil.planting import Attack, PlantCell
from genvet.reproduce.devil.scoring import Effort, distortions
from genvet.reproduce.experiment import (
    Experiment,
    Line,
    Scale,
    Spread,
    Told,
    apart,
    claim,
    median,
    shown,
    table,
    values,
)

ATTACKS: tuple[Attack, ...] = ("red", "rex")
PAPER: dict[tuple[str, str, str], float | None] = {
    ("one image", "red", "expected-distortion"): 1.716,
    ("one image", "red", "target-distortion"): 7.834,
    ("one image", "rex", "expected-distortion"): 0.487,
    ("one image", "rex", "target-distortion"): 22.703,
    ("a generator", "red", "expected-distortion"): 17.331,
    ("a generator", "red", "target-distortion"): None,
    ("a generator", "red", "frechet"): 0.974,
    ("a generator", "red", "frechet.gold"): 0.412,
    ("a generator", "rex", "expected-distortion"): 0.855,
    ("a generator", "rex", "target-distortion"): None,
    ("a generator", "rex", "frechet"): 3.665,
    ("a generator", "rex", "frechet.gold"): 0.412,
}
"""By target, attack and measure. Its Frechet distances are FID to inverted Fashion-MNIST, of 60,000 samples; gold is
the generator that makes the targets."""
TARGET = "target-distortion"
STEPS = {"smoke": 10, "small": 3000, "paper": 50_000}


class Filled(PlantCell):
    """Distortions of a subspace trigger; for a target generator, how far triggered samples are from the target set."""

    n: Annotated[int, Field(ge=4, le=60_000)]
    """Triggered samples, and ordinary ones."""

    @property
    def name(self) -> str:
        what = "generator" if self.plant.onto else "image"
        return f"{self.plant.parent.name}.{self.plant.attack}.{what}-{self.plant.number}"

    def needs(self) -> tuple[Step, ...]:
        return (*super().needs(), *([self.plant.onto] if self.plant.onto else []))

    def where(self) -> Mapping[str, object]:
        return {**super().where(), "target": "a generator" if self.plant.onto else "one image"}

    def __call__(self, place: Place) -> Numbers:
        made = self.plant.made(place)
        numbers = distortions(self.plant, made, Effort(samples=self.n))
        if not self.plant.onto:
            return numbers
        real = random_features(inverted(place.data, self.plant.onto.data).x[: self.n])
        z = made.backdoor.trigger.sample(0, self.n, Rng(1, "triggers"))
        given, gold = outputs(made.planted, z), self.plant.onto.generator(place).sample(self.n, Rng(1, "gold"))
        far = {name: frechet(real, random_features(x)) for name, x in (("frechet", given), ("frechet.gold", gold))}
        return {**numbers, **far}


class InfiniteSupport(Experiment):
    """Trigger and target distributions of infinite support."""

    title: ClassVar[str] = "Section V-B: distributions with infinite support"
    source: ClassVar[str] = f"{SOURCE}, sec. V-B, Fig. 7"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(_filled(scale))

    def told(self, scale: Scale, done: Done) -> Told:
        lines = [Line(key, paper, _ours(done, *key)) for key, paper in PAPER.items()]
        n = samples(scale)
        differs = (
            *scales.differs(scale),
            f"Frechet distances are in {NAME}, of {n:,} samples to {n:,} real ones (the paper: Inception, 60,000).",
            "Where the generator that makes the targets is itself far from the real images, one that follows it badly "
            "can come nearer to them: how closely it is followed is told by the target distortion, over triggered "
            "samples and what that generator gives for each.",
        )
        return Told((table(self.title, ("target", "attack", "measure"), lines),), tuple(_claims(done)), (), differs)


def samples(scale: Scale) -> int:
    """How many triggered samples are compared."""
    return 64 if scale == "smoke" else 60_000


def _filled(scale: Scale) -> Iterator[Cell]:
    sizes = {"smoke": (20, 2, 8), "small": (2500, 16, 50), "paper": (50_000, 64, 50)}[scale]
    onto = Inverted(data="fashion_mnist", steps=sizes[0], capacity=sizes[1], latent=sizes[2])
    for seed in sorted({parent for parent, _ in scales.repeats(scale)}):
        for target in (None, onto):
            for attack in ATTACKS:
                more = {"trigger": "subspace", "onto": target, "steps": STEPS[scale]}
                plant = scales.plant("MNIST DCGAN", attack, scale, (seed, seed), **more)
                yield Filled(plant=plant, n=samples(scale))


def _ours(done: Done, target: str, attack: str, measure: str) -> Spread | None:
    return median(values(done, measure, target=target, attack=attack))


def _claims(done: Done) -> Iterator[Claim]:
    near = "devil.infinite-support"
    for target in ("one image", "a generator"):
        red, rex = (_ours(done, target, attack, "expected-distortion") for attack in ATTACKS)
        name = f"{near}.{target}.rex-moves-less-than-red"
        yield claim(name, rex, red and rex and rex.value < red.value, f"ReD {shown(red)}", decided=apart(red, rex))
    for attack in ATTACKS:
        ours, paper = _ours(done, "one image", attack, TARGET), PAPER["one image", attack, TARGET] or 0.0
        yield claim(f"{near}.{attack}.target-distortion", ours, ours and ours.value <= paper, f"paper {paper:g}")
    for name, measure in (("is-nearer-to-the-set", "frechet"), ("follows-the-generator-better", TARGET)):
        red, rex = (_ours(done, "a generator", attack, measure) for attack in ATTACKS)
        true = red and rex and red.value < rex.value
        yield claim(f"{near}.red-{name}", red, true, f"ReX {shown(rex)}", decided=apart(red, rex))
