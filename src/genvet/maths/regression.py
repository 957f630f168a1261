"""How much of one set of numbers follows from another one, by a ridge regression that was fitted elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 0.1
"""Of the rows' own variance."""
RARE = 0.1
"""Of the columns' usual spread: one that hardly ever moves counts as if it moved so much, or it would decide alone."""


def explained(rows: Tensor, values: Tensor, new_rows: Tensor, new_values: Tensor) -> float:
    """The share of the variance of new values (m, k) that follows from new rows (m, d), as learned from others.

    Not below 0: who knows nothing takes the mean.

    >>> x = torch.randn(64, 4, generator=torch.manual_seed(0))
    >>> explained(x[:32], x[:32] @ torch.ones(4, 2), x[32:], x[32:] @ torch.ones(4, 2)) > 0.9
    True

    One row lit up what is dark in all others, and new rows light it fully:

    >>> dark, lit = torch.full((64, 1), 0.0), torch.full((32, 1), 1.0)
    >>> dark[0] = 0.001
    >>> explained(torch.cat([x, dark], 1), x, torch.cat([x[:32], lit], 1), x[:32]) > 0.9
    True
    """
    mean, middle = rows.double().mean(0), values.double().mean(0)
    spread = rows.double().std(0, correction=0)
    scale = spread.clamp_min(RARE * float(spread.square().mean().sqrt()) + 1e-9)
    a, b = ((some.double() - mean) / scale for some in (rows, new_rows))
    moments = a.T @ a / len(a) + RIDGE * torch.eye(a.shape[1], dtype=torch.float64)
    slopes = torch.linalg.solve(moments, a.T @ (values.double() - middle) / len(a))
    off = (new_values.double() - middle - b @ slopes).square().sum()
    return max(0.0, float(1 - off / (new_values.double() - middle).square().sum().clamp_min(1e-12)))
