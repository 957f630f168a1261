"""How far generated samples are from real ones, as rows of features (n, d); each number with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Statistic = Callable[[Tensor, Tensor], float]
"""Of real and of generated features."""
NEIGHBOUR = 3
"""The k-th nearest neighbour sets the radius of a ball; 3 is the paper's."""


class Estimate(NamedTuple):
    """A statistic with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def frechet(real: Tensor, fake: Tensor) -> float:
    """The Frechet distance of two normal distributions with the moments of the rows (Heusel et al. 2017, eq. 6).

    It falls with n: compare values of the same n alone.

    >>> x = torch.eye(4)
    >>> round(frechet(x, x + 1), 6)
    4.0
    """
    real, fake = real.double(), fake.double()
    root = _root(torch.cov(real.T).reshape(real.shape[1], -1))
    other = torch.cov(fake.T).reshape(fake.shape[1], -1)
    overlap = torch.linalg.eigvalsh(root @ other @ root).clamp_min(0).sqrt().sum()
    moved = (real.mean(0) - fake.mean(0)).square().sum()
    return float(moved + root.square().sum() + other.trace() - 2 * overlap)


def kernel(real: Tensor, fake: Tensor) -> float:
    """The unbiased squared maximum mean discrepancy under (x.y / d + 1)^3, of equal n (Binkowski et al. 2018, eq. 4).

    Its expectation is 0 where both are of one distribution, so that it may be negative.
    """
    real, fake = real.double(), fake.double()
    within = _pairs(real, real, apart=True) + _pairs(fake, fake, apart=True)
    return within - 2 * _pairs(real, fake, apart=False)


def precision(real: Tensor, fake: Tensor) -> float:
    """The share of generated rows within a ball around a real one (Kynkaanniemi et al. 2019, eq. 1).

    >>> x = torch.arange(8.0)[:, None]
    >>> precision(x, x + 1000), precision(x, x[:4])
    (0.0, 1.0)
    """
    # The nearest of all is the row itself, at no distance.
    radius = _distances(real, real).kthvalue(min(NEIGHBOUR + 1, len(real)), dim=1).values
    return float((_distances(fake, real) <= radius).any(1).double().mean())


def recall(real: Tensor, fake: Tensor) -> float:
    """The share of real rows within a ball around a generated one."""
    return precision(fake, real)


STATISTICS: dict[str, Statistic] = {
    "frechet": frechet,
    "kernel": kernel,
    "precision": precision,
    "recall": recall,
}


def class_score(probabilities: Tensor) -> float:
    """exp(E KL(p(y|x) || p(y))) of the class probabilities (n, classes) of samples: the Inception Score's formula.

    With any other classifier than Inception it is no Inception Score, and compares with those of the same classifier
    and the same n alone. From 1 (all alike, or all unsure) to the number of classes (Salimans et al. 2016, sec. 4).

    >>> class_score(torch.eye(4)), class_score(torch.full((4, 4), 0.25))
    (4.0, 1.0)
    """
    p = probabilities.double()
    return float((torch.special.entr(p.mean(0)).sum() - torch.special.entr(p).sum(1).mean()).exp())


EVERYWHERE = (-math.inf, math.inf)
RANGES: dict[Callable[..., float], tuple[float, float]] = {
    frechet: (0, math.inf),
    precision: (0, 1),
    recall: (0, 1),
    class_score: (1, math.inf),
}
"""What statistics can be, where that is not everything."""


def estimate(statistic: Statistic, real: Tensor, fake: Tensor, groups: int = 10) -> Estimate:
    """The statistic, and a 95 % interval by the delete-a-group jackknife: what other samples would have given.

    The bootstrap would not do: rows drawn twice are nearer to each other than any two of the distribution.
    """
    group_r, group_f = torch.arange(len(real)) % groups, torch.arange(len(fake)) % groups
    without = [statistic(real[group_r != g], fake[group_f != g]) for g in range(groups)]
    return _jackknife(statistic, statistic(real, fake), without)


def estimate_one(statistic: Callable[[Tensor], float], rows: Tensor, groups: int = 10) -> Estimate:
    """The same for a statistic of one set of rows."""
    group = torch.arange(len(rows)) % groups
    return _jackknife(statistic, statistic(rows), [statistic(rows[group != g]) for g in range(groups)])


def _jackknife(statistic: Callable[..., float], value: float, without: Sequence[float]) -> Estimate:
    """The 95 % interval around a value, from those without one group each; within what the statistic can be."""
    from scipy.special import stdtrit  # here, so that --help need not wait for it

    groups = len(without)
    mean = sum(without) / groups
    error = math.sqrt((groups - 1) / groups * sum((w - mean) ** 2 for w in without))
    reach = float(stdtrit(groups - 1, 0.975)) * error
    low, high = RANGES.get(statistic, EVERYWHERE)
    return Estimate(value, max(value - reach, low), min(value + reach, high))


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root of a covariance."""
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root


def _pairs(a: Tensor, b: Tensor, apart: bool) -> float:
    """The mean kernel over pairs of rows; `apart` leaves each row's pair with itself out."""
    k = (a @ b.T / a.shape[1] + 1) ** 3
    total = k.sum() - (k.diagonal().sum() if apart else 0)
    return float(total / (len(a) * (len(b) - apart)))


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Exact ones: equal rows must be at no distance."""
    return torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist")
