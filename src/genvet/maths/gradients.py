"""Whether gradients tell the truth: the kinds of masking, each measured on its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]
"""Latents (n, dim) -> one value each (n,)."""


@dataclass(frozen=True, eq=False)
class Masking:
    """At which points gradients lie, and how; (n,) bool each. The names are those of obfuscated gradients."""

    vanishing: Tensor
    """None at all, or so small that steps along it are lost in rounding."""
    exploding: Tensor
    """Not finite, or it promises over twice the change that a small step shows."""
    shattered: Tensor
    """A small step shows another change than promised, or a neighbour's gradient has another direction."""
    stochastic: Tensor
    """Twice the same point, two answers."""

    @property
    def any(self) -> Tensor:
        return self.vanishing | self.exploding | self.shattered | self.stochastic


def masking(loss: Loss, z: Tensor, aside: Tensor, reach: float = 0.02) -> Masking:
    """Compare gradients at z (n, dim) with themselves, with what small steps show, and with those a little `aside`.

    `aside` (n, dim) are directions of length 1. Each comparison is written so that what is not a number counts.
    """
    value, gradient = value_and_gradient(loss, z)
    again, other = value_and_gradient(loss, z)
    norm = gradient.norm(dim=1)
    scale = value.abs().clamp_min(1e-6)
    finite = norm.isfinite() & value.isfinite()
    vanishing = finite & (norm <= 1e-7 * scale)
    told = finite & ~vanishing
    stochastic = told & ~(((again - value).abs() <= 1e-3 * scale) & ((other - gradient).norm(dim=1) <= 1e-2 * norm))
    shown = _shown(loss, z, gradient, norm, reach)
    steady = told & ~stochastic
    _, near = value_and_gradient(loss, z + reach * aside)
    alike = torch.cosine_similarity(gradient, near, dim=1) > 0.5
    shattered = steady & ~(alike & (shown > 0) & (shown < 2))
    exploding = ~finite | (steady & ~shattered & (shown < 0.5))
    return Masking(vanishing, exploding, shattered, stochastic)


@torch.no_grad()
def _shown(loss: Loss, z: Tensor, gradient: Tensor, norm: Tensor, reach: float) -> Tensor:
    """The change along the gradient that a small step shows, as a share of the change that the gradient promises."""
    step = reach * gradient.nan_to_num(0.0, 0.0, 0.0) / norm.clamp_min(1e-30).nan_to_num(1.0)[:, None]
    return (loss(z + step) - loss(z - step)) / (2 * reach) / norm.clamp_min(1e-30)


def correlation(loss: Loss, z: Tensor, aside: Tensor, distance: float) -> Tensor:
    """Cosine between the gradients at z and so far aside, (n,); 0 where either is none."""
    here, there = (value_and_gradient(loss, at)[1].nan_to_num(0.0, 0.0, 0.0) for at in (z, z + distance * aside))
    return torch.cosine_similarity(here, there, dim=1)


def value_and_gradient(loss: Loss, z: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient as it is, even where it is not finite; 0 where the way from z to the value is cut."""
    with torch.enable_grad():
        free = z.detach().requires_grad_()
        value = loss(free)
        if not value.requires_grad:
            return value.detach(), torch.zeros_like(z)
        (gradient,) = torch.autograd.grad(value.sum(), free, allow_unused=True)
    return value.detach(), torch.zeros_like(z) if gradient is None else gradient
