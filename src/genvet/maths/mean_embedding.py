"""Random Fourier features: images as points on a sphere, whose mean tells a distribution."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from genvet.core.rng import Rng


def frequencies(dim: int, features: int, widths: tuple[float, ...], rng: Rng) -> Tensor:
    """Of Gaussian kernels of these widths, an equal part each: (dim, features / 2)."""
    half = features // 2
    drawn = torch.randn(dim, half, generator=rng.fork("frequencies").block())
    scale = torch.tensor([widths[i % len(widths)] for i in range(half)])
    return drawn / scale


def embedded(x: Tensor, waves: Tensor) -> Tensor:
    """Each image by cosines and sines, (n, features); every one has norm 1, whatever it is.

    >>> waves = frequencies(16, 64, (2.0,), Rng(0))
    >>> embedded(torch.randn(3, 1, 4, 4), waves).norm(dim=1).allclose(torch.ones(3))
    True
    """
    turned = x.flatten(1) @ waves.to(x)
    return torch.cat([turned.cos(), turned.sin()], dim=1) / math.sqrt(waves.shape[1])


def gaussian_delta(epsilon: float, noise: float) -> float:
    """The exact delta of one sum with noise in units of what a record changes (Balle and Wang 2018, theorem 8)."""
    from scipy.special import log_ndtr, ndtr  # here, so that --help need not wait for it

    left = float(ndtr(0.5 / noise - epsilon * noise))
    return left - math.exp(min(epsilon + float(log_ndtr(-0.5 / noise - epsilon * noise)), 0.0))


def gaussian_epsilon(noise: float, delta: float) -> float:
    """The exact epsilon of one sum with this noise, at this delta.

    >>> noise = gaussian_noise(1.0, 1e-5)
    >>> round(noise, 2), round(gaussian_epsilon(noise, 1e-5), 6)
    (3.73, 1.0)
    """
    return _least(lambda epsilon: gaussian_delta(epsilon, noise) > delta)


def gaussian_noise(epsilon: float, delta: float) -> float:
    """The least noise that keeps one sum within epsilon at delta."""
    return _least(lambda noise: gaussian_delta(epsilon, noise) > delta)


def _least(falls_short: Callable[[float], bool]) -> float:
    """The least positive number that does not, of a test that larger ones pass."""
    low, high = 0.0, 1.0
    while falls_short(high):
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if falls_short(middle) else (low, middle)
    return high
