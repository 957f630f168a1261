"""How far an image is from being taken for a class: what model inversion makes small. Logits (n, classes) -> (n,)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Kind = Literal["cross-entropy", "margin", "poincare", "logit"]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Minus the logarithm of the class's probability; its gradient fades once the class is sure."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """By how much the likeliest other class is ahead (Yuan et al. 2023): goes on falling once the class is first."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.amax(1) - own[:, 0]


def logit(logits: Tensor, labels: Tensor) -> Tensor:
    """Minus the class's own logit (Nguyen et al. 2023)."""
    return -logits.gather(1, labels[:, None])[:, 0]


def poincare(logits: Tensor, labels: Tensor) -> Tensor:
    """Hyperbolic distance of the logits, with a sum of absolute values of 1, from the class (Struppek et al. 2022)."""
    u = logits / logits.abs().sum(1, keepdim=True).clamp_min(1e-12)
    v = F.one_hot(labels, logits.shape[1]).to(logits) * 0.9999  # the rim of the ball is infinitely far away
    apart = (u - v).square().sum(1)
    inside = (1 - u.square().sum(1)).clamp_min(1e-7) * (1 - v.square().sum(1))
    return torch.acosh(1 + 2 * apart / inside)


LOSSES: Mapping[Kind, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": cross_entropy,
    "margin": margin,
    "poincare": poincare,
    "logit": logit,
}
