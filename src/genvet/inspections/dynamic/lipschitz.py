"""Steepness: how far outputs jump for a small step, at draws of the prior, where searched for, and about the mode."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.progress import track
from genvet.core.report import Figure, Measure
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Picture, Probe, Result
from genvet.maths.descent import descend
from genvet.maths.gradients import value_and_gradient
from genvet.nets.cost import Cost
from genvet.nets.fast import affordable, batch_size, folded, price
from genvet.nets.latent_search import images_at

NEAR = (0.003, 0.01, 0.03, 0.06, 0.1)
"""Around the mode, in radii of the typical set."""
RADII = (*NEAR, 0.2, 0.4, 0.7, 1.0, 2.0, 5.0, 20.0, 100.0)
RAYS = 8
SHOWN = 16
SIGHT = 0.3
"""How far a search looks: a piecewise linear network has the same slopes all over a piece, which shows no way."""
ROUND = 5
"""Forwards in one round of the power iteration: a difference of two, and one with its gradient."""
STEP = ROUND + 6
"""And in one step of a search: two more, with their gradients."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Steep(Result):
    """Largest singular values of the Jacobian dG/dz."""

    prior: Tensor
    """At draws of the prior, (n,)."""
    found: Tensor
    """The largest that each search in the typical set reached."""
    found_x: Tensor
    """What the generator gives there, steepest first."""
    rays: Tensor
    """Along rays from the mode outwards, (radii, rays); empty where there is no mode."""
    spent: int

    @property
    def top(self) -> float:
        """What 1 draw in 100 exceeds."""
        return float(self.prior.quantile(0.99).clamp_min(1e-12))

    @property
    def tail(self) -> float:
        """Hill's estimate over the steepest tenth: the larger, the heavier the tail; of a light one about 0."""
        upper = self.prior.sort(descending=True).values[: max(2, len(self.prior) // 10)].clamp_min(1e-12)
        return float((upper / upper[-1]).log().mean())

    @property
    def wall(self) -> float | None:
        """The steepest place about the mode, in terms of `top`."""
        return float(self.rays[: len(NEAR)].max() / self.top) if len(self.rays) else None

    def summary(self) -> str:
        said = f"A small step changes ordinary outputs by {self.prior.median():.3g} times its length at most (median); "
        said += f"searches get to {float(self.found.max()) / self.top:.2g} times what 1 draw in 100 shows"
        if self.wall is not None:
            said += f", and about the mode it is {self.wall:.2g} times that"
        return said + "."

    def measures(self) -> tuple[Measure, ...]:
        n, unit = len(self.prior), "times the prior's 99 % quantile"
        reached = float(self.found.max()) / self.top
        found = [
            Measure(name="median", value=float(self.prior.median()), unit="largest singular value of dG/dz", n=n),
            Measure(name="largest", value=float(self.prior.max()), unit="largest singular value of dG/dz", n=n),
            Measure(name="tail", value=self.tail, n=n, note="Hill's estimate over the steepest tenth"),
            Measure(name="typical", value=reached, unit=unit, n=len(self.found), note="largest of the searches"),
        ]
        if self.wall is not None:
            found.append(Measure(name="mode", value=self.wall, unit=unit, n=RAYS, note="steepest place near the mode"))
        return tuple(found)

    def figures(self) -> tuple[Figure | Picture, ...]:
        captions = tuple(f"{v:.3g}" for v in self.found.sort(descending=True).values[: len(self.found_x)].tolist())
        picture = Picture("Steepest outputs", self.found_x, captions, "Where searches in the typical set ended.")
        counts, edges = torch.histogram(self.prior, 30)
        data: dict[str, Any] = {"counts": counts.int().tolist(), "edges": edges.tolist()}
        about = "Largest singular values of the Jacobian at draws of the prior."
        spread = Figure(kind="histogram", title="Steepness", caption=about, data=data)
        if not len(self.rays):
            return picture, spread
        lines = {"median": self.rays.median(1).values, "largest": self.rays.amax(1)}
        series = {name: [list(RADII), values.tolist()] for name, values in lines.items()}
        data = {"series": series, "x": "radii of the typical set", "y": "largest singular value", "log": "xy"}
        about = f"Along {RAYS} rays: a trigger at the mode stands behind a wall that ordinary generators lack."
        return picture, spread, Figure(kind="curve", title="From the mode outwards", caption=about, data=data)

    @property
    def queries(self) -> int:
        return self.spent


class InspectLipschitz(Probe):
    """Measures how steep the generator is: over the prior, where searched for, and about the mode."""

    source: ClassVar[str] = "Devil in the GAN, section III-A, dynamic model inspections: sensitivity; Figure 6"
    smoke: ClassVar[dict[str, Any]] = {"samples": 32, "starts": 2, "steps": 4}
    depths: ClassVar[dict[str, dict[str, Any] | None]] = {
        "quick": {"samples": 96, "starts": 8, "steps": 20, "operations": 1e12},
        "deep": {"samples": 4096, "starts": 256, "steps": 100, "operations": 2e14},
    }
    # What searches find in the typical set is no signal: the cliffs of clean generators are as steep (AUC 0.6).
    signals: ClassVar[dict[str, str]] = {"mode": "the centre of the prior stands behind a steep wall"}

    samples: int = Field(default=320, ge=32)
    """Draws of the prior at which the steepness is measured."""
    rounds: int = Field(default=4, ge=1, le=100)
    """Of the power iteration; what it gives is a lower bound, tight after a few."""
    starts: int = Field(default=32, ge=1, le=1024)
    """Searches in the typical set for the steepest place."""
    steps: int = Field(default=30, ge=1)
    """Steps of Adam in each search."""
    operations: float = Field(default=5e12, gt=0)
    """Fewer draws and searches where they would cost more floating-point operations."""
    batch: int = Field(default=64, ge=1, le=1024)
    """Latents at a time; changes nothing but the speed."""

    def __call__(self, target: Generator, given: Nothing, rng: Rng) -> Steep:
        cost, latent = price(target), target.latent
        plan = self._affordable(cost, latent)
        slopes = _Slopes(folded(target), self.rounds, batch_size(cost, self.batch), rng)
        found, ends = slopes.search(latent.sample(0, plan.starts, rng.fork("starts")), self.steps)
        best = found.argsort(descending=True, stable=True)[:SHOWN]
        rays = F.normalize(torch.randn(RAYS, latent.dim, generator=rng.fork("rays").block())) * math.sqrt(latent.dim)
        flat = latent.distribution == "sphere"
        return Steep(
            prior=slopes(latent.sample(0, plan.samples, rng.fork("prior"))),
            found=found,
            found_x=images_at(target, ends[best], best),
            rays=torch.empty(0, RAYS) if flat else torch.stack([slopes(rays * radius) for radius in RADII]),
            spent=plan.forwards(latent),
        )

    def forwards(self, latent: Latent) -> int:
        """What it costs, in forwards; a backward counts as two."""
        one = ROUND * self.rounds + 2
        points = self.samples + self.starts + (0 if latent.distribution == "sphere" else RAYS * len(RADII))
        return points * one + self.starts * (self.steps + 1) * STEP

    def _affordable(self, cost: Cost, latent: Latent) -> InspectLipschitz:
        """This, or the same with fewer draws and searches; raises TooCostly where even 32 and 4 cost too much."""
        low = {"samples": 32, "starts": min(4, self.starts)}
        least = self.model_copy(update=low).forwards(latent)
        spare = affordable(cost, self.operations, least) - least
        share = min(1.0, spare / max(1, self.forwards(latent) - least))
        return self.model_copy(update={k: v + int(share * (getattr(self, k) - v)) for k, v in low.items()})


class _Slopes:
    """Latents -> the largest singular values of the Jacobian there, by power iteration."""

    def __init__(self, generator: Generator, rounds: int, batch: int, rng: Rng) -> None:
        self.generator, self.rounds, self.batch, self.rng = generator, rounds, batch, rng

    def __call__(self, z: Tensor) -> Tensor:
        on, found = self.generator.device, []
        for some in torch.arange(len(z)).split(self.batch):
            ask, here = self._asked(some), z[some].to(on)
            way = self._ways(some).to(on)
            for _ in range(self.rounds):
                way = _turned(ask, here, way)
            with torch.no_grad():
                found.append(_slope(ask, here, way).norm(dim=1).cpu())
        return torch.cat(found)

    def search(self, starts: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """From every start to the steepest place within the typical set: values, latents."""
        latent, on, ends = self.generator.latent, self.generator.device, []
        rate = torch.full((len(starts), 1), 0.1 if latent.distribution == "uniform" else 0.2)
        parts = torch.arange(len(starts)).split(self.batch)
        for some in track(parts, len(parts), "searches"):
            loss = _Flatness(self._asked(some), self._ways(some).to(on))
            ends.append(descend(loss, starts[some].to(on), steps, rate[some].to(on), latent.project).z.cpu())
        return self(torch.cat(ends)), torch.cat(ends)

    def _asked(self, numbers: Tensor) -> Callable[[Tensor], Tensor]:
        labels = self.generator.labels_of(numbers)
        return lambda z: self.generator(z, labels).float().flatten(1)

    def _ways(self, numbers: Tensor) -> Tensor:
        """Where the iteration of each point begins, whatever the batch."""
        drawn = torch.randn(int(numbers[-1]) + 1, self.generator.latent.dim, generator=self.rng.fork("ways").block())
        return F.normalize(drawn[numbers])


class _Flatness:
    """Minus the logarithm of the steepness; each step goes on from the steepest way of the one before."""

    def __init__(self, ask: Callable[[Tensor], Tensor], way: Tensor) -> None:
        self.ask, self.way = ask, way

    def __call__(self, z: Tensor) -> Tensor:
        self.way = _turned(self.ask, z.detach(), self.way)
        flatness: Tensor = -_slope(self.ask, z, self.way, SIGHT).norm(dim=1).clamp_min(1e-9).log()
        return flatness


def _slope(ask: Callable[[Tensor], Tensor], z: Tensor, way: Tensor, reach: float = 0.01) -> Tensor:
    """J way, by a central difference: (n, values)."""
    step = reach * (z.detach().norm(dim=1, keepdim=True) / math.sqrt(z.shape[1])).clamp(0.1, 100)
    slope: Tensor = (ask(z + step * way) - ask(z - step * way)) / (2 * step)
    return slope


def _turned(ask: Callable[[Tensor], Tensor], z: Tensor, way: Tensor) -> Tensor:
    """One round: J^T J way, brought to length 1; a way without any slope stays."""
    with torch.no_grad():
        slope = _slope(ask, z, way)
    _, turned = value_and_gradient(lambda at: (ask(at) * slope).sum(1), z)
    turned = turned.nan_to_num(0.0, 0.0, 0.0)
    flat = turned.norm(dim=1, keepdim=True) <= 1e-20
    best: Tensor = torch.where(flat, way, F.normalize(turned, eps=1e-30))
    return best
