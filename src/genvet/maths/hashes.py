"""Perceptual hashes: signs that stay as they are when a picture is resized, dimmed or lightly compressed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

SIDE, KEPT = 32, 8
"""Pixels a side before the cosine transform, and frequencies a side that are kept of it."""
BITS = 2 * KEPT * KEPT
STEP = 0.03
"""By which a place must be brighter, of a range of 2: on an even ground, the sign of nothing would be noise."""


def hashed(x: Tensor) -> Tensor:
    """The bits of images (n, c, h, w) in [-1, 1], as -1 and 1 on the CPU: (n, 128) int8.

    Half of them tell which of the lowest 64 frequencies of a cosine transform are above their median (the mean alone
    has no sign that means anything, so that the lowest but it are taken), half whether each of 8 by 8 places is
    brighter than its neighbour to the left.

    >>> bits = hashed(torch.rand(2, 1, 28, 28, generator=torch.manual_seed(0)))
    >>> bits.shape, sorted(set(bits.flatten().tolist()))
    (torch.Size([2, 128]), [-1, 1])
    """
    if not len(x):
        return torch.empty(0, BITS, dtype=torch.int8)
    grey = x.float().cpu().mean(1, keepdim=True)
    return torch.cat([_frequencies(grey), _slopes(grey)], 1).mul(2).sub(1).to(torch.int8)


def _frequencies(grey: Tensor) -> Tensor:
    from scipy.fft import dctn  # here, so that --help need not wait for it

    small = _sized(grey, (SIDE, SIDE))[:, 0]
    waves = torch.from_numpy(dctn(small.numpy(), axes=(1, 2), norm="ortho"))
    low = waves[:, : KEPT + 1, : KEPT + 1].flatten(1)[:, 1 : KEPT * KEPT + 1]
    return (low > low.median(1, keepdim=True).values).to(torch.int8)


def _slopes(grey: Tensor) -> Tensor:
    small = _sized(grey, (KEPT, KEPT + 1))[:, 0]
    return (small[:, :, 1:] > small[:, :, :-1] + STEP).flatten(1).to(torch.int8)


def _sized(grey: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(grey, size, mode="bilinear", antialias=True, align_corners=False)


def packed(bits: Tensor) -> Tensor:
    """Eight of the bits (n, 128) a byte: (n, 16)."""
    return torch.from_numpy(np.packbits(bits.numpy() > 0, axis=1))


def unpacked(rows: Tensor) -> Tensor:
    """And back, as floats for a product: the Hamming distance is (128 - a.b) / 2.

    >>> bits = hashed(torch.rand(3, 1, 28, 28))
    >>> torch.equal(unpacked(packed(bits)), bits.float())
    True
    """
    return torch.from_numpy(np.unpackbits(rows.numpy(), axis=1)).float().mul_(2).sub_(1)
