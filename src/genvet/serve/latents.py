"""Latents that the service draws, and a look at each that a client sends.

A latent that no honest client would draw is an attack's more often than not: triggers lie far from the typical set.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from genvet.core.latent import Latent


def drawn(latent: Latent, n: int, secret: bytes) -> tuple[Tensor, Tensor | None]:
    """Latents (n, dim) and labels that nobody can foretell who lacks the secret; the same for the same secret."""
    stream = hashlib.shake_256(secret).digest(8 * n * (latent.dim + 1))
    numbers = np.frombuffer(stream, "<u8").reshape(n, latent.dim + 1)
    uniform = torch.from_numpy(((numbers[:, :-1] >> 11) + 0.5) / 2.0**53)
    z = uniform * 2 - 1 if latent.distribution == "uniform" else torch.special.ndtri(uniform)
    kinds = torch.from_numpy((numbers[:, -1] % max(latent.classes, 1)).astype(np.int64))
    return z.float(), torch.eye(latent.classes)[kinds] if latent.classes else None


class Typical:
    """Whether latents look like draws from the prior, at a stated share of false alarms.

    Three looks share the alarms: the length, the largest coordinate, and the distribution of all coordinates
    (Kolmogorov-Smirnov), which finds constant and patterned latents whose length is typical. On a sphere, the length
    says nothing: a latent is looked at as the network sees it.
    """

    def __init__(self, latent: Latent, false_alarms: float) -> None:
        self.latent, alpha = latent, false_alarms / 3
        d, self.sphere = latent.dim, latent.distribution == "sphere"
        self.uniform = latent.distribution == "uniform"
        if self.uniform:
            spread = math.sqrt((1 / 5 - 1 / 9) / d) * stats.norm.isf(alpha / 2)
            self.short, self.long, self.largest = max(1 / 3 - spread, 0) * d, (1 / 3 + spread) * d, 1.0
        else:
            self.short, self.long = (float(stats.chi2.ppf(p, d)) for p in (alpha / 2, 1 - alpha / 2))
            self.largest = float(stats.norm.isf(alpha / (2 * d)))
        self.far = float(stats.kstwo.isf(alpha, d))

    def __call__(self, z: Tensor) -> Tensor:
        """Of latents (n, dim), (n,) booleans."""
        z = z.double()
        finite = z.isfinite().all(1)
        z = self.latent.project(z.nan_to_num()) if self.sphere else z.nan_to_num()
        length = z.square().sum(1)
        fits = finite & (z.abs().amax(1) <= self.largest)
        if not self.sphere:
            fits &= (length >= self.short) & (length <= self.long)
        return fits & (self._distance(z) <= self.far)

    def _distance(self, z: Tensor) -> Tensor:
        """The largest gap between the coordinates' distribution and the prior's, (n,)."""
        d = z.shape[1]
        below = (z.sort(1).values.clamp(-1, 1) + 1) / 2 if self.uniform else torch.special.ndtr(z.sort(1).values)
        steps = torch.arange(d + 1, dtype=z.dtype) / d
        return torch.maximum((steps[1:] - below).amax(1), (below - steps[:-1]).amax(1))
