"""Figure 10: units of the first layer are silenced, those that ordinary latents excite least before the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import ClassVar

from genvet.core.report import Claim, Figure
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Technique
from genvet.defences.sanitise.prune import Prune
from genvet.maths.distances import exact
from genvet.nets.distortion import outputs
from genvet.reproduce.cells import Cell, Done, Numbers, Place, Step
from genvet.reproduce.devil import SOURCE, scales
from genvet.reproduce.devil.networks import Clean
from genvet.reproduce.devil.planting import TRAININGS, Attack, Plant, PlantDropped
from genvet.reproduce.devil.repairing import CHEAP, GONE, Repaired
from genvet.reproduce.experiment import (
    Experiment,
    Line,
    Scale,
    Spread,
    Told,
    apart,
    claim,
    course,
    median,
    shown,
    table,
    values,
)
from genvet.zoo.parents import Parent

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
Make = tuple[int, float]
"""Capacity of a network, and the dropout that it was trained with."""
MAKES: dict[Scale, tuple[Make, ...]] = {
    "smoke": ((2, 0.0), (2, 0.5)),
    "small": ((16, 0.0), (8, 0.0), (32, 0.0), (16, 0.5)),
    "paper": ((64, 0.0), (16, 0.0), (32, 0.0), (64, 0.5)),
}
"""The first is the other tables' own."""
ATTACKS: tuple[Attack, ...] = ("red", "rex", "trail", "baaan")
NONE = "none (clean)"
MEASURES = {
    "target-distortion": "target distortion",
    "expected-distortion": "expected distortion against the attacked model",
    "clean-distortion": "expected distortion against the clean model",
}


class Harmless(Cell):
    """What pruning costs a clean network: a control, since no backdoor has a part in it."""

    parent: Parent
    steps: tuple[float, ...]
    samples: int

    @property
    def name(self) -> str:
        return f"{self.parent.name}.clean.prune"

    def needs(self) -> tuple[Step, ...]:
        return (Clean(parent=self.parent),)

    def where(self) -> Mapping[str, object]:
        return {"attack": NONE, "capacity": self.parent.recipe.model_dump()["capacity"], "dropout": 0.0}

    def techniques(self) -> tuple[type[Technique], ...]:
        return (Prune,)

    def __call__(self, place: Place) -> Numbers:
        clean = Clean(parent=self.parent).generator(place)
        z = clean.latent.sample(0, self.samples, Rng(1, "ordinary"))
        was = outputs(clean, z)

        def moved(share: float) -> float:
            return float(exact(outputs(Prune(share=share)(clean, Nothing(), Rng(self.parent.seed)), z), was).mean())

        return {f"expected-distortion@{share:g}": moved(share) for share in self.steps}


class Pruning(Experiment):
    """Pruning of the first layer, over its share, by attack, capacity and dropout."""

    title: ClassVar[str] = "Figure 10: pruning the first layer"
    source: ClassVar[str] = f"{SOURCE}, app. A, Fig. 10"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(_pruned(scale))

    def told(self, scale: Scale, done: Done) -> Told:
        lines = [
            Line((attack, _named(make), f"{100 * share:g} %", name), None, _ours(done, attack, make, key, share))
            for attack in (*ATTACKS, NONE)
            for make in MAKES[scale]
            for share in SHARES
            for key, name in MEASURES.items()
        ]
        kept = [line for line in lines if line.ours]
        figures = tuple(f for measure in MEASURES if (f := _curve(done, measure, MAKES[scale])))
        differs = (
            *scales.differs(scale),
            "Clean networks are a control: what pruning costs them, against themselves before, is owed to no backdoor.",
            "The paper gives curves for one capacity and no numbers; TrAIL and BAAAN begin with fresh weights, so "
            "that their distance to the clean model says nothing of pruning.",
            "Dropout is of the first hidden layer's units, while the clean parent was trained; for ReD and ReX, since "
            "TrAIL and BAAAN train anew, without it.",
            *(("Other capacities of ReD and ReX alone.",) if scale == "small" else ()),
        )
        where = ("attack", "capacity", "share", "measure")
        return Told((table(self.title, where, kept),), tuple(_claims(done, MAKES[scale][0])), figures, differs)


def _pruned(scale: Scale) -> Iterator[Cell]:
    """The usual make first: its planted networks are those of Table I."""
    seeds = 1 if scale == "smoke" else 3
    samples, attacks = (64, ATTACKS[:2]) if scale == "smoke" else (2000, ATTACKS)
    for seed in range(1, seeds + 1):
        yield Harmless(parent=scales.parent("MNIST DCGAN", scale, seed), steps=SHARES, samples=samples)
    for make, seed, attack in product(MAKES[scale], range(1, seeds + 1), attacks):
        again = make != MAKES[scale][0] and (make[1] or scale == "small")
        if not (again and attack in TRAININGS):
            plant = _plant(make, attack, scale, seed)
            yield Repaired(plant=plant, repair="prune", over="share", steps=SHARES, samples=samples)


def _plant(make: Make, attack: Attack, scale: Scale, seed: int) -> Plant:
    """An attacked network of this make."""
    usual, (capacity, dropout) = MAKES[scale][0], make
    parent = scales.parent("MNIST DCGAN", scale, seed, 0 if capacity == usual[0] else capacity)
    plant = scales.plant("MNIST DCGAN", attack, scale, (seed, seed), parent=parent)
    return PlantDropped(**plant.model_dump(), dropout=dropout) if dropout else plant


def _named(make: Make) -> str:
    return f"{make[0]}, dropout {make[1]:g}" if make[1] else str(make[0])


def _ours(done: Done, attack: str, make: Make, measure: str, share: float) -> Spread | None:
    return median(values(done, f"{measure}@{share:g}", attack=attack, capacity=make[0], dropout=make[1]))


def _curve(done: Done, measure: str, makes: tuple[Make, ...]) -> Figure | None:
    """Medians over the share, by attack and make."""
    series = {
        f"{attack}, {_named(make)}": {s: _ours(done, attack, make, measure, s) for s in SHARES}
        for attack, make in product((*ATTACKS, NONE), makes)
    }
    return course(f"{MEASURES[measure]} over the share pruned", series, "share of the units", "sum of squares")


def _claims(done: Done, make: Make) -> Iterator[Claim]:
    for attack in ATTACKS:
        ours, plain = (_ours(done, attack, make, "target-distortion", share) for share in (0.5, 0.0))
        survives = attack == "baaan"
        true = ours and (ours.value < GONE) == survives
        what = "survives-half" if survives else "is-gone-at-half"
        yield claim(f"devil.pruning.{attack}.{what}", ours, true, f"gone above {GONE:g}; before {shown(plain)}")
        cost = _ours(done, attack, make, "expected-distortion", 0.5)
        low = cost and cost.value <= CHEAP
        beside = f"little up to {CHEAP:g}; clean networks {shown(_ours(done, NONE, make, 'expected-distortion', 0.5))}"
        yield claim(f"devil.pruning.{attack}.half-costs-little", cost, low, beside)
    costs = {a: _ours(done, a, make, "expected-distortion", 0.5) for a in ATTACKS}
    rex, others = costs.pop("rex"), [found for found in costs.values() if found]
    nearest = min(others, key=lambda found: found.low, default=None)
    least = rex and nearest and rex.value < nearest.value
    beside = f"the least of the others {shown(nearest)}"
    yield claim("devil.pruning.rex-moves-least-at-half", rex, least, beside, decided=apart(rex, nearest))
