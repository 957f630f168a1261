"""What a table of a paper is made of: its cells at each scale, and what is told of their numbers beside the paper's."""

from __future__ import annotations

import math
import statistics
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from genvet.core.report import Claim, Figure, Scalar, Table
from genvet.reproduce.cells import Cell, Done

Scale = Literal["smoke", "small", "paper"]


@dataclass(frozen=True)
class Spread:
    """Several runs as one number, and how far they lie apart."""

    value: float
    low: float
    high: float
    n: int


def median(values: Iterable[float | None]) -> Spread | None:
    """The median, and the range; None where there are no values."""
    known = sorted(v for v in values if v is not None)
    return Spread(statistics.median(known), known[0], known[-1], len(known)) if known else None


def mean(values: Iterable[float | None]) -> Spread | None:
    """The mean, and a standard error to either side (none where there is one value)."""
    known = [v for v in values if v is not None]
    if not known:
        return None
    middle = statistics.fmean(known)
    error = statistics.stdev(known) / math.sqrt(len(known)) if len(known) > 1 else 0.0
    return Spread(middle, middle - error, middle + error, len(known))


def largest(values: Iterable[float | None]) -> Spread | None:
    """The largest, beside the range: what the paper reports where the attacker may choose."""
    found = median(values)
    return found and Spread(found.high, found.low, found.high, found.n)


@dataclass(frozen=True)
class Line:
    """One number of the paper, and ours."""

    where: tuple[str, ...]
    """Such as the network, the attack, the measure."""
    paper: float | str | None
    """None where it gives none."""
    ours: Spread | None
    note: str = ""

    def cells(self) -> tuple[Scalar, ...]:
        """As a row: where, paper, ours, low, high, n, note."""
        ours = self.ours
        numbers = (ours.value, ours.low, ours.high, ours.n) if ours else (None, None, None, 0)
        return (*self.where, self.paper, *numbers, self.note)


def table(title: str, where: Sequence[str], lines: Iterable[Line]) -> Table:
    """The lines as a table of the report."""
    columns = (*where, "paper", "ours", "low", "high", "n", "note")
    return Table(title=title, columns=columns, rows=tuple(line.cells() for line in lines))


@dataclass(frozen=True)
class Told:
    """What one run of a table has to say."""

    tables: tuple[Table, ...]
    claims: tuple[Claim, ...] = ()
    figures: tuple[Figure, ...] = ()
    differs: tuple[str, ...] = field(default=())
    """What is not as in the paper: a sentence each."""


class Experiment(ABC):
    """One table of a paper."""

    title: ClassVar[str]
    source: ClassVar[str]
    """The paper and the place in it."""

    @abstractmethod
    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        """The work, such that any first part of it already says something."""

    @abstractmethod
    def told(self, scale: Scale, done: Done) -> Told:
        """What the numbers of these cells, perhaps not all of them, say."""


def values(done: Done, name: str, kind: type[Cell] = Cell, **where: object) -> list[float | None]:
    """One number of every cell of this kind at these places: each cell says where it stands.

    >>> values([], "target-distortion", attack="red")
    []
    """
    return [
        numbers.get(name)
        for cell, numbers in done
        if isinstance(cell, kind) and where.items() <= cell.where().items() and name in numbers
    ]


FEWEST = 3
"""Runs that a claim is decided on: one parent with one trigger is an anecdote."""


def claim(
    name: str, ours: Spread | None, true: object, beside: str, fewest: int = FEWEST, decided: bool = True
) -> Claim:
    """Whether it holds for our median or mean, and how that was told; undecided with fewer runs than `fewest`.

    Its name is written small, with a hyphen for each space. `decided` is False where the numbers leave it open.
    """
    status: Literal["holds", "not", "undecided"] = "holds" if true else "not"
    if ours is None or ours.n < fewest or not decided:
        status = "undecided"
    return Claim(id=name.lower().replace(" ", "-"), status=status, evidence=f"ours {shown(ours)}; {beside}")


def above(name: str, ours: Spread | None, bound: float, beside: str, fewest: int = FEWEST) -> Claim:
    """That every run lies above the bound; no run does where it does not hold, and it is open where they disagree.

    >>> [above("a gain", Spread(0.2, low, high, 3), 0, "").status for low, high in ((0.1, 1), (-1, 1), (-1, -0.1))]
    ['holds', 'undecided', 'not']
    """
    true = ours is not None and ours.low > bound
    return claim(name, ours, true, beside, fewest, decided=true or (ours is not None and ours.high < bound))


def below(name: str, ours: Spread | None, bound: float, beside: str) -> Claim:
    """That every run lies below the bound, in the same way."""
    true = ours is not None and ours.high < bound
    return claim(name, ours, true, beside, decided=true or (ours is not None and ours.low > bound))


def course(
    title: str, series: Mapping[str, Mapping[Any, Spread | None]], x: str, y: str, log: bool | str = False
) -> Figure | None:
    """Each series over the numbers of x, with the range of its runs as a band; None where nothing is known yet."""
    known = {name: {at: ours for at, ours in found.items() if ours} for name, found in series.items()}
    known = {name: found for name, found in known.items() if found}
    if not known:
        return None
    lines = {name: [[*found], [s.value for s in found.values()]] for name, found in known.items()}
    several = {name: found for name, found in known.items() if any(s.n > 1 for s in found.values())}
    bands = {
        name: [[*found], [s.low for s in found.values()], [s.high for s in found.values()]]
        for name, found in several.items()
    }
    data = {"series": lines, "bands": bands, "x": x, "y": y, "log": log}
    return Figure(kind="curve", title=title, data=data, caption="Bands: how far the runs lie apart." * bool(bands))


def apart(one: Spread | None, other: Spread | None) -> bool:
    """Whether neither range reaches into the other, so that which is the larger can be told."""
    return one is not None and other is not None and (one.low > other.high or other.low > one.high)


def shown(ours: Spread | None) -> str:
    """In words: value (low to high, n).

    >>> shown(Spread(0.5, 0.25, 1.0, 3))
    '0.5 (0.25 to 1, n = 3)'
    """
    return "not measured" if ours is None else f"{ours.value:.4g} ({ours.low:.4g} to {ours.high:.4g}, n = {ours.n})"
