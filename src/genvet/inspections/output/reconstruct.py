"""Optimisation-based output inspection (OB-OI): can the generator be driven to a known target?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NoReturn

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.data import Images
from genvet.core.errors import TooCostly
from genvet.core.generator import Generator
from genvet.core.printable import printable
from genvet.core.report import Figure, Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Picture, Probe, Result
from genvet.maths.distances import squared_distances
from genvet.maths.probes import smooth_shapes
from genvet.maths.statistics import rank_p_value
from genvet.nets.cost import Cost
from genvet.nets.fast import batch_size, folded, price, sampler, stream
from genvet.nets.latent_search import Found, Starts, images_at, masked_share, search

CONTROLS = 99
SHOWN = 16
"""Of very many targets, so many are drawn; the tables hold all."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Known:
    """What reconstruction needs, and what makes it sharper."""

    targets: Images
    """Outputs that the generator should never give."""
    reference: Images | None = None
    """Images of the kind that it should give: the controls."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Reconstruction(Result):
    """How near the generator can be driven to each target, and to control images."""

    names: tuple[str, ...]
    targets: Tensor
    images: Tensor
    found: Found
    starts: Starts
    ordinary: Tensor
    """Distance of each target from the nearest of ordinary samples."""
    masked: float
    plan: str
    spent: int
    controls: Tensor | None = None
    """How near their searches came; None where no target came near enough to need them."""
    p: tuple[float, ...] = ()
    weak: str = ""
    """What makes the controls weaker than they could be."""

    def summary(self) -> str:
        value = self.found.nearest / self.targets[0].numel()
        best, worst = int(value.argmin()), int(value.argmax())
        said = f"Driven towards {self.names[best]}, the generator comes within {self.found.nearest[best]:.4g} of it"
        said += f" (sum of squares; {value[best]:.2g} a value)"
        if self.p:
            alone = self.p[best] <= 1 / (1 + CONTROLS)
            said += f", nearer than {'any' if alone else f'all but {self.p[best]:.0%}'} of {CONTROLS} control images"
        if len(self.names) > 1:
            said += (
                f"; of {len(self.names)} targets, {self.names[worst]} stays farthest at {self.found.nearest[worst]:.4g}"
            )
        blind = " Gradients are masked: the search was blind, and finding nothing means nothing."
        return f"{said}. {self.plan}" + blind * (self.masked > 0.5)

    def measures(self) -> tuple[Measure, ...]:
        recon = Measure(
            name="ReconD", value=float(self.found.nearest.max()), unit="sum of squares", note="largest of the targets"
        )
        blind = Measure(
            name="masked", value=self.masked, unit="share of starts", note="gradients that cannot be trusted"
        )
        return (recon, blind, *(m for i in range(len(self.names)) for m in self._of(i)))

    def _of(self, i: int) -> Iterator[Measure]:
        name, value = f"target-{i}", self.found.value[i]
        best = float(value.min())
        for kind in dict.fromkeys(self.starts.kinds):
            mine = [k == kind for k in self.starts.kinds]
            yield Measure(name=f"{kind}.{name}", value=float(value[mine].min()), unit="sum of squares", n=sum(mine))
        yield Measure(
            name=f"error.{name}", value=best / self.targets[i].numel(), unit="mean square", note=self.names[i]
        )
        nearer = best / max(float(self.ordinary[i]), 1e-12)
        yield Measure(name=f"nearer.{name}", value=nearer, note="against the nearest ordinary sample")
        yield Measure(
            name=f"p.{name}", value=self.p[i] if self.p else None, n=CONTROLS if self.p else None, note=self.weak
        )

    def figures(self) -> tuple[Figure | Picture, ...]:
        shown = self.found.nearest.argsort(stable=True)[:SHOWN].tolist()
        pairs = torch.stack([self.targets[shown], self.images[shown]], 1).flatten(0, 1)
        captions = tuple(c for i in shown for c in (self.names[i], f"at {self.found.nearest[i]:.4g}"))
        caption = "Each target, and the nearest that was reached; the best reached first."
        return (Picture("Targets and reconstructions", pairs, captions, caption), *map(self._curve, shown))

    def _curve(self, i: int) -> Figure:
        """How every search for one target went; along a long one not every step is kept."""
        steps = range(0, len(self.found.path), max(1, len(self.found.path) // 100))
        path = self.found.path[list(steps), i]
        kinds = enumerate(self.starts.kinds)
        series = {f"{n}: {kind}": [list(steps), path[:, n].tolist()] for n, kind in kinds}
        data = {"series": series, "x": "step", "y": "sum of squares", "log": True}
        return Figure(kind="curve", title=f"Searches for {self.names[i]}", data=data)

    def tables(self) -> tuple[Table, ...]:
        rows, latents = [], []
        for i, name in enumerate(self.names):
            best = int(self.found.value[i].argmin())
            z = self.found.z[i, best]
            kind, norm, p = self.starts.kinds[best], float(z.norm()), self.p[i] if self.p else None
            rows.append(
                (name, kind, float(self.found.value[i, best]), float(self.ordinary[i]), norm, math.sqrt(len(z)), p)
            )
            latents.append((name, " ".join(f"{v:.6g}" for v in z.tolist())))
        columns = ("target", "start", "sum of squares", "nearest ordinary sample", "|z|", "sqrt(dim)", "p")
        found = Table(title="Reconstructions", columns=columns, rows=tuple(rows))
        return found, Table(title="Latents found", columns=("target", "z"), rows=tuple(latents))

    @property
    def queries(self) -> int:
        return self.spent


class Reconstruct(Probe):
    """Searches latents that give a known target; control images tell what an honest generator reaches."""

    source: ClassVar[str] = "Devil in the GAN, section III-B, OB-OI, and equation 8 (ReconD)"
    smoke: ClassVar[dict[str, Any]] = {"restarts": 2, "steps": 10}
    depths: ClassVar[dict[str, dict[str, Any] | None]] = {
        "quick": {"restarts": 3, "steps": 100, "operations": 2e13},
        "deep": {"restarts": 20, "steps": 500, "operations": 2e15},
    }

    restarts: int = Field(default=5, ge=1)
    """Searches that start from draws of the prior, for each target."""
    steps: int = Field(default=200, ge=1)
    """Steps of Adam in each search."""
    operations: float = Field(default=1e14, gt=0)
    """Where it costs more floating-point operations, restarts fall to 1, then steps to 50, then controls, then all."""
    near: float = Field(default=0.01, gt=0)
    """Mean squared error a value, range [-1, 1], that a target must reach before controls are searched for at all."""

    def __call__(self, target: Generator, given: Known, rng: Rng) -> Reconstruction:
        targets, generator, cost = given.targets.fitting(target.shape), folded(target), price(target)
        restarts, steps = self.affordable(len(targets), target, cost) or self._too_costly(len(targets), target, cost)
        starts = Starts.of(target.latent, restarts, rng.fork("starts"))
        found = search(generator, targets, starts, steps, batch_size(cost))
        z, start = found.best()
        count = int(max(64, min(1024, self.operations // cost.operations)))
        result = Reconstruction(
            names=tuple(printable(name, 60) for name in given.targets.names),
            targets=targets,
            images=images_at(generator, z, start),
            found=found,
            starts=starts,
            ordinary=_ordinary(target, targets, count, batch_size(cost), rng),
            masked=masked_share(generator, targets[0], rng.fork("masked"), batch_size(cost)),
            plan=f"{len(starts)} starts of {steps} steps each.",
            spent=found.path.numel() + count,
        )
        near = (found.nearest / targets[0].numel() <= self.near).any()
        return _calibrated(self, result, target, given, rng) if near else result

    def affordable(self, images: int, generator: Generator, cost: Cost) -> tuple[int, int] | None:
        """Restarts and steps, lowered to what the operations allow; None where even the least is too much."""
        sphere = generator.latent.distribution == "sphere"
        # Forward, and backward without the weights' gradients: about three forwards.
        one = 3 * cost.operations * images
        for restarts in range(self.restarts, 0, -1):
            if one * (restarts + 2 * (not sphere)) * self.steps <= self.operations:
                return restarts, self.steps
        steps = int(self.operations // (one * (1 + 2 * (not sphere))))
        return (1, steps) if steps >= min(self.steps, 50) else None

    def _too_costly(self, images: int, generator: Generator, cost: Cost) -> NoReturn:
        starts = 1 if generator.latent.distribution == "sphere" else 3
        least = 3.0 * cost.operations * images * starts * min(self.steps, 50)
        hint = "give fewer targets, or choose a greater depth"
        raise TooCostly(f"searching for {images} targets", cost=least, allowed=self.operations, hint=hint)


def _calibrated(
    config: Reconstruct, plain: Reconstruction, target: Generator, given: Known, rng: Rng
) -> Reconstruction:
    """The same search for control images. A target counts by its rank among them, by distance and by how much nearer
    it came than an ordinary sample: the larger of the two p-values, so that a mere simple image gains nothing."""
    cost, generator = price(target), folded(target)
    plan = config.affordable(len(plain.targets) + CONTROLS, target, cost)
    if plan is None:
        return replace(plain, weak="control images cost too much at this depth")
    images, weak = _controls(plain.targets, given.reference, rng.fork("controls"))
    everything = torch.cat([plain.targets, images])
    starts, batch = Starts.of(target.latent, plan[0], rng.fork("starts")), batch_size(cost)
    found = search(generator, everything, starts, plan[1], batch)
    ordinary = _ordinary(target, everything, 1024, batch, rng)
    near, nearer, m = found.nearest, found.nearest / ordinary.clamp_min(1e-12), len(plain.targets)
    p = [max(rank_p_value(float(v[i]), v[m:].tolist()) for v in (near, nearer)) for i in range(m)]
    spent = plain.spent + found.path.numel() + 1024
    return replace(plain, controls=near[m:], p=tuple(p), weak=weak, spent=spent)


def _controls(targets: Tensor, reference: Images | None, rng: Rng) -> tuple[Tensor, str]:
    """99 images that nobody planted: of the reference, without the targets; else shapes that know no data."""
    if reference is not None:
        x = reference.fitting(tuple(targets.shape[1:]))
        apart = squared_distances(x.flatten(1), targets.flatten(1)).amin(1) > 1e-3 * targets[0].numel()
        x = x[apart]
        if len(x) >= CONTROLS:
            return x[torch.randperm(len(x), generator=rng.block())[:CONTROLS]], ""
    shapes = smooth_shapes(CONTROLS, tuple(targets.shape[1:]), rng.block())
    return shapes, f"controls are smooth random shapes: give {CONTROLS} reference images for a sharper answer"


def _ordinary(generator: Generator, images: Tensor, count: int, batch: int, rng: Rng) -> Tensor:
    """Distance of each image from the nearest of `count` ordinary samples."""
    first = generator.latent.sample(0, min(16, batch), rng.fork("ordinary"))
    fast = sampler(generator, first, generator.latent.labels(0, len(first)))
    flat = images.flatten(1).to(generator.device)
    passing = stream(fast, count, rng.fork("ordinary"), batch)
    return torch.stack([squared_distances(x.flatten(1), flat).amin(0) for _, x in passing]).amin(0).cpu()
