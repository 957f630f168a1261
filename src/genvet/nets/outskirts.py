"""Latents that the prior never draws: the mode, far outside, subspaces. Honest generators treat like ones alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.report import Figure, Measure
from genvet.core.rng import Rng
from genvet.core.technique import Picture

FAR = (10.0, 100.0, 1000.0)
"""Every number of a far latent; the paper's is 100."""
OTHERS = 96
"""Latents whose signs are drawn: to a network of random weights, and to its prior, all signs are alike."""
SUBSETS = 8
RADII = (0.0, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1.0)


@dataclass(frozen=True, eq=False, kw_only=True)
class Outskirts:
    """What a generator does where it was never trained; signals of 0 where there is no such region."""

    mode: float
    """Disagreement with the students at z = 0, as a share of the mean squared distance of two samples."""
    far: float
    """How much less extreme the output of equal numbers is than those of others of its size: robust standard scores."""
    subspace: float
    """Natural logarithm of how much less outputs vary where the leading numbers are 0 than where others are."""
    x: Tensor
    """What the mode, and equal numbers far outside, give."""
    names: tuple[str, ...]
    profile: list[list[float]] = field(default_factory=list)

    def __str__(self) -> str:
        if not self.names:
            return "z and c z are one input to it: there is no mode, and nothing far."
        return f"At the mode they are {self.mode:.2f} such distances apart; far outside nothing was asked of them."

    def measures(self) -> tuple[Measure, ...]:
        gone = "" if self.names else "does not apply: z and c z are one input"
        return (
            Measure(name="mode", value=self.mode, unit="of the mean squared distance of two samples", note=gone),
            Measure(name="far", value=self.far, unit="robust standard scores", n=OTHERS, note=gone),
            Measure(name="subspace", value=self.subspace, unit="log variance", n=SUBSETS),
        )

    def figures(self) -> tuple[Figure | Picture, ...]:
        if not self.names:
            return ()
        data = {"series": {"disagreement": self.profile}, "x": "|z| / sqrt(dim)", "y": "sum of squares", "log": True}
        return (
            Picture("Where the prior never draws", self.x, self.names, columns=len(self.names)),
            Figure(kind="curve", title="Disagreement on the way from the mode", data=data),
        )


Disagree = Callable[[Tensor, Tensor], Tensor]


def outskirts(generator: Generator, disagree: Disagree, diversity: float, batch: int, rng: Rng) -> Outskirts:
    """Look at the mode, far outside and at subspaces. `disagree` takes latents and the numbers of their classes."""
    latent = generator.latent
    seen: dict[str, Any] = {"subspace": _subspace(generator, batch, rng.fork("subspace"))}
    if latent.distribution == "sphere":
        return Outskirts(mode=0.0, far=0.0, x=torch.empty(0, *generator.shape), names=(), **seen)
    radii, values = _profile(latent, disagree, rng.fork("profile"))
    special = torch.stack([torch.full((latent.dim,), v) for v in (0.0, *FAR)])
    return Outskirts(
        mode=values[0] / max(diversity, 1e-12),
        far=max(_far(generator, size, batch, rng.fork("far")) for size in FAR),
        x=_images(generator, special, batch),
        names=("mode", *(f"all {v:g}" for v in FAR)),
        profile=[radii, values],
        **seen,
    )


def _images(generator: Generator, z: Tensor, batch: int) -> Tensor:
    """All of one class, where there are classes."""
    with torch.no_grad():
        labels = [generator.labels_of(torch.zeros(len(some), dtype=torch.long)) for some in z.split(batch)]
        made = [generator(some.to(generator.device), y) for some, y in zip(z.split(batch), labels, strict=True)]
    return torch.cat(made).float().cpu()


def _profile(latent: Latent, disagree: Disagree, rng: Rng, ways: int = 16) -> tuple[list[float], list[float]]:
    """Radii as shares of sqrt(dim), and the median disagreement over directions."""
    away = latent.sample(0, ways, rng)
    away = away / away.norm(dim=1, keepdim=True).clamp_min(1e-12) * latent.dim**0.5
    zero = torch.zeros(ways, dtype=torch.long)
    return list(RADII), [float(disagree(r * away, zero).median()) for r in RADII]


def _far(generator: Generator, size: float, batch: int, rng: Rng) -> float:
    """How much nearer to the middle of the range, before the last squashing, equal numbers lead than drawn signs."""
    signs = torch.randint(0, 2, (OTHERS, generator.latent.dim), generator=rng.block()) * 2.0 - 1
    z = torch.cat([torch.ones(1, generator.latent.dim), signs]) * size
    x = _images(generator, z, batch).flatten(1).nan_to_num()
    depth = torch.atanh(x.clamp(-1 + 1e-7, 1 - 1e-7)).abs().mean(1)
    own, others = depth[0], depth[1:]
    spread = 1.4826 * (others - others.median()).abs().median()
    return float((others.median() - own) / spread.clamp_min(0.1))  # all may be as extreme as numbers can be


def _subspace(generator: Generator, batch: int, rng: Rng, draws: int = 32) -> float:
    """The most over shares of z: how far below others' the spread of outputs falls where the leading numbers are 0."""
    dim, found = generator.latent.dim, [0.0]
    z = generator.latent.sample(0, draws, rng.fork("draws"))
    for count in sorted({dim // 4, dim // 2, 3 * dim // 4} - {0}):
        spread = []
        for i in range(SUBSETS + 1):
            order = torch.randperm(dim, generator=rng.fork("subsets").block(i))
            gone = torch.arange(count) if i == 0 else order[:count]
            spread.append(float(_images(generator, z.index_fill(1, gone, 0.0), batch).flatten(1).var(0).sum()))
        logs = torch.tensor(spread).clamp_min(1e-9).log()
        found.append(float(logs[1:].median() - logs[0]))
    return max(found)
