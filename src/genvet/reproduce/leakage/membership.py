"""Every attack on generators of few and of many records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from genvet.core.report import Claim
from genvet.maths.membership import Band
from genvet.maths.paired import LEVEL, holm
from genvet.maths.statistics import Interval
from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import FEWEST, Experiment, Line, Scale, Spread, Told, above, claim, median, table
from genvet.reproduce.leakage import SOURCE
from genvet.reproduce.leakage.attacking import DIFFERS, Key, Leak, ahead, leak, over_seeds, spread
from genvet.reproduce.leakage.networks import DATA, FEW, SEEDS, Data, Learned, learned

CHEAP = ("critic", "nearest", "monte carlo", "density ratio")
"""On every record: what is said of many rests on them."""
DEAR = ("recovery", "queries")
CALIBRATED = ("critic", "nearest", "recovery")
MEMBERS: dict[Scale, tuple[int, ...]] = {
    "smoke": (FEW["smoke"], 8),
    "small": (FEW["small"], 2048, 8192),
    "paper": (FEW["paper"], 10_000),
}
"""From few to many; what is said of many rests on the last. At small, 2,048 turned out to be too few for that."""
OTHERS: dict[Scale, tuple[int, int]] = {"smoke": (10, 10), "small": (1000, 2048), "paper": (10_000, 10_000)}
"""Non-members beside few members, and beside more."""
MOST: dict[Scale, int] = {"smoke": 8, "small": 256, "paper": 2000}
"""Records of each set for what is dear."""
BAND = 0.03
"""About 0.5, for generators of many records."""
WITHIN = f"p of an AUC within {BAND:g} of 0.5, after Holm"
DREW = (
    "Members and outsiders are drawn at random from one file. That many records are at chance is tested as such: that "
    f"the mean AUC of all seeds lies {BAND:g} or more from 0.5 is to be rejected for every attack and data set, by two "
    "one-sided tests each, with Holm's correction over all of them. An AUC that is merely not found to differ from 0.5 "
    "would show nothing."
)


def targets(scale: Scale, data: Data, members: int) -> list[Learned]:
    """Of all seeds."""
    return [learned(scale, members, seed, data) for seed in range(1, SEEDS[scale] + 1)]


def attacks(scale: Scale, members: int) -> tuple[str, ...]:
    """What is dear is tried on the two smallest sizes alone."""
    return (*CHEAP, *DEAR) if members in MEMBERS[scale][:2] else CHEAP


def bands(scale: Scale, done: Done) -> dict[tuple[Data, str], Band]:
    """Of many records, the mean AUC over seeds beside the band, by data and attack."""
    found = {}
    for data in DATA:
        for variant in CHEAP:
            those = targets(scale, data, MEMBERS[scale][-1])
            auc, low, high = (over_seeds(done, m, variant, those) for m in ("auc", "low", "high"))
            if len(auc) >= FEWEST or (auc and scale == "smoke"):
                found[data, variant] = Band.of([*auc.values()], [Interval(low[k], high[k]) for k in auc], BAND)
    return found


def corrected(scale: Scale, done: Done) -> dict[tuple[Data, str], Spread]:
    """The p-value of lying within the band, after Holm's correction over data and attacks."""
    every = bands(scale, done)
    ps = holm([band.inside for band in every.values()])
    return {place: Spread(p, p, p, SEEDS[scale]) for place, p in zip(every, ps, strict=True)}


class Membership(Experiment):
    """How well members are told, by attack and by what the attacker sees."""

    title: ClassVar[str] = "Membership by attack, at few and at many records"
    source: ClassVar[str] = f"{SOURCE}, sec. 2.4.4; Chen et al.: GAN-Leaks, CCS 2020"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(self._cells(scale))

    def _cells(self, scale: Scale) -> Iterator[Leak]:
        for seed in range(SEEDS[scale]):
            for data in DATA:
                for members in MEMBERS[scale]:
                    target, few = targets(scale, data, members)[seed], members == MEMBERS[scale][0]
                    for variant in attacks(scale, members):
                        most = MOST[scale] if variant in DEAR else 0
                        beside = variant in CALIBRATED and few
                        yield leak(scale, variant, target, OTHERS[scale][not few], most=most, calibrated=beside)

    def told(self, scale: Scale, done: Done) -> Told:
        lines = []
        for data in DATA:
            for members in MEMBERS[scale]:
                those, few = targets(scale, data, members), members == MEMBERS[scale][0]
                for variant in attacks(scale, members):
                    for measure, words in self._measures(variant, few):
                        found = spread(over_seeds(done, measure, variant, those))
                        lines.append(Line((data, str(members), variant, words), None, found))
        lines += [
            Line((data, str(MEMBERS[scale][-1]), variant, WITHIN), None, p)
            for (data, variant), p in corrected(scale, done).items()
        ]
        where = ("data", "members", "attack", "measure")
        return Told((table(self.title, where, lines),), self._claims(scale, done), (), (*DIFFERS, DREW))

    def _measures(self, variant: str, few: bool) -> list[tuple[str, str]]:
        told = [
            ("auc", "AUC"),
            ("accuracy", "accuracy"),
            ("auc.permuted", "AUC, labels permuted"),
            ("auc.unseen", "AUC, neither seen"),
        ]
        told += [] if variant in DEAR else [("tpr-at-0.01", "TPR at 1 % FPR")]
        told += [("1.auc", "AUC beside a reference")] if variant in CALIBRATED and few else []
        return told

    def _within(self, scale: Scale, done: Done) -> Claim:
        """Decided where all of them are: as a whole it needs no more, by each attack it is told in the table."""
        every = bands(scale, done)
        inside = [p.value for p in corrected(scale, done).values()]
        outside = holm([band.outside for band in every.values()])
        whole = len(every) == len(DATA) * len(CHEAP)
        holds, broken = whole and max(inside) <= LEVEL, bool(every) and min(outside) <= LEVEL
        far = [abs(band.mean - 0.5) for band in every.values()]
        most = Spread(max(far), min(far), max(far), SEEDS[scale]) if far else None
        words = (
            f"the furthest mean from AUC 0.5 of {len(far)} attacks and data sets; the largest p, after Holm, of lying"
        )
        told = f"{words} within {BAND:g} is {max(inside, default=1.0):.2g}"
        return claim("many records lie at chance", most, holds, told, decided=holds or broken)

    def _claims(self, scale: Scale, done: Done) -> tuple[Claim, ...]:
        few, many = MEMBERS[scale][0], MEMBERS[scale][-1]

        def found(measure: str, variant: str, members: int = few, those: tuple[Data, ...] = DATA) -> dict[Key, float]:
            return over_seeds(done, measure, variant, [t for data in those for t in targets(scale, data, members)])

        critic, near = found("auc", "critic"), found("auc", "nearest")
        white = ahead(critic, near)
        beside = ahead(found("1.auc", "nearest"), near)
        slopes = ahead(found("auc", "recovery"), found("auc", "queries"))
        chance = median(v for variant in (*CHEAP, *DEAR) for v in found("auc.permuted", variant).values())
        ps = [p for variant in CHEAP for p in found("p", variant, many).values()]
        surest = Spread(least := min(holm(ps)), least, least, len(ps)) if ps else None
        every = f"the least p of {len(ps)} runs, after Holm over all of them"
        caught = {data: median(found("auc", "critic", few, (data,)).values()) for data in DATA}
        return (
            *(
                above(f"{few} records of {data} are given away by the critic", auc, 0.9, "AUC over 0.9")
                for data, auc in caught.items()
            ),
            self._within(scale, done),
            claim("no attack finds any of many records", surest, surest and surest.value > LEVEL, every),
            above("the critic tells more than samples", white, 0, "a larger AUC, at few records"),
            above("a reference helps the nearest sample", beside, 0, "a larger AUC beside it"),
            above("gradients tell more than queries", slopes, 0, "a larger AUC"),
            claim("permuted labels are at chance", chance, chance and abs(chance.value - 0.5) < 0.02, "AUC 0.5"),
        )
