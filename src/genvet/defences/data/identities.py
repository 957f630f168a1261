"""Who is in the data more often than others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from genvet.core.dataset import Dataset
from genvet.core.errors import BadInput, Unsupported
from genvet.core.modelfile import Evidence
from genvet.core.report import Figure, Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Audit, Nothing, Result
from genvet.defences.data.evidence import first

WORDS = ("subject", "person", "identity", "people", "label", "class", "name", "patient", "author", "speaker")
"""What columns are called that say whom or what a picture shows."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Counted(Result):
    """How many pictures each identity or label has, by what says so."""

    counts: dict[str, Counter[str]]
    times: float

    def _above(self, counts: Counter[str]) -> list[tuple[str, int]]:
        """Those that have far more than the median, the most first."""
        limit = self.times * middle(counts)
        return [(name, n) for name, n in counts.most_common() if n > limit]

    def summary(self) -> str:
        said = []
        for by, counts in self.counts.items():
            (name, most), n = counts.most_common(1)[0], sum(counts.values())
            above = len(self._above(counts))
            words = f"by {by}, {len(counts):,} of {middle(counts):g} pictures each (the median); the most, {name}, has "
            said.append(f"{words}{most:,} ({most / n:.1%}), and {above:,} have over {self.times:g} times the median")
        return "; ".join(said) + "."

    def measures(self) -> tuple[Measure, ...]:
        return tuple(self._measures())

    def _measures(self) -> Iterator[Measure]:
        for by, counts in self.counts.items():
            n = sum(counts.values())
            most = counts.most_common(1)[0][1]
            yield Measure(name=f"largest.{by}", value=most / n, n=n, chance=1 / len(counts), note="share of pictures")
            yield Measure(
                name=f"even.{by}", value=effective(counts) / len(counts), n=n, note="1 where all have as many"
            )
            yield Measure(name=f"above.{by}", value=len(self._above(counts)), n=len(counts))

    def tables(self) -> tuple[Table, ...]:
        return tuple(
            Table(title=f"Most pictures, by {by}", columns=("whom", "pictures"), rows=tuple(counts.most_common(30)))
            for by, counts in self.counts.items()
        )

    def figures(self) -> tuple[Figure, ...]:
        return tuple(
            Figure(kind="curve", title=f"Pictures of each, by {by}", data=_curve(counts))
            for by, counts in self.counts.items()
            if len(counts) > 2
        )

    def evidence(self) -> tuple[Evidence, ...]:
        return first(
            Evidence(
                rule="data.over-represented",
                message=f"{n:,} pictures, {n / middle(counts):.1f} times the median",
                place=f"{by} {name}",
            )
            for by, counts in self.counts.items()
            for name, n in self._above(counts)
        )


def middle(counts: Counter[str]) -> float:
    """The median number of pictures.

    >>> middle(Counter("aaabbc"))
    2.0
    """
    ordered = sorted(counts.values())
    return (ordered[len(ordered) // 2] + ordered[(len(ordered) - 1) // 2]) / 2


def effective(counts: Counter[str]) -> float:
    """How many identities of equally many pictures would be as varied: the exponential of the entropy.

    >>> round(effective(Counter("aabb")), 9)
    2.0
    """
    n = sum(counts.values())
    return math.exp(-sum(c / n * math.log(c / n) for c in counts.values()))


def _curve(counts: Counter[str]) -> dict[str, object]:
    ordered = sorted(counts.values(), reverse=True)
    points = [list(range(1, len(ordered) + 1)), ordered]
    return {"series": {"pictures": points}, "x": "rank", "y": "pictures", "log": "xy" * (len(ordered) > 20)}


class Identities(Audit):
    """Identities and labels that have far more pictures than others: those are memorised first.

    Taken from folders, labels, and columns of tables that say whom a picture shows; faces are not recognised.
    """

    source: ClassVar[str] = (
        "Training data leakage, sec. 2.2 (data diversity); Webster et al.: This person (probably) exists, 2021"
    )

    times: Annotated[float, Field(gt=1, le=1000)] = 3.0
    """More than so many times the median is a finding."""
    columns: tuple[str, ...] = ()
    """Columns of tables that say whom a picture shows; guessed unless given."""

    def __call__(self, dataset: Dataset, given: Nothing, rng: Rng) -> Counted:
        counts = dict(self._counts(dataset))
        if not counts:
            raise Unsupported("nothing says whom or what the pictures show: no labels, no folders, no such column")
        return Counted(counts=counts, times=self.times)

    def _counts(self, dataset: Dataset) -> Iterator[tuple[str, Counter[str]]]:
        known = {name for sheet in dataset.sheets for name in sheet.columns}
        for name in self.columns:
            if name not in known:
                raise BadInput(f"no table has a column {name!r}", expected=", ".join(sorted(known)[:20]))
        if dataset.labels is not None:
            yield "label", Counter(dataset.classes[i] for i in dataset.labels.tolist())
        for sheet in dataset.sheets:
            for name in sheet.columns:
                values = [value for value in sheet.column(name) if value]
                guessed = not self.columns and any(word in name.lower() for word in WORDS)
                if (name in self.columns or guessed) and 2 <= len(set(values)) <= len(values) / 2:
                    yield f"{sheet.name}, {name}", Counter(values)
