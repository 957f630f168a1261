"""Copies: whether samples lie nearer to the training set than fresh real images do, and which records are in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.membership.records import Cohort, Comparing, Seen
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.core.queries import Samples
from genvet.core.report import Figure, Measure, Scalar, Table
from genvet.core.rng import Rng
from genvet.core.technique import Picture, Probe, Result
from genvet.maths.copying import DataCopying, data_copying, parted
from genvet.maths.distances import squared_distances
from genvet.maths.quality import Estimate
from genvet.maths.statistics import clopper_pearson
from genvet.nets.passing import Passing

PART = 2048
KEPT = 20_000
"""Samples that the data-copying test looks at."""
FEWEST = 20
"""Samples that anything can be told from."""
SHOWN, LISTED = 12, 20
CLEAR = -3.0
"""Standard deviations below 0, from which on the statistic says that samples are copies."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Copied(Result):
    """How near samples come to training records, beside as many records that the generator never saw."""

    space: str
    cohort: Cohort
    statistic: DataCopying | None
    """None where there are too few records for it; the reason is in `why`."""
    why: str
    samples: int
    compared: int
    """Records of each set."""
    nearer: Estimate
    """The share of samples that are nearer to a training record than to any held-out one, by drawing records again."""
    p: float
    """One-sided, by drawing anew which records are the training set's."""
    copies: int
    """Samples that are nearer to a training record than `ratio` times the distance to any held-out one."""
    control: int
    """The same with both sets exchanged: what chance gives."""
    ratio: float
    given: Tensor
    """Samples that are copies of each compared member."""
    members: Tensor
    """Which members these are."""
    nearest: Tensor
    """The sample nearest to each, (compared, *shape)."""
    notes: tuple[str, ...] = ()
    """Such as that the budget ended before all samples had passed."""

    @property
    def gone(self) -> int:
        """Members of which there are copies."""
        return int((self.given > 0).sum())

    def summary(self) -> str:
        rate, chance = self.copies / self.samples, self.control / self.samples
        told = f"{rate:.2%} of {self.samples} samples are copies of training records ({chance:.2%} by chance)"
        told += f"; {self.gone} of {self.compared} members are given away"
        if self.statistic is None:
            return " ".join((f"{told}. {self.why}", *self.notes))
        c = self.statistic
        word = "copying" if c.value < CLEAR else "no copying"
        return " ".join((f"{told}. Data copying {c.value:.2f} over {c.cells} cells: {word}.", *self.notes))

    def measures(self) -> tuple[Measure, ...]:
        n, c = self.samples, self.statistic

        def share(name: str, hits: int, of: int, chance: float | None, note: str) -> Measure:
            low, high = clopper_pearson(hits, of)
            return Measure(name=name, value=hits / of, low=low, high=high, chance=chance, n=of, note=note)

        note = (
            f"nearer to a training record than {self.ratio:g} times the distance to any held-out one, in {self.space}"
        )
        value, told = (None, self.why) if c is None else (c.value, f"{c.cells} cells with {c.share:.0%} of the records")
        return (
            Measure(name="data-copying", value=value, chance=0.0, n=n, note=told),
            share("replication", self.copies, n, self.control / n, note),
            Measure(
                name="nearer",
                value=self.nearer.value,
                low=self.nearer.low,
                high=self.nearer.high,
                chance=0.5,
                n=n,
                note="nearer to the training set than to as many held-out records",
            ),
            Measure(name="p", value=self.p, n=2 * self.compared, note="one-sided, over all ways to part the records"),
            share("given-away", self.gone, self.compared, None, "members with a copy among the samples"),
        )

    def tables(self) -> tuple[Table, ...]:
        rows: list[tuple[Scalar, ...]] = [
            (printable(self.cohort.names[int(self.members[i])], 80), int(self.given[i]))
            for i in self.given.argsort(descending=True, stable=True)[:LISTED].tolist()
            if self.given[i] > 0
        ]
        return (Table(title="Members with the most copies", columns=("member", "samples"), rows=tuple(rows)),)

    def figures(self) -> tuple[Figure | Picture, ...]:
        top = self.given.argsort(descending=True, stable=True)[:SHOWN]
        x = torch.cat([self.cohort.x[self.members[top]], self.nearest[top].clamp(-1, 1)])
        names = [printable(self.cohort.names[int(self.members[i])], 20) for i in top.tolist()]
        captions = tuple(f"{row}: {name}" for row in ("member", "sample") for name in names)
        return (Picture("Members with the most copies, and the nearest samples", x, captions, "", len(top)),)

    def tensors(self) -> dict[str, Tensor]:
        return {"copies": self.given, "member": self.members}

    @property
    def queries(self) -> int:
        return self.samples


class Copying(Comparing, Probe):
    """Tells whether samples are copies: nearer to training records than fresh real ones are."""

    source: ClassVar[str] = (
        "Meehan et al.: A non-parametric test to detect data-copying, 2020, sec. 3; Feng et al. 2021 (replication)"
    )
    smoke: ClassVar[dict[str, Any]] = {"samples": 100, "cells": 1}

    samples: Annotated[int, Field(ge=FEWEST, le=10_000_000)] = 10_000
    """Samples that are looked at."""
    cells: Annotated[int, Field(ge=1, le=1000)] = 5
    """Clusters of the training records, within which distances are compared."""
    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """A copy is nearer to a training record than so many times the distance to any held-out one."""

    def __call__(self, target: Samples, given: Seen, rng: Rng) -> Copied:
        cohort, space = self.cohort(given, getattr(target, "shape", None)), self.seen(given)
        members, others = _alike(cohort, rng)
        rows, held = space(cohort.x[members]), space(cohort.x[others])
        count, served = torch.zeros(len(members), dtype=torch.long), torch.zeros(2 * len(members), dtype=torch.long)
        best, nearest = torch.full((len(members),), torch.inf), torch.zeros_like(cohort.x[members])
        made, copies, control = [], 0, 0
        drawn = Passing(target, self.samples, rng.fork("samples"), PART, least=FEWEST)
        for x in drawn:
            seen = space(x)
            apart, away = squared_distances(seen, rows), squared_distances(seen, held)
            (own, which), (far, other) = apart.min(1), away.min(1)
            taken = own < self.ratio**2 * far
            copies, control = copies + int(taken.sum()), control + int((far < self.ratio**2 * own).sum())
            count += which[taken].bincount(minlength=len(members))
            served += torch.where(own < far, which, other + len(members)).bincount(minlength=len(served))
            close = apart.min(0)
            better = close.values < best
            best = torch.where(better, close.values, best)
            nearest[better] = x[close.indices[better]].float()
            made += [seen] if drawn.seen - len(x) < KEPT else []
        nearer, p = parted(served, rng.fork("parted"))
        statistic, why = self._tested(rows, space(cohort.x[cohort.members : cohort.known]), torch.cat(made), rng)
        return Copied(
            space=space.name,
            cohort=cohort,
            statistic=statistic,
            why=why,
            samples=drawn.seen,
            compared=len(members),
            nearer=nearer,
            p=p,
            copies=copies,
            control=control,
            ratio=self.ratio,
            given=count,
            members=members,
            nearest=nearest,
            notes=drawn.notes,
        )

    def _tested(self, rows: Tensor, held: Tensor, made: Tensor, rng: Rng) -> tuple[DataCopying | None, str]:
        try:
            return data_copying(rows, held, made, self.cells, rng.fork("cells")), ""
        except BadInput as error:
            return None, f"The data-copying test was left out: {error.message}."


def _alike(cohort: Cohort, rng: Rng) -> tuple[Tensor, Tensor]:
    """As many members as non-members, by their places: the nearest of more would be nearer."""
    n = min(cohort.members, cohort.non_members)
    first = torch.randperm(cohort.members, generator=rng.fork("members").block())[:n]
    second = torch.randperm(cohort.non_members, generator=rng.fork("non-members").block())[:n]
    return first.sort().values, cohort.members + second.sort().values
