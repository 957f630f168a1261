"""Gaussians on a grid in the plane: data whose density is known, so that estimates can be held against the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.rng import Rng
from genvet.maths.divergence import jensen_shannon

REACH = 8.0
"""Standard deviations around the grid beyond which there is nothing."""
FINE = 4
"""Points of a mesh in one standard deviation: sums over smooth functions are as good as integrals there."""
NEAR = 4.0
"""Standard deviations within which a point is of high quality (Azadi et al. 2019)."""


@dataclass(frozen=True)
class Grid:
    """side x side Gaussians around 0, `step` apart; 25 with a standard deviation of 0.05 unless said otherwise."""

    side: int = 5
    step: float = 1.0
    std: float = 0.05
    weights: tuple[float, ...] = ()
    """Of the Gaussians, row by row; equal where there are none."""

    def scaled(self, by: float) -> Grid:
        """The same in other units."""
        return Grid(self.side, self.step * by, self.std * by, self.weights)

    @property
    def means(self) -> Tensor:
        """(side^2, 2), in float64."""
        line = (torch.arange(self.side, dtype=torch.float64) - (self.side - 1) / 2) * self.step
        return torch.cartesian_prod(line, line)

    @property
    def shares(self) -> Tensor:
        """The weights, which sum to 1: (side^2,)."""
        weights = self.weights or (1.0,) * self.side**2
        found = torch.tensor(weights, dtype=torch.float64)
        return found / found.sum()

    def sample(self, n: int, rng: Rng) -> Tensor:
        """Points (n, 2)."""
        which = torch.multinomial(self.shares, n, replacement=True, generator=rng.fork("which").block())
        away = torch.randn(n, 2, generator=rng.fork("away").block(), dtype=torch.float64)
        return (self.means[which] + self.std * away).float()

    def log_density(self, x: Tensor) -> Tensor:
        """Of points (n, 2): (n,), in nats and float64."""
        squares = (x.double()[:, None] - self.means).square().sum(2) / self.std**2
        return torch.logsumexp(self.shares.log() - squares / 2, 1) - math.log(2 * math.pi * self.std**2)

    def entropy(self) -> float:
        """Of the density, in nats: minus the mean log-density of its own points."""
        (p,), area = _on_mesh(self)
        return float(torch.special.entr(p).sum() * area)

    def cells(self, x: Tensor) -> Tensor:
        """How many points (n, 2) lie nearest to each mean: counts (side^2,)."""
        place = (x.double() / self.step + (self.side - 1) / 2).round().clamp(0, self.side - 1).long()
        return torch.bincount(place[:, 0] * self.side + place[:, 1], minlength=self.side**2)

    def masses(self, of: Grid) -> Tensor:
        """The probability that this mixture has in each of these cells: (side^2,), exact."""
        edges = (torch.arange(1, of.side, dtype=torch.float64) - of.side / 2) * of.step
        line = torch.special.ndtr((edges - self.means[:: self.side, :1]) / self.std)
        ends = torch.zeros(self.side, 1, dtype=torch.float64)
        along = torch.cat([ends, line, ends + 1], 1).diff(dim=1)  # of each of our lines in each of theirs
        found: Tensor = torch.einsum("ij,ia,jb->ab", self.shares.view(self.side, -1), along, along)
        return found.flatten()

    def quality(self, x: Tensor) -> tuple[float, int]:
        """The share of points (n, 2) within four standard deviations of a mean, and how many means have such a one."""
        near, which = (x.double()[:, None] - self.means).norm(dim=2).min(1)
        good = near <= NEAR * self.std
        return float(good.double().mean()), len(which[good].unique())


def divergence(one: Grid, other: Grid) -> float:
    """The Jensen-Shannon divergence of two such densities, in nats: exact, by quadrature."""
    (p, q), area = _on_mesh(one, other)
    return float(jensen_shannon(p * area, q * area))


def _on_mesh(*grids: Grid) -> tuple[list[Tensor], float]:
    """Densities on one mesh that holds all that there is of them, and the area of each of its squares."""
    fine = min(grid.std for grid in grids) / FINE
    reach = max((grid.side - 1) / 2 * grid.step + REACH * grid.std for grid in grids)
    line = torch.arange(-math.ceil(reach / fine), math.ceil(reach / fine) + 1, dtype=torch.float64) * fine
    return [_product(grid, line) for grid in grids], fine * fine


def _product(grid: Grid, line: Tensor) -> Tensor:
    """The density on the mesh of this line: Gaussians of two independent numbers are products, (n * n,)."""
    means = grid.means[:: grid.side, :1]
    one = torch.exp(-((line - means) ** 2) / (2 * grid.std**2)) / math.sqrt(2 * math.pi * grid.std**2)
    return torch.einsum("ij,ia,jb->ab", grid.shares.view(grid.side, -1), one, one).flatten()
