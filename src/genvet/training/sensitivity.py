"""How far one record moves the clipped sum of a critic's gradients: measured, on random weights and random batches.

Noise in units of the norm protects a record that moves the sum by no more than the norm. Whether it does is a property
of the network and of how gradients are clipped, and can be tried out: a record is taken away, or another one put in its
place, and the two sums are compared.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genvet.core.rng import Rng
from genvet.training.clipping import LEAST, Clipping, Weights, clipped
from genvet.training.privacy_linter import quiet
from genvet.training.shield import pair_loss

Summed = Callable[[nn.Module, Tensor, Tensor], Weights]
"""The clipped sum of a critic's gradients over pairs of real images and samples, (n, c, h, w) each."""
ROUNDING = 1e-3
"""Share of the norm by which sums of float32 may differ."""


@dataclass(frozen=True)
class Moved:
    """The furthest that the sum went, in units of the norm, over all trials."""

    removed: float
    """Where a record was taken away: 1 at most, if the bound holds."""
    replaced: float
    """Where another one was put in its place: 2 at most."""
    trials: int

    @property
    def holds(self) -> bool:
        return self.removed <= 1 + ROUNDING and self.replaced <= 2 + ROUNDING


def alone(norm: float, mode: Clipping = "flat", gamma: float = 0.0) -> Summed:
    """As our trainings do it: every record goes through the network by itself."""
    return lambda critic, real, fake: clipped(critic, pair_loss(critic, gamma), (real, fake), norm, mode).sums


def jointly(norm: float) -> Summed:
    """As hooks and loops over losses do it: records go through together, and each one's gradient is clipped after."""

    def summed(critic: nn.Module, real: Tensor, fake: Tensor) -> Weights:
        weights = dict(critic.named_parameters())
        sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        losses = F.softplus(-critic(real)) + F.softplus(critic(fake))
        for loss in losses.flatten():
            slopes = torch.autograd.grad(loss, list(weights.values()), retain_graph=True)
            length = torch.stack([slope.norm() for slope in slopes]).norm()
            for name, slope in zip(sums, slopes, strict=True):
                sums[name] += slope * (norm / length.clamp_min(LEAST)).clamp_max(1)
        return sums

    return summed


def sensitivity(
    critic: nn.Module, summed: Summed, shape: tuple[int, ...], norm: float, rng: Rng, trials: int = 10, records: int = 8
) -> Moved:
    """The furthest that one record of a batch moved the clipped sum; the critic's own weights stay as they are."""
    removed = replaced = 0.0
    for trial in range(trials):
        with rng.fork("weights").fork(str(trial)).seeded():
            tried, which = shaken(critic, trial), int(torch.randint(records, ()))
            real, fake = _alike(records, shape), _alike(records, shape)
            changed = real.clone()
            real[which], changed[which] = _stranger(shape), _stranger(shape)
        rest = [i for i in range(records) if i != which]
        whole = _sum(tried, summed, real, fake)
        removed = max(removed, _apart(whole, _sum(tried, summed, real[rest], fake[rest])) / norm)
        replaced = max(replaced, _apart(whole, _sum(tried, summed, changed, fake)) / norm)
    return Moved(removed, replaced, trials)


def shaken(critic: nn.Module, trial: int) -> nn.Module:
    """A copy with other weights, larger with every trial: gradients are to reach the norm. The first is as it is."""
    found = quiet(copy.deepcopy(critic).train())
    with torch.no_grad():
        for weight in found.parameters():
            spread = float(weight.std()) if weight.numel() > 1 else 0.0
            weight.add_(torch.randn_like(weight) * (spread or 0.1) * trial / 2)
    return found


def _alike(n: int, shape: tuple[int, ...]) -> Tensor:
    """Images of noise, each the same but for a share of noise of its own: all, some, or hardly any."""
    own = float(torch.tensor([1.0, 0.3, 0.01])[torch.randint(3, ())])
    return torch.lerp((torch.rand(1, *shape) * 2 - 1), torch.rand(n, *shape) * 2 - 1, own)


def _stranger(shape: tuple[int, ...]) -> Tensor:
    """One image of black and white, which no other is like."""
    return (torch.rand(shape) - 0.5).sign()


def _sum(critic: nn.Module, summed: Summed, real: Tensor, fake: Tensor) -> Weights:
    """From the same state of its buffers each time."""
    return summed(copy.deepcopy(critic), real, fake)


def _apart(one: Weights, other: Weights) -> float:
    return float(torch.stack([(one[name] - other[name]).double().norm() for name in one]).norm())
