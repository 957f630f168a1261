"""Every attack on generators of few and of many records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from genvet.core.report import Claim
from genvet.maths.paired import holm
from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Line, Scale, Spread, Told, claim, median, table
from genvet.reproduce.leakage import SOURCE
from genvet.reproduce.leakage.attacking import DIFFERS, Key, Leak, ahead, leak, over_seeds, spread
from genvet.reproduce.leakage.networks import DATA, FEW, MANY, SEEDS, Data, Learned, learned

CHEAP = ("critic", "nearest", "monte carlo", "density ratio")
DEAR = ("recovery", "queries")
CALIBRATED = ("critic", "nearest", "recovery")
OTHERS: dict[Scale, tuple[int, int]] = {"smoke": (10, 10), "small": (1000, 2048), "paper": (10_000, 10_000)}
"""Non-members beside few and beside many members."""
MOST: dict[Scale, int] = {"smoke": 8, "small": 256, "paper": 2000}
"""Records of each set for what is dear."""
BAND = 0.03
"""About 0.5, for generators of many records."""


def targets(scale: Scale, data: Data, many: bool) -> list[Learned]:
    """Of all seeds."""
    members = (MANY if many else FEW)[scale]
    return [learned(scale, members, seed, data) for seed in range(1, SEEDS[scale] + 1)]


class Membership(Experiment):
    """How well members are told, by attack and by what the attacker sees."""

    title: ClassVar[str] = "Membership by attack, at few and at many records"
    source: ClassVar[str] = f"{SOURCE}, sec. 2.4.4; Chen et al.: GAN-Leaks, CCS 2020"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(self._cells(scale))

    def _cells(self, scale: Scale) -> Iterator[Leak]:
        for seed in range(SEEDS[scale]):
            for data in DATA:
                for many in (False, True):
                    target = targets(scale, data, many)[seed]
                    for variant in (*CHEAP, *DEAR):
                        most = MOST[scale] if variant in DEAR else 0
                        beside = variant in CALIBRATED and not many
                        others = OTHERS[scale][many]
                        yield leak(scale, variant, target, others, most=most, calibrated=beside)

    def told(self, scale: Scale, done: Done) -> Told:
        lines = []
        for data in DATA:
            for many in (False, True):
                those = targets(scale, data, many)
                for variant in (*CHEAP, *DEAR):
                    for measure, words in self._measures(variant, many):
                        found = spread(over_seeds(done, measure, variant, those))
                        lines.append(Line((data, str(those[0].members), variant, words), None, found))
        where = ("data", "members", "attack", "measure")
        return Told((table(self.title, where, lines),), self._claims(scale, done), (), DIFFERS)

    def _measures(self, variant: str, many: bool) -> list[tuple[str, str]]:
        told = [
            ("auc", "AUC"),
            ("accuracy", "accuracy"),
            ("auc.permuted", "AUC, labels permuted"),
            ("auc.unseen", "AUC, neither seen"),
        ]
        told += [] if variant in DEAR else [("tpr-at-0.01", "TPR at 1 % FPR")]
        told += [("1.auc", "AUC beside a reference")] if variant in CALIBRATED and not many else []
        return told

    def _claims(self, scale: Scale, done: Done) -> tuple[Claim, ...]:
        def found(measure: str, variant: str, many: bool = False) -> dict[Key, float]:
            those = [target for data in DATA for target in targets(scale, data, many)]
            return over_seeds(done, measure, variant, those)

        critic, near = found("auc", "critic"), found("auc", "nearest")
        caught, white = median(critic.values()), ahead(critic, near)
        beside = ahead(found("1.auc", "nearest"), near)
        slopes = ahead(found("auc", "recovery"), found("auc", "queries"))
        chance = median(v for variant in (*CHEAP, *DEAR) for v in found("auc.permuted", variant).values())
        far = [abs(v - 0.5) for variant in CHEAP for v in found("auc", variant, True).values()]
        most = Spread(max(far), min(far), max(far), len(far)) if far else None
        ps = {variant: found("p", variant, True) for variant in CHEAP}
        several = [holm([p[key] for p in ps.values() if key in p]) for key in {k for p in ps.values() for k in p}]
        surest = min((min(corrected) for corrected in several), default=1.0)
        near_half = (
            f"the furthest from AUC 0.5 of all cheap attacks; the least p, after Holm over them, is {surest:.2g}"
        )
        return (
            claim("few records are given away by the critic", caught, caught and caught.low > 0.9, "AUC above 0.9"),
            claim("many records are not", most, most and most.value < BAND and surest > 0.05, near_half),
            claim("the critic tells more than samples", white, white and white.low > 0, "a larger AUC, at few records"),
            claim("a reference helps the nearest sample", beside, beside and beside.low > 0, "a larger AUC beside it"),
            claim("gradients tell more than queries", slopes, slopes and slopes.value > 0, "a larger AUC, the median"),
            claim("permuted labels are at chance", chance, chance and abs(chance.value - 0.5) < 0.02, "AUC 0.5"),
        )
