"""Density and coverage: precision and recall that outliers among the real images do not lift (Naeem et al. 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.errors import BadInput
from genvet.maths.quality import Estimate, Statistic, estimate, precision, recall

NEIGHBOUR = 5
"""The k-th nearest real neighbour sets the radius of a real image's ball; 5 is the paper's."""


def density(real: Tensor, fake: Tensor) -> float:
    """In how many of the balls around real rows (n, d) a generated row (m, d) lies, in the mean, over k (eq. 3).

    The sum over all pairs is divided by k times the *generated* rows: 1 is expected of fresh real ones, whatever n
    and m are. Divided by k times the real rows, as some programs do, it would grow with m / n.

    >>> x = torch.arange(12.0)[:, None]
    >>> density(x, x + 1000), density(x, x[5:7]) > 1
    (0.0, True)
    """
    return float(_inside(real, fake).sum(1).double().mean()) / NEIGHBOUR


def coverage(real: Tensor, fake: Tensor) -> float:
    """The share of real rows whose ball holds a generated row (eq. 4).

    >>> x = torch.arange(12.0)[:, None]
    >>> coverage(x, x + 1000), coverage(x, x)
    (0.0, 1.0)
    """
    return float(_inside(real, fake).any(0).double().mean())


def expected_coverage(real: int, fake: int, k: int = NEIGHBOUR) -> float:
    """The coverage that so many fresh real rows would have of so many others: exact, in any space (lemma 2).

    >>> round(expected_coverage(1000, 1000), 3), round(expected_coverage(1000, 50), 3)
    (0.969, 0.217)
    """
    return 1 - math.prod((real - i) / (fake + real - i) for i in range(1, k + 1))


def _inside(real: Tensor, fake: Tensor) -> Tensor:
    """Whether each generated row lies within the ball of each real one, (m, n)."""
    if len(real) <= NEIGHBOUR:
        raise BadInput("too few real images", expected=f"more than {NEIGHBOUR}", got=str(len(real)))
    # The nearest of all is the row itself, at no distance.
    radius = _distances(real, real).kthvalue(NEIGHBOUR + 1, dim=1).values
    return _distances(fake, real) <= radius


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Exact ones: equal rows must be at no distance."""
    return torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist")


STATISTICS: dict[str, tuple[Statistic, float]] = {
    "precision": (precision, 1.0),
    "recall": (recall, 1.0),
    "density": (density, math.inf),
    "coverage": (coverage, 1.0),
}
"""Each with the most that it can be."""


@dataclass(frozen=True)
class Beside:
    """A statistic of generated images, and what as many other real ones have in their place."""

    fake: Estimate
    real: Estimate
    expected: float | None
    """Of fresh real images, where theory knows it."""


def beside(real: Tensor, fake: Tensor, other: Tensor, groups: int = 10) -> dict[str, Beside]:
    """Precision, recall, density and coverage of generated and of other real rows, with 95 % jackknife intervals.

    As many other real rows are looked at as there are generated ones, where there are enough: recall and coverage
    rise with their number. `groups` are left out in turn (`maths.quality.estimate`), 2 rows or more each.
    """
    if min(len(real), len(fake), len(other)) < 2 * groups:
        got = f"{len(real)} real, {len(fake)} generated, {len(other)} other real ones"
        raise BadInput("too few rows for an interval", expected=f"{2 * groups} or more of each", got=got)
    other = other[: len(fake)]
    known = {"density": 1.0, "coverage": expected_coverage(len(real), len(fake))}

    def within(name: str, rows: Tensor) -> Estimate:
        statistic, most = STATISTICS[name]
        value, low, high = estimate(statistic, real, rows, groups)
        return Estimate(value, max(low, 0.0), min(high, most))

    return {name: Beside(within(name, fake), within(name, other), known.get(name)) for name in STATISTICS}
