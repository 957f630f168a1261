"""Searching latents by gradient: every row on its own, many rows at once; and whether gradients can be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]
"""Latents (n, dim) -> one value each (n,)."""


@dataclass(frozen=True, eq=False)
class Descent:
    """The best point of every row, its value, and the values on the way."""

    z: Tensor
    value: Tensor
    path: Tensor
    """(steps + 1, n)."""


def descend(loss: Loss, z: Tensor, steps: int, rate: Tensor, project: Callable[[Tensor], Tensor]) -> Descent:
    """Adam on each row of z (n, dim) with a step size of its own, rate (n, 1), falling as a cosine; then projected.

    A row never depends on the others, so that it makes no difference which rows share a batch.
    """
    z, first, second = z.clone(), torch.zeros_like(z), torch.zeros_like(z)
    best, best_z, path = torch.full((len(z),), torch.inf, device=z.device), z.clone(), []
    for step in range(steps + 1):
        value, gradient = _value_and_gradient(loss, z)
        path.append(value)
        better = value < best
        best, best_z = torch.where(better, value, best), torch.where(better[:, None], z, best_z)
        if step < steps:
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient.square()
            scale = (1 - 0.999 ** (step + 1)) ** 0.5 / (1 - 0.9 ** (step + 1))
            cosine = 0.525 + 0.475 * math.cos(math.pi * step / steps)
            z = project(z - rate * cosine * scale * first / (second.sqrt() + 1e-8))
    return Descent(best_z, best, torch.stack(path))


def masked(loss: Loss, z: Tensor, reach: float = 0.02) -> Tensor:
    """Which rows have gradients that lie: none, not finite, random, or far from what a small step shows; (n,) bool.

    The names are those of obfuscated gradients: vanishing, exploding, stochastic, shattered.
    """
    value, gradient = _value_and_gradient(loss, z)
    norm = gradient.norm(dim=1, keepdim=True)
    step = reach * gradient / norm.clamp_min(1e-30)
    with torch.no_grad():
        again, ahead, behind = loss(z), loss(z + step), loss(z - step)
    shown = (ahead - behind) / (2 * reach) / norm.squeeze(1).clamp_min(1e-30)
    scale = value.abs().clamp_min(1e-6)
    vanishing = norm.squeeze(1) <= 1e-7 * scale
    stochastic = (again - value).abs() > 1e-3 * scale
    # Written so that what is not a number counts as masked.
    lies: Tensor = vanishing | stochastic | ~((shown > 0.5) & (shown < 2))
    return lies


def _value_and_gradient(loss: Loss, z: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        free = z.detach().requires_grad_()
        value = loss(free)
        if not value.requires_grad:  # the way from z to x is cut
            return value.detach(), torch.zeros_like(z)
        (gradient,) = torch.autograd.grad(value.sum(), free)
    return value.detach(), gradient.nan_to_num(0.0, 0.0, 0.0)
