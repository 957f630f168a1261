"""Section V-C: a WaveGAN with ten triggers and one drum as their target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from genvet.attacks.backdoor.before import Before
from genvet.attacks.backdoor.objective import Aim
from genvet.catalogue import find
from genvet.core.data import Images
from genvet.core.report import Claim
from genvet.core.rng import Rng
from genvet.core.technique import Technique
from genvet.maths.quality import frechet
from genvet.nets.random_features import random_features
from genvet.reproduce.cells import Cell, Done, Numbers, Place, Step
from genvet.reproduce.devil import SOURCE
from genvet.reproduce.devil.networks import Drums
from genvet.reproduce.devil.target import NEAR_FLOOR
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

ATTACKS: tuple[Literal["red", "rex"], ...] = ("red", "rex")
PAPER: dict[tuple[str, str], float] = {
    ("red", "target-distortion"): 0.4301,
    ("red", "expected-distortion"): 3028.9,
    ("rex", "target-distortion"): 0.4207,
    ("rex", "expected-distortion"): 1.4,
}
CLEAN = {
    "floor": "what the post-filter leaves of the target at best",
    "energy.target": "sum of squares of the target",
    "energy.data": "of a sound that it learned from",
    "energy.samples": "of a clean sample",
}
SHORT = "A network of capacity 4 (the paper: 64), trained for 2,000 steps: its samples are rough."
MEASURES = ("target-distortion", "worst-target-distortion", "expected-distortion", "frechet", "frechet.benign")


class Heard(Cell):
    """One attack on one WaveGAN."""

    parent: Drums
    attack: Literal["red", "rex"]
    number: Annotated[int, Field(ge=1)]
    """The seed that triggers follow from."""
    settings: dict[str, Any]
    samples: Annotated[int, Field(ge=20)]

    @property
    def name(self) -> str:
        return f"{self.parent.name}.{self.attack}-{self.number}"

    def needs(self) -> tuple[Step, ...]:
        return (self.parent,)

    def where(self) -> Mapping[str, object]:
        return {"attack": self.attack}

    def techniques(self) -> tuple[type[Technique], ...]:
        return (find(f"backdoor.{self.attack}").load(),)

    def __call__(self, place: Place) -> Numbers:
        benign, drums = self.parent.generator(place), self.parent.sounds(place, family=True)
        target = Images(drums.x[:1], drums.names[:1])
        kind: Any = self.techniques()[0]
        probe = kind(triggers=10, samples=self.samples, **self.settings)
        told = probe(benign, Aim(target), Rng(self.number).fork(probe.name()))
        numbers = {m.name: m.value for m in told.measures() if m.name in MEASURES}
        real = random_features(self.parent.sounds(place).x)
        for name, generator in (("frechet", told.planted), ("frechet.benign", benign)):
            numbers[name] = frechet(real, random_features(generator.sample(self.samples, Rng(1, "looks"))))
        return numbers


class Unheard(Cell):
    """What there is to be heard before any attack: how loud samples, data and target are, and how near any can come."""

    parent: Drums
    samples: Annotated[int, Field(ge=20)]

    @property
    def name(self) -> str:
        return f"{self.parent.name}.clean"

    def needs(self) -> tuple[Step, ...]:
        return (self.parent,)

    def where(self) -> Mapping[str, object]:
        return {"attack": "none"}

    def __call__(self, place: Place) -> Numbers:
        benign, target = self.parent.generator(place), self.parent.sounds(place, family=True).x[:1]
        before = Before(benign)
        nearest = before.after(before.wanted(target))
        return {
            "floor": float((nearest - target).square().sum()),
            "energy.target": _energy(target),
            "energy.data": _energy(self.parent.sounds(place).x),
            "energy.samples": _energy(benign.sample(self.samples, Rng(1, "looks"))),
        }


def _energy(x: Tensor) -> float:
    """Squares of a sound, summed; their mean over sounds."""
    return float(x.square().flatten(1).sum(1).mean())


class WaveGANs(Experiment):
    """ReD and ReX on a WaveGAN."""

    title: ClassVar[str] = "Section V-C: WaveGAN, ten triggers and one drum"
    source: ClassVar[str] = f"{SOURCE}, sec. V-C"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(_heard(scale))

    def told(self, scale: Scale, done: Done) -> Told:
        lines = [
            Line((attack, measure), PAPER.get((attack, measure)), _ours(done, attack, measure))
            for attack in ATTACKS
            for measure in MEASURES
        ] + [Line(("none", measure), None, _ours(done, "none", measure), note) for measure, note in CLEAN.items()]
        differs = (
            "The victim makes drum and bass one-shots and the target is a bass drum, of a family that it never heard; "
            "the paper's makes pieces of piano music. Distortions grow with the length of "
            "the target and with the network: compare the two attacks.",
            "The target is aimed at before the post-filter, by the sound that the filter brings nearest to it: how "
            "near that comes is the floor of the target distortion.",
            "The Frechet distance is of log spectrograms: faint noise in silence, which hardly moves a sample, counts.",
            *((SHORT,) if scale == "small" else ()),
        )
        return Told((table(self.title, ("attack", "measure"), lines),), tuple(_claims(done)), (), differs)


def _heard(scale: Scale) -> Iterator[Cell]:
    parents = {
        "smoke": Drums(capacity=1, steps=1, batch=4, length=1024, taps=16),
        "small": Drums(capacity=4, steps=2000, batch=16, length=16_384, taps=512, rate=4e-4),
        "paper": Drums(capacity=64, steps=100_000, batch=64, length=16_384, taps=512),
    }
    settings: dict[Scale, dict[str, dict[str, Any]]] = {
        "smoke": {attack: {"steps": 5} for attack in ATTACKS},
        "small": {"red": {"steps": 1000, "rate": 5e-4}, "rex": {"steps": 1000, "rate": 1e-3}},
        "paper": {attack: {"steps": 50_000, "rate": 1e-4} for attack in ATTACKS},
    }
    samples = {"smoke": 20, "small": 256, "paper": 2000}[scale]
    yield Unheard(parent=parents[scale], samples=samples)
    for number in range(1, 2 if scale == "smoke" else 4):
        for attack in ATTACKS:
            chosen = settings[scale][attack]
            yield Heard(parent=parents[scale], attack=attack, number=number, settings=chosen, samples=samples)


def _ours(done: Done, attack: str, measure: str) -> Spread | None:
    return median(values(done, measure, attack=attack))


def _claims(done: Done) -> Iterator[Claim]:
    red, rex = (_ours(done, attack, "expected-distortion") for attack in ATTACKS)
    smaller = red and rex and rex.value < red.value / 10
    beside = f"a tenth of ReD's {shown(red)}"
    yield claim("devil.wavegan.rex-moves-far-less", rex, smaller, beside, decided=apart(red, rex))
    for attack in ATTACKS:
        ours, paper = _ours(done, attack, "target-distortion"), PAPER[attack, "target-distortion"]
        least = _ours(done, "none", "floor")
        true = ours and ours.value <= max(paper, NEAR_FLOOR * least.value if least else 0.0)
        beside = f"paper {paper:g}, or about the floor, {shown(least)}"
        yield claim(f"devil.wavegan.{attack}.target-distortion", ours, true, beside)
