"""Structural similarity whatever shift lies between two images: one pixel aside is the same picture to anybody."""

from __future__ import annotations

import torch
from torch import Tensor

from genvet.maths.full_reference import C1, C2, SPREAD, WINDOW

PAIRS = 4096
"""Pairs of images at once."""


def shifted_ssim(x: Tensor, t: Tensor, reach: int) -> Tensor:
    """The largest SSIM of images x (n, c, h, w) and t (n, c, h, w) over shifts of up to `reach` pixels: (n,).

    The middle of t is held against every window of x of its size, so that no pixel has to be invented. Windowed moments
    of each image are taken once, for all shifts; only products are taken for each.

    >>> t = torch.rand(1, 1, 16, 16, generator=torch.manual_seed(0)) * 2 - 1
    >>> round(float(shifted_ssim(t.roll((1, -2), (2, 3)), t, 2)), 4)
    1.0
    """
    parts = zip(x.split(PAIRS), t.split(PAIRS), strict=True)
    return torch.cat([_largest(a.float(), b.float(), reach) for a, b in parts]) if len(x) else torch.empty(0)


def _largest(x: Tensor, t: Tensor, reach: int) -> Tensor:
    h, w = (side - 2 * reach for side in x.shape[2:])
    middle = t[..., reach : reach + h, reach : reach + w]
    over_t, over_x = _Local(h, w, x), _Local(x.shape[2], x.shape[3], x, min(h, w))
    mean_t, square_t = over_t(middle), over_t(middle * middle)
    mean_x, square_x = over_x(x), over_x(x * x)
    down, across = mean_t.shape[2:]
    own_t = square_t - mean_t.square() + C2
    best = torch.full((len(x),), -1.0, device=x.device)
    for i in range(2 * reach + 1):
        for j in range(2 * reach + 1):
            own, squares = (m[..., i : i + down, j : j + across] for m in (mean_x, square_x))
            both = own * mean_t
            mixed = over_t(x[..., i : i + h, j : j + w] * middle) - both
            light = (2 * both + C1) / (own.square() + mean_t.square() + C1)
            every = light * (2 * mixed + C2) / (squares - own.square() + own_t)
            best = best.maximum(every.flatten(1).mean(1))
    return best


class _Local:
    """Means over SSIM's Gaussian window at each place where it fits, as two products with banded matrices."""

    def __init__(self, height: int, width: int, like: Tensor, side: int | None = None) -> None:
        row = _window(side or min(height, width)).to(like)
        self._down, self._across = (_band(row, length) for length in (height, width))

    def __call__(self, x: Tensor) -> Tensor:
        return self._down.T @ (x @ self._across)


def _window(side: int) -> Tensor:
    """Its weights; it shrinks with images that are smaller."""
    size = min(WINDOW, side - (side + 1) % 2)
    row = torch.arange(size, dtype=torch.float64) - size // 2
    row = (-row.square() / (2 * SPREAD**2)).exp()
    return row / row.sum()


def _band(row: Tensor, length: int) -> Tensor:
    """The window at every place of a line of so many pixels, (length, places)."""
    places = length - len(row) + 1
    band = torch.zeros(length, places, dtype=row.dtype, device=row.device)
    for i, weight in enumerate(row):
        band[torch.arange(places) + i, torch.arange(places)] = weight
    return band
