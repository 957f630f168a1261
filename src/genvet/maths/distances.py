"""Squared distances, as the paper measures them: the sum of squares over all values of a sample, range [-1, 1]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def squared_distances(x: Tensor, t: Tensor) -> Tensor:
    """|x|^2 - 2 x.t + |t|^2 for rows of x (n, d) and t (m, d), by one product: (n, m).

    Fast, and exact to about 1e-7 of |x|^2 + |t|^2 only: recompute the few that matter with `exact`.
    """
    x, t = x.float(), t.float()
    product = torch.addmm(t.square().sum(1)[None], x, t.T, alpha=-2)
    return product.add_(x.square().sum(1, keepdim=True)).clamp_min_(0)


def exact(x: Tensor, t: Tensor) -> Tensor:
    """The sum of squares between samples x and t of one shape (n, ...), in float64: (n,).

    >>> exact(torch.ones(1, 1, 2, 2), -torch.ones(1, 1, 2, 2))
    tensor([16.], dtype=torch.float64)
    """
    return (x.double() - t.double()).square().flatten(1).sum(1)


def coarse(x: Tensor, side: int = 32, length: int = 4096) -> Tensor:
    """Rows to compare by: images (n, c, h, w) averaged down to `side`, sounds (n, 1, t) to `length`: (n, d)."""
    if x.ndim == 4 and max(x.shape[2:]) > side:
        x = F.adaptive_avg_pool2d(x.float(), (min(side, x.shape[2]), min(side, x.shape[3])))
    elif x.ndim == 3 and x.shape[2] > length:
        x = F.adaptive_avg_pool1d(x.float(), length)
    return x.flatten(1).float()


class Smallest:
    """The k smallest values of a stream, for each of several rows, in memory that does not grow.

    >>> kept = Smallest(rows=1, k=2)
    >>> kept.offer(torch.tensor([[3.0, 1.0, 2.0]]), start=10)
    >>> kept.index.tolist()
    [[11, 12]]
    """

    def __init__(self, rows: int, k: int) -> None:
        self.value = torch.full((rows, k), torch.inf)
        self.index = torch.full((rows, k), -1)

    def offer(self, value: Tensor, start: int) -> None:
        """Values (rows, n) of the samples numbered from `start`; among equals the earlier sample stays."""
        better = (value < self.value[:, -1:].to(value.device)).any(1).cpu()
        if not better.any():
            return
        offered = value[better.to(value.device)].float().cpu()
        number = torch.arange(start, start + offered.shape[1]).expand_as(offered)
        k = self.value.shape[1]
        order = torch.cat([self.value[better], offered], 1).sort(dim=1, stable=True)
        self.value[better] = order.values[:, :k]
        self.index[better] = torch.cat([self.index[better], number], 1).gather(1, order.indices[:, :k])
