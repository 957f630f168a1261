"""Figure 10: units of the first layer are silenced, those that ordinary latents excite least before the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from genvet.core.report import Claim, Figure
from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.devil import scales
from genvet.reproduce.devil.planting import Attack
from genvet.reproduce.devil.repairing import Repaired
from genvet.reproduce.experiment import Experiment, Line, Scale, Spread, Told, claim, median, shown, table, values

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
CAPACITIES = {"smoke": (2,), "small": (16, 8, 32), "paper": (64, 16, 32)}
"""The first is the other tables' own."""
ATTACKS: tuple[Attack, ...] = ("red", "rex", "trail", "baaan")
MEASURES = {
    "target-distortion": "target distortion",
    "expected-distortion": "expected distortion against the attacked model",
    "clean-distortion": "expected distortion against the clean model",
}
DEFENDED = 100.0
"""Of the target is little left where the distortion is above this: about an eighth of what a clean model has."""


class Pruning(Experiment):
    """Pruning of the first layer, over its share, by attack and capacity."""

    title: ClassVar[str] = "Figure 10: pruning the first layer"
    source: ClassVar[str] = "Rawat, Levacher, Sinn: The Devil is in the GAN, ESORICS 2022, app. A, Fig. 10"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(_pruned(scale))

    def told(self, scale: Scale, done: Done) -> Told:
        capacities = CAPACITIES[scale]
        lines = [
            Line((attack, str(capacity), f"{100 * share:g} %", name), None, _ours(done, attack, capacity, key, share))
            for attack in ATTACKS
            for capacity in capacities
            for share in SHARES
            for key, name in MEASURES.items()
        ]
        kept = [line for line in lines if line.ours]
        figures = tuple(_curve(done, measure, capacities) for measure in MEASURES)
        differs = (
            *scales.differs(scale),
            "The paper gives curves for one capacity and no numbers; TrAIL and BAAAN begin with fresh weights, so "
            "that their distance to the clean model says nothing of pruning.",
            "Dropout, which the paper asks after, is not varied.",
        )
        where = ("attack", "capacity", "share", "measure")
        return Told((table(self.title, where, kept),), tuple(_claims(done, capacities[0])), figures, differs)


def _pruned(scale: Scale) -> Iterator[Cell]:
    """The usual capacity first: its planted networks are those of Table I."""
    seeds = 1 if scale == "smoke" else 3
    samples, attacks = (64, ATTACKS[:2]) if scale == "smoke" else (2000, ATTACKS)
    for capacity in CAPACITIES[scale]:
        for seed in range(1, seeds + 1):
            for attack in attacks:
                usual = capacity == CAPACITIES[scale][0]
                parent = scales.parent("MNIST DCGAN", scale, seed, 0 if usual else capacity)
                plant = scales.plant("MNIST DCGAN", attack, scale, (seed, seed), parent=parent)
                yield Repaired(plant=plant, repair="prune", over="share", steps=SHARES, samples=samples)


def _ours(done: Done, attack: str, capacity: int, measure: str, share: float) -> Spread | None:
    return median(values(done, f"{measure}@{share:g}", attack=attack, capacity=capacity))


def _curve(done: Done, measure: str, capacities: tuple[int, ...]) -> Figure:
    """Medians over the share, by attack and capacity."""
    series = {}
    for attack in ATTACKS:
        for capacity in capacities:
            known = {s: found for s in SHARES if (found := _ours(done, attack, capacity, measure, s))}
            if known:
                series[f"{attack}, {capacity}"] = [list(known), [found.value for found in known.values()]]
    data = {"series": series, "x": "share of the units", "y": "sum of squares", "log": False}
    return Figure(kind="curve", title=f"{MEASURES[measure]} over the share pruned", data=data)


def _claims(done: Done, capacity: int) -> Iterator[Claim]:
    for attack in ATTACKS:
        ours, plain = (_ours(done, attack, capacity, "target-distortion", share) for share in (0.5, 0.0))
        survives = attack == "baaan"
        true = ours and (ours.value < DEFENDED) == survives
        what = "survives-half" if survives else "is-gone-at-half"
        yield claim(f"devil.pruning.{attack}.{what}", ours, true, f"gone above {DEFENDED:g}; before {shown(plain)}")
    costs = {a: _ours(done, a, capacity, "expected-distortion", 0.5) for a in ATTACKS}
    rex, others = costs.pop("rex"), [found.value for found in costs.values() if found]
    least = rex and others and rex.value <= min(others)
    yield claim(
        "devil.pruning.rex-moves-least-at-half", rex, least, f"the others {min(others, default=0):.3g} and more"
    )
