"""What thefts say beside one another: lines, and claims that are decided seed by seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from genvet.core.report import Claim
from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import FEWEST, Line, Spread, below, median, shown, values
from genvet.reproduce.stealing.thefts import Theft

MEASURES = {
    "fidelity.frechet": "fidelity: Frechet distance to the target",
    "fidelity.kernel": "fidelity: kernel distance to the target",
    "fidelity.js": "fidelity: JS divergence, nats",
    "accuracy.frechet": "accuracy: Frechet distance to real data",
    "accuracy.kernel": "accuracy: kernel distance to real data",
    "accuracy.js": "accuracy: JS divergence, nats",
}
TARGET = {f"target.{kind}": f"the target itself: {words}" for kind, words in (
    ("frechet", "Frechet distance to real data"), ("js", "JS divergence from real data, nats"))}  # fmt: skip
OTHER_UNITS = (
    "The paper's distances are FIDs and divergences in a space of its own, at 50,000 samples: its numbers stand beside "
    "ours for their order alone, and none of ours is an FID. Ours are in fixed random convolutions."
)
NULLS = (
    "The note of each line is the median of what two samples of one source come to: nothing below it means anything."
)
Where = dict[str, object]


def lines(
    done: Done, rows: Iterable[tuple[tuple[str, ...], Where]], measures: dict[str, str] | None = None
) -> list[Line]:
    """A line for each row and measure: the median over seeds, the range, and the null beside it."""
    return [
        line(done, (*words, said), name, where)
        for words, where in rows
        for name, said in (measures or MEASURES).items()
    ]


def line(done: Done, words: tuple[str, ...], name: str, where: Where, paper: float | None = None) -> Line:
    """One measure: the paper's number, which is in another unit, and the median over seeds beside its null."""
    notes = [chance(median(values(done, f"{name}.null", Theft, **where)))]
    notes += ["the paper's is in another unit"] if paper is not None else []
    return Line(words, paper, median(values(done, name, Theft, **where)), "; ".join(filter(None, notes)))


def chance(null: Spread | None) -> str:
    """What two samples of one source come to, as a line's note; empty where that was not measured."""
    return f"chance {null.value:.3g}" if null else ""


def differences(done: Done, measure: str, one: Where, other: Where, kind: type[Cell] = Theft) -> Spread | None:
    """Of two places of such cells, seed by seed: the median and the range."""
    found: list[dict[object, float]] = []
    for where in (one, other):
        cells = [(c.where()["seed"], told.get(measure)) for c, told in done if isinstance(c, kind) and _at(c, where)]
        found.append({seed: value for seed, value in cells if value is not None})
    return median([found[0][seed] - found[1][seed] for seed in sorted({*found[0]} & {*found[1]}, key=str)])


def less(done: Done, name: str, words: str, measure: str, one: Where, other: Where) -> Claim:
    """That the one has the smaller value: it holds where it does for every seed, and is open where seeds disagree."""
    return below(name, differences(done, measure, one, other), 0, f"{words}: difference of {measure}, seed by seed")


def fidelity_below_accuracy(done: Done, name: str, measures: Sequence[str] = ("frechet", "js")) -> Claim:
    """Claim (i): every stolen generator is nearer to its target than to the real data."""
    pairs = [
        (told.get(f"fidelity.{kind}"), told.get(f"accuracy.{kind}"))
        for cell, told in done
        if isinstance(cell, Theft)
        for kind in measures
    ]
    known = [one < other for one, other in pairs if one is not None and other is not None]
    status: Literal["holds", "part", "not", "undecided"] = "undecided"
    if len(known) >= FEWEST:
        status = "holds" if all(known) else "part" if any(known) else "not"
    return Claim(id=name, status=status, evidence=f"in {sum(known)} of {len(known)} pairs of numbers")


def beside(done: Done, measure: str, where: Where) -> str:
    """The median and the range, in words."""
    return shown(median(values(done, measure, Theft, **where)))


def _at(cell: Cell, where: Where) -> bool:
    return where.items() <= cell.where().items()
