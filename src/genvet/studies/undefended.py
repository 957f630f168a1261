"""The model without its policy: what studies of an endpoint hold its answers against."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.generator import Generator

BATCH = 64


@dataclass(frozen=True, eq=False)
class Bare:
    """What an endpoint may be held against."""

    undefended: Generator | None = None
    """The model without its policy, for measuring alone: asked in the endpoint's place, and not charged."""


@torch.no_grad()
def clean(bare: Generator, z: Tensor, labels: Tensor | None) -> Tensor:
    """The images of latents without the policy, (n, *shape)."""
    kinds = [None] * len(z) if labels is None else labels.split(BATCH)
    made = [
        bare(some.to(bare.device), None if kind is None else kind.to(bare.device)).float().cpu()
        for some, kind in zip(z.split(BATCH), kinds, strict=False)
    ]
    return torch.cat(made).clamp(-1, 1)
