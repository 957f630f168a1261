"""How far the colours of two sets of images are from each other, whatever is to be seen in them."""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 8
"""Of each channel."""


def colour_distance(a: Tensor, b: Tensor) -> float:
    """Total variation between the colours of all pixels of two sets (n, c, h, w) in [-1, 1]: 0 same, 1 none shared.

    >>> black, white = torch.full((2, 3, 4, 4), -1.0), torch.ones(5, 3, 4, 4)
    >>> colour_distance(black, white), colour_distance(black, black[:1])
    (1.0, 0.0)
    """
    return float((_histogram(a) - _histogram(b)).abs().sum() / 2)


def _histogram(x: Tensor) -> Tensor:
    """Shares of the pixels by colour, (BINS ** c,): channels taken together."""
    levels = ((x.float().clamp(-1, 1) + 1) / 2 * BINS).long().clamp_max(BINS - 1)
    place = BINS ** torch.arange(x.shape[1], device=x.device)
    colour = (levels * place[:, None, None]).sum(1).flatten()
    return torch.bincount(colour, minlength=int(BINS ** x.shape[1])).double() / colour.numel()
