"""Pictures of a set that nearly are one, by a threshold from the set's own pictures; and those unlike all others.

The null of a copy is how near ordinary pictures of the set come to their nearest fellow. What a copy looks like is
planted: the set's own pictures, shifted, brightened, blurred and compressed a little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

ROWS = 1024


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Of each row, its nearest fellow."""

    distance: Tensor
    """(n,)."""
    index: Tensor
    """(n,): which that is."""
    spread: Tensor
    """(n,): how far the k-th nearest is: the scale of distances in that place."""

    @property
    def share(self) -> Tensor:
        """The distance over that scale: small for a copy, wherever it lies."""
        return self.distance / self.spread.clamp_min(1e-12)


def neighbours(rows: Tensor, k: int = 10) -> Neighbours:
    """The nearest fellow of each of rows (n, d), and how far the k-th is; in float64.

    >>> neighbours(torch.tensor([[0.0], [1.0], [10.0]]), 2).index.tolist()
    [1, 0, 1]
    """
    rows, k = rows.double(), min(k, len(rows) - 1)
    values, indices = [], []
    for start in range(0, len(rows), ROWS):
        apart = torch.cdist(rows[start : start + ROWS], rows, compute_mode="use_mm_for_euclid_dist")
        own = torch.arange(start, start + len(apart))
        apart[own - start, own] = torch.inf
        found = apart.topk(k, largest=False)
        values.append(found.values)
        indices.append(found.indices[:, 0])
    every = torch.cat(values)
    return Neighbours(every[:, 0], torch.cat(indices), every[:, -1])


def altered(x: Tensor, way: int) -> Tensor:
    """Pictures (n, c, h, w) in [-1, 1] as somebody else would save them: the ways go round, seven of them."""
    if way % 7 == 0:
        return torch.roll(x, (1, 1), (2, 3))
    if way % 7 == 1:
        return x.mul(0.95).add(0.04).clamp(-1, 1)
    if way % 7 == 2:
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    if way % 7 == 3:
        steps = 16.0
        return (x * steps).round() / steps
    if way % 7 == 4:
        h, w = x.shape[2:]
        inner = x[:, :, h // 32 : h - h // 32, w // 32 : w - w // 32]
        return F.interpolate(inner, (h, w), mode="bilinear", antialias=True)
    if way % 7 == 5:
        half = F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True)
        return F.interpolate(half, x.shape[2:], mode="bilinear")
    return x.flip(3)


WAYS = (
    "shifted by a pixel",
    "brighter",
    "smoothed",
    "of few shades",
    "cropped by a thirtieth",
    "shrunk by half",
    "mirrored",
)


def whitened(rows: Tensor) -> Callable[[Tensor], Tensor]:
    """A map of rows (n, d) after which these vary alike in all directions: what is usual for none of them stands out.

    Directions in which they hardly vary are raised no further than a thousandth of the widest one's variance allows.
    """
    rows = rows.double()
    middle = rows.mean(0)
    value, vector = torch.linalg.eigh((rows - middle).T @ (rows - middle) / max(len(rows) - 1, 1))
    scale = (value.clamp_min(0) + 1e-3 * value[-1] + 1e-12).sqrt()
    return lambda some: (some.double() - middle) @ vector / scale


def unlike(distances: Tensor, rate: float) -> float:
    """The distance above which a picture is unlike all others: by the set's own median and upper spread.

    Log distances of ordinary pictures are taken for normal above their median; beyond the limit, `rate` of them would
    lie. Outliers themselves hardly move it, since only the median and the upper quartile count.
    """
    logs = distances.double().clamp_min(1e-12).log()
    middle, upper = logs.quantile(torch.tensor([0.5, 0.75], dtype=torch.float64)).tolist()
    sigma = (upper - middle) / 0.6744897501960817
    z = float(torch.special.ndtri(torch.tensor(1 - rate, dtype=torch.float64)))
    return float(torch.tensor(middle + z * sigma).exp())
