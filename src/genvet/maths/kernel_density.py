"""Densities by kernels, always as logarithms: where they would be rounded to nothing, they still rank."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.errors import BadInput

ROWS = 512
FLOOR = 1e-6
"""Variances below this share of the largest are raised to it: a direction without spread would decide everything."""


@dataclass(frozen=True, eq=False)
class Projection:
    """The principal directions of some rows: (n, d) -> (n, k)."""

    mean: Tensor
    directions: Tensor
    """(d, k)."""

    @classmethod
    def of(cls, rows: Tensor, k: int) -> Projection:
        """Of rows (n, d), the k directions in which they vary most; raises BadInput for fewer than k + 2 rows."""
        if len(rows) < k + 2 or rows.shape[1] < k:
            got = f"{len(rows)} rows of {rows.shape[1]} numbers"
            raise BadInput(f"too little to find {k} directions in", expected=f"{k + 2} rows or more", got=got)
        mean = rows.double().mean(0)
        _, _, directions = torch.linalg.svd(rows.double() - mean, full_matrices=False)
        return cls(mean, directions[:k].T)

    def __call__(self, rows: Tensor) -> Tensor:
        return (rows.double() - self.mean) @ self.directions


@dataclass(frozen=True, eq=False)
class Density:
    """Normal kernels with the rows' own covariance, scaled by Scott's rule."""

    rows: Tensor
    """Whitened, (n, d)."""
    whiten: Tensor
    """(d, d)."""
    constant: float

    @classmethod
    def of(cls, rows: Tensor) -> Density:
        """Of rows (n, d); raises BadInput where there are no more than d."""
        n, d = rows.shape
        if n <= d:
            raise BadInput("too few rows for a density", expected=f"more than {d}", got=str(n))
        values, vectors = torch.linalg.eigh(torch.cov(rows.double().T).reshape(d, d))
        values = values.clamp_min(FLOOR * float(values.max()) + 1e-12) * n ** (-2 / (d + 4))
        whiten = vectors / values.sqrt()
        constant = -0.5 * d * math.log(2 * math.pi) - 0.5 * float(values.log().sum()) - math.log(n)
        return cls(rows.double() @ whiten, whiten, constant)

    def log(self, rows: Tensor) -> Tensor:
        """The logarithm of the density at rows (m, d): (m,).

        >>> kernels = Density.of(torch.randn(500, 2, generator=torch.manual_seed(0)))
        >>> kernels.log(torch.tensor([[0.0, 0.0], [1e4, 0.0]])).isfinite().all().item()
        True
        """
        found = []
        for some in (rows.double() @ self.whiten).split(ROWS):
            apart = torch.cdist(some, self.rows).square()
            found.append((-apart / 2).logsumexp(1) + self.constant)
        return torch.cat(found)
