"""Whether a small preview shows the picture that it comes with, or what that was before somebody cut or blurred it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

BLOCKS = 8
"""A side of the preview is compared in about so many blocks."""
BAR = 24.0
"""Rows and columns at the border that are no brighter than this, of 255, are bars: a preview has a shape of its own."""
SMALLEST = 8


def unlikeness(picture: Tensor, preview: Tensor) -> float:
    """How far the preview is from the picture where they differ most: the RMS of the worst block, of 255.

    Both are (c, h, w) in 0 to 255. Brightness and contrast may differ, and the preview may be turned or have bars.

    >>> import torch
    >>> x = torch.arange(64.0 * 64).reshape(1, 64, 64) % 251
    >>> unlikeness(x, x) < 1e-3 < 10 < unlikeness(x, x.flip(2))
    True
    """
    small = _without_bars(preview.float().mean(0))
    if min(small.shape) < SMALLEST or min(picture.shape[1:]) < SMALLEST:
        return 0.0
    grey = picture.float().mean(0)
    return min(_worst(grey, small.rot90(k)) for k in range(4))


def _without_bars(x: Tensor) -> Tensor:
    """The part of (h, w) inside dark bars; all of it, where it is dark everywhere."""
    rows, columns = ((x > BAR).any(dim).nonzero().flatten() for dim in (1, 0))
    if not len(rows):
        return x
    return x[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _worst(picture: Tensor, preview: Tensor) -> float:
    """The RMS of the worst block; the bars that were taken off may have been the picture's own."""
    return min(_apart(_sized(x, *preview.shape), preview) for x in (picture, _without_bars(picture)))


def _sized(x: Tensor, h: int, w: int) -> Tensor:
    return F.interpolate(x[None, None], (h, w), mode="bilinear", antialias=True)[0, 0]


def _apart(a: Tensor, b: Tensor) -> float:
    a, b = (F.avg_pool2d(x[None, None], 3, 1, 1, count_include_pad=False)[0, 0] for x in (a, b))
    centred = a - a.mean()
    gain = (centred * (b - b.mean())).sum() / centred.square().sum().clamp_min(1e-6)
    gain = gain.clamp(0.5, 2.0)
    rest = (b - b.mean() - gain * centred).square()
    side = max(4, min(b.shape) // BLOCKS)
    return float(F.avg_pool2d(rest[None, None], side, max(1, side // 2)).max().sqrt())
