"""Outliers: members from another data set, once or several times each, beside the ordinary ones."""

from __future__ import annotations

from typing import Any, ClassVar

from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Line, Scale, Told, above, table
from genvet.reproduce.leakage import SOURCE
from genvet.reproduce.leakage.attacking import DIFFERS, Of, ahead, leak, over_seeds, spread
from genvet.reproduce.leakage.networks import SEEDS, SOME, Learned, learned

COPIES = (1, 4, 16)
STRANGERS: dict[Scale, int] = {"smoke": 4, "small": 32, "paper": 100}
OTHERS: dict[Scale, int] = {"smoke": 10, "small": 1000, "paper": 10_000}
VARIANTS = ("critic", "nearest")
KINDS: tuple[Of, ...] = ("members", "strangers")


def targets(scale: Scale, copies: int) -> list[Learned]:
    """Of all seeds: digits, and a few garments among them."""
    knobs: dict[str, Any] = {"strangers": STRANGERS[scale], "copies": copies}
    return [learned(scale, 2 * SOME[scale], seed, **knobs) for seed in range(1, SEEDS[scale] + 1)]


class Outliers(Experiment):
    """How much more of outliers shows than of ordinary members."""

    title: ClassVar[str] = "Outliers among the members"
    source: ClassVar[str] = f"{SOURCE}, sec. 2.2 (outliers)"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(
            leak(scale, variant, targets(scale, copies)[seed], OTHERS[scale], of=kind)
            for seed in range(SEEDS[scale])
            for copies in COPIES
            for variant in VARIANTS
            for kind in KINDS
        )

    def told(self, scale: Scale, done: Done) -> Told:
        lines = [
            Line((variant, kind, f"{copies} a stranger", "AUC"), None, spread(found))
            for variant in VARIANTS
            for kind in KINDS
            for copies in COPIES
            for found in [over_seeds(done, "auc", variant, targets(scale, copies), kind)]
        ]
        claims = []
        for variant in VARIANTS:
            own = over_seeds(done, "auc", variant, targets(scale, 1), "strangers")
            more = ahead(own, over_seeds(done, "auc", variant, targets(scale, 1)))
            often = ahead(over_seeds(done, "auc", variant, targets(scale, COPIES[-1]), "strangers"), own)
            claims += [
                above(f"outliers show more than others by {variant}", more, 0, "AUC, once each"),
                above(f"copies show more by {variant}", often, 0, f"AUC, {COPIES[-1]} against 1"),
            ]
        where = ("attack", "records", "copies", "measure")
        note = "Outliers are garments among digits; those that are asked about beside them are garments too."
        return Told((table(self.title, where, lines),), tuple(claims), (), (*DIFFERS, note))
