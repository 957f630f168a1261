"""The last squashing function undone: the values before it for which it gives an image."""

from __future__ import annotations

import torch
from torch import Tensor

REACH = 0.999
"""Targets are drawn this little towards 0, as the backdoor paper does it: arctanh(1) is infinite."""


def before_tanh(x: Tensor) -> Tensor:
    """The a with tanh(a) = 0.999 x, for x in [-1, 1]."""
    return torch.atanh(REACH * x.double()).to(x.dtype)


def before_sigmoid(x: Tensor) -> Tensor:
    """The a with 2 sigmoid(a) - 1 = 0.999 x, for x in [-1, 1]: twice that before a tanh."""
    return 2 * before_tanh(x)


def floor(x: Tensor) -> Tensor:
    """The target distortion that a perfect attack on images x (n, ...) still has: 1e-6 times the sum of squares, (n,).

    >>> round(float(floor(torch.ones(1, 3, 32, 32))), 4)  # CIFAR-10: the paper's 0.0029 and 0.0030 are this
    0.0031
    """
    return (1 - REACH) ** 2 * x.double().square().flatten(1).sum(1)
