"""How much two descriptions of the same samples depend on one another, by kernels (HSIC); gradients pass."""

from __future__ import annotations

import torch
from torch import Tensor

WIDTH = 5.0
"""Of the Gaussian kernel, times the root of the number of dimensions (Ma et al. 2020, The HSIC bottleneck)."""
RIDGE = 1e-5
"""Added to a kernel's eigenvalues, times the number of samples."""


def gaussian(x: Tensor, width: float = WIDTH) -> Tensor:
    """The kernel of samples (n, ...) among one another: (n, n)."""
    rows = x.flatten(1)
    norms = rows.square().sum(1)
    squared = (norms[:, None] + norms[None] - 2 * rows @ rows.T).clamp_min(0)
    return (-squared / (2 * width * width * rows.shape[1])).exp()


def linear(x: Tensor) -> Tensor:
    """The kernel of inner products, for labels as rows of 0 and 1: (n, n)."""
    rows = x.flatten(1)
    return rows @ rows.T


def dependency(first: Tensor, second: Tensor) -> Tensor:
    """The normalised HSIC of two kernels of the same samples: 0 where they are independent, n - 1 at most.

    Fukumizu et al. 2007: the trace of K (K + n e)^-1 L (L + n e)^-1, both centred.

    >>> x = torch.eye(4)
    >>> bool(dependency(linear(x), linear(x)) > 2.9), float(dependency(linear(x), torch.ones(4, 4)))
    (True, 0.0)
    """
    return (_whitened(first) * _whitened(second)).sum()


def _whitened(kernel: Tensor) -> Tensor:
    """A centred kernel whose large eigenvalues are near 1, and whose small ones are near 0."""
    n = len(kernel)
    centred = kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()
    ridge = RIDGE * n * torch.eye(n, device=kernel.device, dtype=kernel.dtype)
    whitened: Tensor = torch.linalg.solve(centred + ridge, centred)
    return whitened
