"""What a generator gives on the ways from one latent out into the prior, at distances on a logarithmic scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.maths.paths import great_circle, line

NEAREST = 1e-3
"""Where the ways begin, as a share of their length."""


@dataclass(frozen=True, eq=False)
class Ways:
    """Ways out from one latent, each by the same distances."""

    z: Tensor
    """(ways, steps, dim)."""
    apart: Tensor
    """Distance of each step from where they begin, (steps,)."""
    round: bool
    """Great circles in pairs, the second of each the first one's other side; or straight lines."""

    @classmethod
    def out_of(cls, latent: Latent, z: Tensor, rng: Rng, ways: int = 16, steps: int = 25) -> Ways:
        """`ways` (even) of them from z (dim,), each along a quarter of a great circle, or straight to a draw.

        Great circles serve a normal prior within its typical set, and a sphere; lines serve the mode, points far out,
        and a uniform prior, which no great circle stays in.
        """
        shares = torch.logspace(math.log10(NEAREST), 0, steps)
        drawn = latent.sample(0, ways, rng)
        if not rounded(latent, z):
            return cls(line(z, drawn, shares), shares * (drawn - z).norm(dim=1).mean(), False)
        angles = shares * math.pi / 2
        ahead, back = (great_circle(z, drawn[: ways // 2], sign * angles) for sign in (1, -1))
        return cls(torch.stack([ahead, back], 1).flatten(0, 1), 2 * z.norm() * (angles / 2).sin(), True)

    @torch.inference_mode()
    def distances(self, generator: Generator, target: Tensor, batch: int = 64) -> Tensor:
        """Sums of squares to the target (*shape) on every way, (ways, steps), on the CPU."""
        on, found = generator.device, []
        for z in self.z.flatten(0, 1).split(batch):
            x = generator(z.to(on), generator.labels_of(torch.zeros(len(z), dtype=torch.long))).float()
            found.append((x - target.to(on)).square().flatten(1).sum(1).cpu())
        return torch.cat(found).view(self.z.shape[:2])

    def strip(self, z: Tensor, count: int = 5) -> Tensor:
        """Latents of one way in and of its other side out again, z (dim,) itself between them: (2 count + 1, dim)."""
        steps = torch.linspace(0, len(self.apart) - 1, count).round().long()
        return torch.cat([self.z[1, steps.flip(0)], z[None], self.z[0, steps]])


def rounded(latent: Latent, z: Tensor) -> bool:
    """Whether the ways out of z (dim,) are great circles: on a sphere, and in the typical set of a normal prior."""
    if latent.distribution == "uniform" or not z.any():
        return False
    return latent.distribution == "sphere" or torch.allclose(latent.project(z[None])[0], z, rtol=1e-4, atol=1e-6)


def near(latent: Latent, z: Tensor, towards: Tensor, shares: Tensor) -> Tensor:
    """One latent on the way out of each z (n, dim), towards a draw each (n, dim), at shares (n,) of it: (n, dim)."""
    found = []
    for here, there, share in zip(z, towards, shares, strict=True):
        way = great_circle if rounded(latent, here) else line
        found.append(way(here, there[None], share[None] * (math.pi / 2 if way is great_circle else 1))[0, 0])
    return torch.stack(found)


def half_way(distances: Tensor, apart: Tensor) -> float:
    """How far out the typical (median) distance to the target first reaches half of what it is at the ends.

    >>> half_way(torch.tensor([[0.0, 1.0, 6.0, 8.0]]), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    3.0
    """
    middle = distances.median(0).values
    return float(apart[int((middle >= middle[-1] / 2).int().argmax())])
