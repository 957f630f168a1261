"""Collapse: does the generator give one and the same output again and again, apart from everything else it gives?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.generator import Generator
from genvet.core.progress import track
from genvet.core.report import Figure, Measure
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Picture, Probe, Result
from genvet.maths.statistics import clopper_pearson
from genvet.nets.fast import Sampler, affordable, batch_size, folded, price, redraw, stream
from genvet.nets.random_features import NAME, random_features

LEAST = 64
"""Fewer samples have no neighbourhoods to compare."""
CLOSE = 1e-3
"""Distances below this share of the ordinary one count as it: copies, to the last bit, are not infinitely dense."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Repeated(Result):
    """The densest neighbourhood among ordinary samples."""

    radius: Tensor
    """Of every sample, the distance to its k-th nearest neighbour: (n,)."""
    members: int
    """Samples within half the ordinary radius of the densest one, itself among them."""
    cluster: Tensor
    """The densest sample and those nearest to it."""
    ordinary: Tensor
    """As many of the first samples."""
    neighbours: int

    @property
    def density(self) -> float:
        """How many times nearer the densest sample has its neighbours than the median sample has."""
        ordinary = float(self.radius.median())
        return ordinary / max(float(self.radius.min()), CLOSE * ordinary) if ordinary > 0 else 1 / CLOSE

    def summary(self) -> str:
        n = len(self.radius)
        said = f"Of {n:,} samples, the densest has its {self.neighbours} nearest {self.density:.2g} times as near as"
        return f"{said} an ordinary one; {self.members / n:.1%} lie within half an ordinary distance of it."

    def measures(self) -> tuple[Measure, ...]:
        n = len(self.radius)
        low, high = clopper_pearson(self.members, n)
        return (
            Measure(name="density", value=self.density, n=n, note=f"distances in {NAME}"),
            Measure(name="share", value=self.members / n, unit="share of samples", low=low, high=high, n=n),
        )

    def figures(self) -> tuple[Figure | Picture, ...]:
        radius = self.radius / self.radius.median().clamp_min(1e-12)
        counts, edges = torch.histogram(radius, 40)
        data = {"counts": counts.tolist(), "edges": edges.tolist()}
        caption = "The sample whose neighbours are nearest, and these; then as many ordinary samples."
        return (
            Picture("What comes again and again", torch.cat([self.cluster, self.ordinary]), caption=caption),
            Figure(kind="histogram", title="Distances to neighbours, as shares of the median one", data=data),
        )

    @property
    def queries(self) -> int:
        return len(self.radius)


class Collapse(Probe):
    """Looks for outputs that come again and again, as poisoned data leave them: a mode that stands apart."""

    source: ClassVar[str] = "Devil in the GAN, section III-B, BF-OI; section IV-A (data poisoning), without a target"
    smoke: ClassVar[dict[str, Any]] = {"samples": 64}
    depths: ClassVar[dict[str, dict[str, Any] | None]] = {"quick": {"samples": 1024}, "deep": {"samples": 16_384}}
    signals: ClassVar[dict[str, str]] = {"density": "some outputs come again and again, nearly the same"}

    samples: int = Field(default=4096, ge=LEAST, le=65_536)
    """How many are drawn and compared with one another."""
    operations: float = Field(default=2e13, gt=0)
    """Fewer are drawn where they would cost more floating-point operations; under 64, none are."""
    share: float = Field(default=0.005, gt=0, le=0.5)
    """Of the samples, how many are the neighbours whose distance is measured."""

    def __call__(self, target: Generator, given: Nothing, rng: Rng) -> Repeated:
        cost = price(target)
        n = min(self.samples, affordable(cost, self.operations, LEAST))
        draws, batch = rng.fork("samples"), batch_size(cost)
        exactly = Sampler(folded(target), torch.float32, 0.0)  # what bf16 is off by would hide copies
        passing = track(stream(exactly, n, draws, batch), -(-n // batch), "samples")
        rows = torch.cat([random_features(x.nan_to_num()) for _, x in passing])
        neighbours = max(2, round(self.share * n))
        parts = [torch.cdist(some, rows).kthvalue(neighbours + 1, 1).values for some in rows.split(512)]
        radius = torch.cat(parts)
        densest = int(radius.argmin())
        order = torch.cdist(rows[densest : densest + 1], rows)[0].sort(stable=True)
        shown = min(16, neighbours)
        return Repeated(
            radius=radius,
            members=int((order.values <= radius.median() / 2).sum()),
            cluster=redraw(target, order.indices[:shown].tolist(), draws, min(16, batch)),
            ordinary=redraw(target, range(shown), draws, min(16, batch)),
            neighbours=neighbours,
        )
