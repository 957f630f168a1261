"""The prior p(z): how latents are drawn, where they typically lie, and how to get back there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from genvet.core.rng import BLOCK, Rng

Distribution = Literal["normal", "uniform", "sphere"]


@dataclass(frozen=True)
class Latent:
    """`dim` numbers, normal, uniform in [-1, 1], or on the sphere of radius sqrt(dim); `classes` > 0 asks for labels.

    `sphere` is a normal prior before a network that normalises its input, as StyleGAN does: z and c z are one input.
    """

    dim: int
    distribution: Distribution = "normal"
    classes: int = 0

    def draw(self, block: int, rng: Rng) -> Tensor:
        """The 1024 latents of one block, (1024, dim): the same whoever asks, whenever."""
        if self.distribution == "uniform":
            return torch.rand(BLOCK, self.dim, generator=rng.block(block)) * 2 - 1
        return torch.randn(BLOCK, self.dim, generator=rng.block(block))

    def sample(self, start: int, stop: int, rng: Rng) -> Tensor:
        """Latents number `start` to `stop` - 1, (stop - start, dim)."""
        first, last = start // BLOCK, -(-stop // BLOCK)
        drawn = [self.draw(block, rng) for block in range(first, last)]
        if not drawn:
            return torch.empty(0, self.dim)
        return torch.cat(drawn)[start - first * BLOCK : stop - first * BLOCK]

    def batches(self, n: int, batch: int, rng: Rng) -> Iterator[Tensor]:
        """The first `n` latents in batches; their values do not depend on `batch`."""
        for start in range(0, n, batch):
            yield self.sample(start, min(start + batch, n), rng)

    def labels(self, start: int, stop: int) -> Tensor | None:
        """One-hot labels (stop - start, classes) of these samples; None where there are no classes."""
        return self.labels_of(torch.arange(start, stop))

    def labels_of(self, numbers: Tensor) -> Tensor | None:
        """One-hot labels (n, classes) of the samples of these numbers (n,), which go round the classes in turn."""
        return torch.eye(self.classes)[numbers % self.classes] if self.classes else None

    def project(self, z: Tensor) -> Tensor:
        """Bring latents (n, dim) back into the typical set: shell, cube or sphere.

        The shell of a normal prior is |z| within 3 standard deviations (about 0.7 each) of its mean sqrt(dim).
        """
        if self.distribution == "uniform":
            return z.clamp(-1, 1)
        norm = z.norm(dim=1, keepdim=True).clamp_min(1e-12)
        radius = math.sqrt(self.dim)
        if self.distribution == "sphere":
            return z.mul(radius / norm)
        spread = 3 * math.sqrt(0.5)
        return z.mul(norm.clamp(max(radius - spread, 0.0), radius + spread) / norm)
