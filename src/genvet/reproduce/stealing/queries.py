"""Fidelity over the number of queries, without a guard and behind noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from genvet.core.report import Claim, Figure
from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Scale, Told, course, median, table, values
from genvet.reproduce.stealing import SOURCE
from genvet.reproduce.stealing.pictures import SEEDS, differs, target, theft
from genvet.reproduce.stealing.telling import NULLS, OTHER_UNITS, fidelity_below_accuracy, less, lines
from genvet.reproduce.stealing.thefts import Theft

BUDGETS: dict[Scale, tuple[int, ...]] = {
    "smoke": (20, 30, 40, 50, 60),
    "small": (500, 1000, 2500, 5000, 10_000),
    "paper": (10_000, 30_000, 50_000, 70_000, 90_000),
}
GUARD = "gaussian_noise"
"""That the fewest and the most queries go through as well."""


class QueryCounts(Experiment):
    """A PGGAN that is stolen by another one, by five budgets; and by two of them through a guard."""

    title: ClassVar[str] = "Figures 12 and 13: theft over the number of queries"
    source: ClassVar[str] = f"{SOURCE}, figures 12 and 13"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(_seeds(scale))

    def told(self, scale: Scale, done: Done) -> Told:
        budgets = BUDGETS[scale]
        rows = [((f"{n:,} queries",), {"asked": n, "guard": ""}) for n in budgets]
        rows += [((f"{n:,} queries, noise",), {"asked": n, "guard": GUARD}) for n in (budgets[0], budgets[-1])]
        figure = _curve(done, budgets)
        more = "The paper's curves have axes and no numbers: 4 to 32 for accuracy, 1 to 21 for fidelity."
        return Told(
            (table(self.title, ("theft", "measure"), lines(done, rows)),),
            tuple(_claims(done, budgets)),
            (figure,) if figure else (),
            (*differs(scale), OTHER_UNITS, more, NULLS),
        )


def _seeds(scale: Scale) -> Iterator[Cell]:
    budgets = BUDGETS[scale]
    for seed in range(1, SEEDS[scale] + 1):
        of = target(scale, "pggan", seed)
        plain = {n: theft(scale, of, "pggan", n=n) for n in budgets}
        yield from plain.values()
        for n in (budgets[0], budgets[-1]):
            yield plain[n].model_copy(update={"guard": GUARD})


def _claims(done: Done, budgets: tuple[int, ...]) -> Iterator[Claim]:
    yield fidelity_below_accuracy(done, "stealing.queries.fidelity-below-accuracy")
    for name, guard in (("more-queries", ""), ("more-queries-through-noise", GUARD)):
        most, fewest = ({"asked": n, "guard": guard} for n in (budgets[-1], budgets[0]))
        words = f"{budgets[-1]:,} queries against {budgets[0]:,}"
        yield less(done, f"stealing.queries.{name}", words, "fidelity.frechet", most, fewest)


def _curve(done: Done, budgets: tuple[int, ...]) -> Figure | None:
    """Medians over seeds."""
    series = {
        kind: {n: median(values(done, f"{kind}.frechet", Theft, asked=n, guard="")) for n in budgets}
        for kind in ("fidelity", "accuracy")
    }
    return course("Theft over the number of queries", series, "queries", "Frechet distance")
