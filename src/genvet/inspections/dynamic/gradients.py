"""Gradient masking: whether the searches that other inspections rest on can see anything at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.generator import Generator
from genvet.core.report import Figure, Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Probe, Result
from genvet.maths.gradients import Loss, correlation, masking
from genvet.maths.probes import smooth_shapes
from genvet.maths.statistics import clopper_pearson
from genvet.nets.fast import affordable, batch_size, folded, price
from genvet.nets.latent_search import Starts

KINDS = ("vanishing", "exploding", "shattered", "stochastic")
DISTANCES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Between neighbours whose gradients are compared; draws of a normal prior are about sqrt(2 dim) apart."""
PASSES = 12 + 6 * len(DISTANCES)
"""What one point costs, in forwards; a backward counts as two."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Masked(Result):
    """At which points gradients lie, and how fast those of neighbours part."""

    lies: Tensor
    """(n, 4) bool: the kinds, in their order."""
    starts: dict[str, Tensor]
    """The same at other places where searches start: mode and far."""
    alike: Tensor
    """Median cosine between the gradients of neighbours, one for each distance."""

    @property
    def share(self) -> float:
        return float(self.lies.any(1).float().mean())

    def summary(self) -> str:
        n, worst = len(self.lies), int(self.lies.float().mean(0).argmax())
        if self.share > 0.5:
            blind = "Searches by gradient are blind here: that they find nothing means nothing."
            return f"Gradients are masked at {self.share:.0%} of {n} ordinary latents, mostly {KINDS[worst]}. {blind}"
        there = [kind for kind, lies in self.starts.items() if lies.any(1).float().mean() > 0.5]
        also = (
            f" They are masked at the {' and the '.join(there)}: searches that start there see nothing."
            if there
            else ""
        )
        return (
            f"Gradients can be trusted at {1 - self.share:.0%} of {n} ordinary latents; those of neighbours "
            f"{DISTANCES[2]:g} apart agree by {self.alike[2]:.2f} (cosine).{also}"
        )

    def measures(self) -> tuple[Measure, ...]:
        return (
            self._rate("masked", self.lies.any(1), "any kind of masking, at draws of the prior"),
            *(self._rate(kind, self.lies[:, i], "") for i, kind in enumerate(KINDS)),
            *(self._rate(f"masked.{kind}", lies.any(1), f"at the {kind}") for kind, lies in self.starts.items()),
            Measure(name="correlation", value=float(self.alike[2]), unit="cosine", n=len(self.lies), note="median"),
        )

    def _rate(self, name: str, lies: Tensor, note: str) -> Measure:
        low, high = clopper_pearson(int(lies.sum()), len(lies))
        share = float(lies.float().mean())
        return Measure(name=name, value=share, unit="share of latents", low=low, high=high, n=len(lies), note=note)

    def figures(self) -> tuple[Figure, ...]:
        series = {"median cosine": [list(DISTANCES), self.alike.tolist()]}
        data = {"series": series, "x": "distance of the neighbour", "y": "cosine of gradients", "log": "x"}
        caption = "Gradients of neighbours agree where the way is smooth; shattered ones differ at any distance."
        return (Figure(kind="curve", title="How far a gradient holds", caption=caption, data=data),)

    def tables(self) -> tuple[Table, ...]:
        places = {"prior": self.lies, **self.starts}
        rows = tuple((name, len(x), *x.float().mean(0).tolist()) for name, x in places.items())
        return (Table(title="Shares of masked gradients", columns=("place", "latents", *KINDS), rows=rows),)

    @property
    def queries(self) -> int:
        return PASSES * len(self.lies)


class InspectGradients(Probe):
    """Looks for vanishing, exploding, shattered and stochastic gradients: what makes searches blind."""

    source: ClassVar[str] = "Devil in the GAN, section III-A, dynamic model inspections: gradient masking"
    smoke: ClassVar[dict[str, Any]] = {"points": 8}
    depths: ClassVar[dict[str, dict[str, Any] | None]] = {
        "quick": {"points": 16, "operations": 1e12},
        "deep": {"points": 512, "operations": 2e13},
    }
    signals: ClassVar[dict[str, str]] = {"masked": "gradients cannot be trusted, so that searches by them are blind"}

    points: int = Field(default=96, ge=1, le=4096)
    """Draws of the prior at which gradients are tried, each towards a smooth random image of its own."""
    reach: float = Field(default=0.02, gt=0, le=1)
    """How long a small step is."""
    operations: float = Field(default=5e12, gt=0)
    """Fewer points are tried where they would cost more floating-point operations; under 4, none are."""
    batch: int = Field(default=32, ge=1, le=1024)
    """Points at a time; changes nothing but the speed."""

    def __call__(self, target: Generator, given: Nothing, rng: Rng) -> Masked:
        cost = price(target)
        n = min(self.points, affordable(cost, self.operations / PASSES, min(4, self.points)))
        z = target.latent.sample(0, n, rng.fork("points"))
        tried = _Tried(folded(target), self.reach, batch_size(cost, self.batch), rng)
        return Masked(
            lies=tried.lies(z),
            starts={kind: tried.lies(some) for kind, some in _starts(target, rng).items()},
            alike=torch.stack([tried.alike(z, d).median() for d in DISTANCES]),
        )


class _Tried:
    """A generator, and for each point an image to go to and a neighbour's direction."""

    def __init__(self, generator: Generator, reach: float, batch: int, rng: Rng) -> None:
        self.generator, self.reach, self.batch, self.rng = generator, reach, batch, rng

    def lies(self, z: Tensor) -> Tensor:
        """(n, 4) bool."""
        found = []
        for loss, some, aside in self._parts(z):
            kinds = masking(loss, some, aside, self.reach)
            found.append(torch.stack([getattr(kinds, name) for name in KINDS], 1).cpu())
        return torch.cat(found)

    def alike(self, z: Tensor, distance: float) -> Tensor:
        return torch.cat([correlation(loss, some, aside, distance).cpu() for loss, some, aside in self._parts(z)])

    def _parts(self, z: Tensor) -> Iterator[tuple[Loss, Tensor, Tensor]]:
        on = self.generator.device
        images = smooth_shapes(len(z), self.generator.shape, self.rng.fork("images").block())
        aside = torch.randn(z.shape, generator=self.rng.fork("aside").block())
        aside /= aside.norm(dim=1, keepdim=True)
        for some in torch.arange(len(z)).split(self.batch):
            loss = partial(self._distance, images[some].to(on), self.generator.labels_of(some))
            yield loss, z[some].to(on), aside[some].to(on)

    def _distance(self, images: Tensor, labels: Tensor | None, z: Tensor) -> Tensor:
        # Small differences of large sums: in float64, as far as the network lets them be exact.
        return (self.generator(z, labels).double() - images).square().flatten(1).sum(1)


def _starts(generator: Generator, rng: Rng) -> dict[str, Tensor]:
    """Where searches start besides draws of the prior, four images each."""
    starts = Starts.of(generator.latent, 0, rng.fork("starts"))
    return {kind: z.expand(4, -1) for kind, z in zip(starts.kinds, starts.z, strict=True)}
