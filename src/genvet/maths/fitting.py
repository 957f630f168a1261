"""Bringing images to the square size that a network works at."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

NEARLY = 7 / 8
"""Of the wanted side: images that are no smaller are given a border, larger or smaller ones are resampled."""


def fitted(x: Tensor, side: int) -> Tensor:
    """Images (n, c, h, w) in [-1, 1] -> (n, c, side, side): the middle square, in the wanted size.

    Images that are nearly as large (28 pixels for 32) get a border that repeats their own, and lose no sharpness.
    """
    h, w = x.shape[2:]
    if h != w:
        short = min(h, w)
        top, left = (h - short) // 2, (w - short) // 2
        x = x[:, :, top : top + short, left : left + short]
    short = x.shape[2]
    if short == side:
        return x.contiguous()
    if NEARLY * side <= short < side:
        before, after = (side - short) // 2, side - short - (side - short) // 2
        return F.pad(x, (before, after, before, after), mode="replicate")
    return F.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)
