"""Where a style generator's w lies: its mean and its second moments over ordinary latents."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng

BATCH = 1024


@dataclass(frozen=True, eq=False)
class Moments:
    """Of w, in double precision on the CPU."""

    mean: Tensor
    """(w_dim,)."""
    second: Tensor
    """E[w w'], around zero and not around the mean: (w_dim, w_dim)."""

    @classmethod
    @torch.inference_mode()
    def of(cls, generator: StyleGenerator, n: int, rng: Rng, truncation: float = 1.0) -> Moments:
        """Over `n` ordinary latents, each w pulled towards the average by `truncation`."""
        size, on = generator.w_dim, generator.device
        total, squares = torch.zeros(size).double(), torch.zeros(size, size).double()
        for i, z in enumerate(generator.latent.batches(n, BATCH, rng)):
            labels = generator.labels_of(torch.arange(len(z)) + i * BATCH)
            w = generator.mapping(z.to(on), labels, truncation).double().cpu()
            total += w.sum(0)
            squares += w.T @ w
        return cls(total / n, squares / n)

    @property
    def covariance(self) -> Tensor:
        """Around the mean, (w_dim, w_dim)."""
        return self.second - torch.outer(self.mean, self.mean)

    @property
    def root(self) -> Tensor:
        """The symmetric root of the covariance: what standard normal numbers become in w."""
        values, vectors = torch.linalg.eigh(self.covariance)
        root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
        return root

    @property
    def spread(self) -> float:
        """The standard deviation of one number of w, in root mean square over all of them."""
        return float(self.covariance.diagonal().clamp_min(0).mean().sqrt())
