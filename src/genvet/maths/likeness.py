"""How far samples are from targets: value by value, and whatever shift, contrast and brightness lie between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.maths.distances import squared_distances

Distance = Callable[[Tensor, Tensor], Tensor]
"""Samples (n, *shape), and as many targets or one: (n,)."""
REACH = 8
"""Shifts of up to an eighth of a side are tried."""
SOFT = 0.03
"""Of correlations: so wide is the maximum over shifts that a search follows. A sharp one leaves searches at the shift
where they began; of twelve, two found a moved target, and ten of twelve with this."""


@dataclass(frozen=True)
class Likeness:
    """A distance to search by, and what it comes to, as a sum of squares over `values` numbers."""

    name: str
    search: Distance
    """Differentiable."""
    exact: Distance
    values: int

    def pairs(self, x: Tensor, t: Tensor) -> Tensor:
        """From each of n samples to each of m targets: (n, m)."""
        if self.search is square:
            return squared_distances(x.flatten(1), t.flatten(1))
        return torch.stack([self.exact(x, one[None]) for one in t], 1)


def square(x: Tensor, t: Tensor) -> Tensor:
    """Sums of squares, as the paper's ReconD."""
    return (x - t).square().flatten(1).sum(1)


def aligned(x: Tensor, t: Tensor) -> Tensor:
    """What is left of the target's squares once the sample is shifted, stretched and brightened to fit it: (n,).

    >>> t = torch.zeros(1, 1, 16, 16); t[..., 4:9, 5:7] = 1
    >>> bool(aligned(0.5 * t.roll((2, -1), (2, 3)) - 0.3, t) < 1e-4)
    True
    """
    centred = t - t.mean(list(range(2, t.ndim)), keepdim=True)
    correlation = _correlations(x, t).amax(1).clamp(0, 1)
    return centred.square().flatten(1).sum(1) * (1 - correlation.square())


def softly_aligned(x: Tensor, t: Tensor) -> Tensor:
    """The squared distance of samples of norm 1, by a soft minimum over shifts: (n,)."""
    correlations = _correlations(x, t)
    mean = (correlations / SOFT).logsumexp(1) - torch.tensor(float(correlations.shape[1])).log()
    return 2 - 2 * SOFT * mean


def _correlations(x: Tensor, t: Tensor) -> Tensor:
    """Of samples and targets, for every shift within reach: (n, shifts)."""
    axes = list(range(2, x.ndim))
    product = _spectrum(x.float(), axes) * _spectrum(t.float(), axes).conj()
    every: Tensor = torch.fft.irfftn(product.sum(1), s=x.shape[2:], norm="forward")
    for axis, side in enumerate(x.shape[2:], 1):
        reach = side // REACH
        every = every.roll(reach, axis).narrow(axis, 0, 2 * reach + 1)
    return every.flatten(1)


def _spectrum(x: Tensor, axes: list[int]) -> Tensor:
    """Of samples with no mean and of norm 1, so that products of two transform back to correlations."""
    x = x - x.mean(axes, keepdim=True)
    norm = x.flatten(1).norm(dim=1).clamp_min(1e-3 * x[0].numel() ** 0.5)
    x = x / norm.view(-1, *[1] * (x.ndim - 1))
    strength: Tensor = torch.fft.rfftn(x, dim=axes, norm="ortho")
    return strength
