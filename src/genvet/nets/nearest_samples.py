"""The nearest of many samples to each of many records: the samples pass by, and memory does not grow with them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.queries import Samples
from genvet.core.rng import Rng
from genvet.maths.distances import squared_distances
from genvet.nets.passing import PART, Passing
from genvet.nets.spaces import Space


@dataclass(frozen=True, eq=False)
class Nearest:
    """Of each record, the nearest sample."""

    distance: Tensor
    """Euclidean, in the space, (n,) in float64."""
    number: Tensor
    """Of the sample, (n,)."""
    x: Tensor
    """The samples themselves, (n, *shape)."""
    samples: int
    """That were looked at."""
    notes: tuple[str, ...] = ()
    """A sentence where the budget ended before all of them had been."""


@torch.no_grad()
def nearest_samples(target: Samples, records: Tensor, space: Space, n: int, rng: Rng, part: int = PART) -> Nearest:
    """Of n samples, the nearest to each of the records (m, *shape), in this space; raises BudgetSpent for not one."""
    rows = space(records)
    found = _Found(rows)
    samples, seen = Passing(target, n, rng, part), 0
    for x in samples:
        if x.shape[1:] != records.shape[1:]:
            expected, got = f"{tuple(x.shape[1:])} a sample", str(tuple(records.shape[1:]))
            raise BadInput("the records do not fit this generator", expected=expected, got=got)
        found.offer(x, space(x), seen)
        seen += len(x)
    assert found.x is not None
    return Nearest(found.distance, found.number, found.x, seen, samples.notes)


class _Found:
    """The nearest so far."""

    def __init__(self, rows: Tensor) -> None:
        self.rows, self.x = rows.float(), None
        self.distance = torch.full((len(rows),), torch.inf, dtype=torch.float64)
        self.number = torch.full((len(rows),), -1)

    x: Tensor | None

    def offer(self, x: Tensor, rows: Tensor, start: int) -> None:
        """Samples x (n, *shape) with their rows (n, d), numbered from `start`."""
        if self.x is None:
            self.x = torch.zeros(len(self.rows), *x.shape[1:])
        value, index = squared_distances(self.rows, rows).min(1)
        better = (value.double() < self.distance.square() * (1 + 1e-5) + 1e-6).nonzero().flatten()
        own = (self.rows[better].double() - rows[index[better]].double()).square().sum(1).sqrt()
        surely = own < self.distance[better]
        better, own = better[surely], own[surely]
        self.distance[better], self.number[better] = own, index[better] + start
        self.x[better] = x[index[better]].float()
