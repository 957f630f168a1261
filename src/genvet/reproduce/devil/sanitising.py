"""Appendix B: what distilling, pruning and forgetting leave of each attack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from genvet.core.report import Claim
from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.devil import SOURCE, scales
from genvet.reproduce.devil.planting import Attack
from genvet.reproduce.devil.repairing import GONE, Repaired
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

ATTACKS: tuple[Attack, ...] = ("red", "rex", "trail", "baaan")
REPAIRS = ("distil", "prune", "forget")
PAPER: dict[tuple[str, str, str], float] = {
    ("trail", "distil", "target-distortion"): 979.8,
    ("trail", "distil", "expected-distortion"): 12.219,
    ("red", "distil", "target-distortion"): 2304.1,
    ("red", "distil", "expected-distortion"): 17.484,
    ("rex", "distil", "target-distortion"): 2314.3,
    ("rex", "distil", "expected-distortion"): 24.136,
    ("baaan", "distil", "target-distortion"): 1417.69,
    ("baaan", "distil", "expected-distortion"): 14.395,
}
"""By attack, repair and measure."""
MEASURES = ("target-distortion", "expected-distortion", "clean-distortion", "frechet", "class-score")


class Sanitising(Experiment):
    """Repairs, attack by attack."""

    title: ClassVar[str] = "Appendix B: sanitisation"
    source: ClassVar[str] = f"{SOURCE}, app. B, Fig. 11; sec. V-D"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(_repaired(scale))

    def told(self, scale: Scale, done: Done) -> Told:
        lines = [
            Line((attack, repair, measure), PAPER.get((attack, repair, measure)), _ours(done, attack, repair, measure))
            for attack in ATTACKS
            for repair in REPAIRS
            for measure in MEASURES
            if not (measure == "clean-distortion" and attack in ("trail", "baaan"))
        ]
        differs = (
            *scales.differs(scale),
            "Target distortions depend on the target: how far each devil is from ordinary digits is told by Closest-N "
            "in Table I. The expected distortion is against the attacked model.",
        )
        return Told((table(self.title, ("attack", "repair", "measure"), lines),), tuple(_claims(done)), (), differs)


def _repaired(scale: Scale) -> Iterator[Cell]:
    settings: dict[str, dict[str, Any]] = {"distil": {}, "prune": {"share": 0.5}, "forget": {}}
    if scale == "smoke":
        settings |= {"distil": {"steps": 5}, "forget": {"steps": 6}}
    if scale == "paper":
        settings |= {"distil": {"steps": 20_000}, "forget": {"steps": 5000}}
    seeds, attacks, samples = (1, ATTACKS[:2], 64) if scale == "smoke" else (3, ATTACKS, 2000)
    for seed in range(1, seeds + 1):
        for attack in attacks:
            plant = scales.plant("MNIST DCGAN", attack, scale, (seed, seed))
            judge = scales.judge("mnist", scale)
            for repair in REPAIRS:
                yield Repaired(plant=plant, repair=repair, settings=settings[repair], samples=samples, judge=judge)


def _ours(done: Done, attack: str, repair: str, measure: str) -> Spread | None:
    return median(values(done, measure, attack=attack, repair=repair))


def _claims(done: Done) -> Iterator[Claim]:
    for attack in ATTACKS:
        for repair in REPAIRS:
            ours = _ours(done, attack, repair, "target-distortion")
            gone = ours and ours.low > GONE
            yield claim(
                f"devil.sanitise.{attack}.{repair}-removes-it", ours, gone, f"removed where all are above {GONE:g}"
            )
    kept = {a: _ours(done, a, "distil", "target-distortion") for a in ATTACKS}
    trained, others = ([found for a in group if (found := kept[a])] for group in (ATTACKS[2:], ATTACKS[:2]))
    most = max(trained, key=lambda found: found.high, default=None)
    least = min(others, key=lambda found: found.low, default=None)
    hardest = most and least and most.value < least.value
    beside = f"target distortions after distilling; the least of the others {shown(least)}"
    every = len(trained) + len(others) == len(ATTACKS)
    yield claim("devil.sanitise.trained-ones-are-hardest", most, hardest, beside, decided=every and apart(most, least))
