"""Sensitivity: how much of what a latent gives is left when weights or latents are disturbed a little."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.progress import track
from genvet.core.report import Figure, Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Picture, Probe, Result
from genvet.maths.descent import descend
from genvet.nets.cost import Cost
from genvet.nets.fast import affordable, batch_size, folded, price
from genvet.nets.latent_search import images_at
from genvet.nets.squash import Unsquashed

FAR = (10.0, 100.0)
"""Every number of the points far out; the paper's out-of-distribution trigger is 100."""
RADII = (0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0)
"""Of the curve, in radii of the typical set."""
DIRECTIONS = 64
RAYS = 8
SHOWN = 16
FIXED = 16 + 2 * (2 + DIRECTIONS) * len(FAR) + RAYS * len(RADII)
"""Points besides the draws and the search."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Sensitive(Result):
    """Relative changes of what goes into the last squashing function, at ordinary and at other latents."""

    weights: Tensor
    """At draws of the prior, under noise on the weights: (n,)."""
    inputs: Tensor
    """At draws of the prior, under noise on the latents: (n,)."""
    found: Tensor
    """The largest under noise on the weights that each search in the typical set reached."""
    found_x: Tensor
    """What the generator gives there, most sensitive first."""
    mode: Tensor | None
    """Under noise on weights and on latents, at the centre of the prior: (2,)."""
    far: tuple[Far, ...]
    curve: Tensor
    """Medians and maxima over rays, under noise on the weights: (radii, 2), empty where there is no mode."""
    noise: float
    spent: int

    @property
    def typical(self) -> float:
        """How far the searches got beyond what one draw in a hundred has."""
        return float(self.found.max() / _top(self.weights))

    def summary(self) -> str:
        said = (
            f"Noise of {self.noise:.0%} on the weights changes ordinary outputs by {self.weights.median():.2g} (median)"
        )
        said += f", and up to {self.typical:.2g} times what 1 draw in 100 shows where it was searched for"
        if self.mode is not None:
            said += f"; at the mode {float(self.mode[0]) / _middle(self.weights):.2g} times the median"
        if self.far:
            worst = max(self.far, key=lambda far: far.excess)
            said += f"; far out, at all {worst.number:g}, {worst.excess:.2g} times what other directions show"
        return said + "."

    def measures(self) -> tuple[Measure, ...]:
        n, times = len(self.weights), "times the prior's 99 % quantile"
        found = [
            Measure(name="typical", value=self.typical, unit=times, n=len(self.found), note="largest of the searches"),
            Measure(name="weights", value=float(self.weights.median()), unit="relative change", n=n, note="median"),
            Measure(name="inputs", value=float(self.inputs.median()), unit="relative change", n=n, note="median"),
            Measure(name="spread", value=_top(self.weights) / _middle(self.weights), n=n, note="99 % to median"),
        ]
        if self.mode is not None:
            rows = zip(("mode", "mode.inputs"), self.mode.tolist(), (self.weights, self.inputs), strict=True)
            unit = "times the prior's median"
            found += [Measure(name=name, value=v / _middle(prior), unit=unit, n=n) for name, v, prior in rows]
        if self.far:
            unit, note = "times other directions' 99 % quantile", "all numbers equal"
            worst = max(far.excess for far in self.far)
            found.append(Measure(name="far", value=worst, unit=unit, n=DIRECTIONS, note=note))
        return tuple(found)

    def figures(self) -> tuple[Figure | Picture, ...]:
        captions = tuple(f"{v:.2g}" for v in self.found.sort(descending=True).values[: len(self.found_x)].tolist())
        about = "Relative change under noise on the weights, at the ends of searches in the typical set."
        pictures = [Picture("Most sensitive outputs", self.found_x, captions, about)]
        places = [(f"all {far.number:g}", far) for far in self.far]
        if places:
            x, captions = torch.cat([far.x for _, far in places]), tuple(f"{n}: {far.excess:.2g}" for n, far in places)
            pictures.append(
                Picture("Outputs far out", x, captions, "Beside how sensitive they are for their distance.")
            )
        return (*pictures, *self._curves())

    def _curves(self) -> Iterator[Figure]:
        if len(self.curve):
            rows = zip(("median", "largest"), self.curve.T.tolist(), strict=True)
            series = {name: [list(RADII), row] for name, row in rows}
            data = {"series": series, "x": "radii of the typical set", "y": "relative change", "log": "xy"}
            caption = f"Along {RAYS} rays from the mode outwards."
            yield Figure(kind="curve", title="Sensitivity to weights", caption=caption, data=data)
        counts, edges = torch.histogram(self.weights, 30)
        data = {"counts": counts.int().tolist(), "edges": edges.tolist()}
        yield Figure(kind="histogram", title="Relative changes at draws of the prior", data=data)

    def tables(self) -> tuple[Table, ...]:
        rows = [(f"all {far.number:g}", far.here, far.others, far.excess) for far in self.far]
        columns = ("point", "relative change", "other directions (99 %)", "times")
        return (Table(title="Sensitivity far out", columns=columns, rows=tuple(rows)),) if rows else ()

    @property
    def queries(self) -> int:
        return self.spent


@dataclass(frozen=True, eq=False, kw_only=True)
class Far:
    """A point far out whose numbers are all equal, beside random directions of the same length."""

    number: float
    here: float
    others: float
    """The 99 % quantile of the random directions."""
    x: Tensor

    @property
    def excess(self) -> float:
        return self.here / self.others


class InspectSensitivity(Probe):
    """Disturbs weights and latents a little, and looks for outputs that change far more than others."""

    source: ClassVar[str] = "Devil in the GAN, section III-A, dynamic model inspections: excessive sensitivity"
    smoke: ClassVar[dict[str, Any]] = {"samples": 64, "starts": 2, "steps": 5, "copies": 1}
    depths: ClassVar[dict[str, dict[str, Any] | None]] = {
        "quick": {"samples": 256, "starts": 8, "steps": 25, "copies": 2, "operations": 1e12},
        "deep": {"samples": 10_000, "starts": 256, "steps": 100, "operations": 2e14},
    }
    signals: ClassVar[dict[str, str]] = {
        "typical": "a search finds outputs that rest on weights far more finely tuned than ordinary ones",
        "mode": "what the centre of the prior gives rests on finely tuned weights",
        "far": "what an extreme latent gives rests on large values that cancel",
    }

    samples: int = Field(default=1000, ge=64)
    """Draws of the prior that others are compared with."""
    noise: float = Field(default=0.1, gt=0, le=1)
    """Standard deviation of the noise on the weights, as a share of each layer's own spread."""
    shift: float = Field(default=0.05, gt=0, le=1)
    """Length of the noise on the latents, as a share of theirs; inside the typical set, of its radius."""
    copies: int = Field(default=3, ge=1, le=16)
    """Disturbed copies of the network."""
    starts: int = Field(default=32, ge=1, le=1024)
    """Searches in the typical set for the most sensitive output."""
    steps: int = Field(default=40, ge=1)
    """Steps of Adam in each search."""
    operations: float = Field(default=5e12, gt=0)
    """Fewer draws and searches where they would cost more floating-point operations."""
    batch: int = Field(default=64, ge=1, le=1024)
    """Latents at a time; changes nothing but the speed."""

    def __call__(self, target: Generator, given: Nothing, rng: Rng) -> Sensitive:
        cost, latent = price(target), target.latent
        plan = self._affordable(cost, latent)
        disturbed = _Disturbed(plan, target, latent.sample(0, 64, rng.fork("prior")), batch_size(cost, self.batch), rng)
        z, flat = latent.sample(0, plan.samples, rng.fork("prior")), latent.distribution == "sphere"
        found, ends = disturbed.search(latent.sample(0, plan.starts, rng.fork("starts")))
        best = found.argsort(descending=True, stable=True)[:SHOWN]
        return Sensitive(
            weights=disturbed.weights(z),
            inputs=disturbed.inputs(z),
            found=found,
            found_x=images_at(target, ends[best], best),
            mode=None if flat else disturbed.mode(),
            far=() if flat else tuple(disturbed.far(sign * c) for c in FAR for sign in (1, -1)),
            curve=torch.empty(0, 2) if flat else disturbed.curve(),
            noise=self.noise,
            spent=(self.copies + 1) * plan.points(latent),
        )

    def points(self, latent: Latent) -> int:
        """Latents that go through the network and its copies; one with a gradient counts as three."""
        fixed = 0 if latent.distribution == "sphere" else FIXED
        return fixed + 2 * self.samples + 3 * self.starts * (self.steps + 1)

    def _affordable(self, cost: Cost, latent: Latent) -> InspectSensitivity:
        """This, or the same with fewer draws and searches; raises TooCostly where even 64 and 4 cost too much."""
        least = self.model_copy(update={"samples": 64, "starts": min(4, self.starts)})
        points = affordable(cost, self.operations / (self.copies + 1), least.points(latent))
        share = min(1.0, (points - least.points(latent)) / max(1, self.points(latent) - least.points(latent)))
        plan = {name: getattr(least, name) for name in ("samples", "starts")}
        more = {name: int(share * (getattr(self, name) - low)) for name, low in plan.items()}
        return self.model_copy(update={name: low + more[name] for name, low in plan.items()})


class _Disturbed:
    """A generator, and copies of it whose weights were disturbed."""

    def __init__(self, config: InspectSensitivity, generator: Generator, z: Tensor, batch: int, rng: Rng) -> None:
        self.generator, self.config, self.batch, self.rng = folded(generator), config, batch, rng
        self.here = Unsquashed(self.generator)
        self.copies = [Unsquashed(self._copy(rng.fork("noise").fork(str(i)))) for i in range(config.copies)]
        # Beside values that nearly vanish any change would be large: half the ordinary size is the least.
        size = self._each(lambda some, labels: _size(self.here(some, labels)), z)
        self.floor = 0.25 * float(size.median()) + 1e-12

    def _copy(self, rng: Rng) -> Generator:
        """Noise by each layer's mean weight: zeros between blocks are filled, and a few huge weights change nothing."""
        module = copy.deepcopy(self.generator.module)
        for i, (_, p) in enumerate(sorted(module.named_parameters())):
            if p.ndim > 1:
                drawn = torch.randn(p.shape, generator=rng.block(i)).to(p)
                p.add_(self.config.noise * p.abs().mean() * 1.25 * drawn)  # of a normal layer, 1.25 times make its std
        return replace(self.generator, module=module)

    def _each(self, measure: Callable[[Tensor, Tensor | None], Tensor], z: Tensor) -> Tensor:
        on, found = self.generator.device, []
        with torch.no_grad():
            for some in torch.arange(len(z)).split(self.batch):
                found.append(measure(z[some].to(on), self.generator.labels_of(some)).cpu())
        return torch.cat(found)

    def weights(self, z: Tensor) -> Tensor:
        """Relative changes under noise on the weights, (n,)."""
        return self._each(self._by_weights, z)

    def _by_weights(self, z: Tensor, labels: Tensor | None) -> Tensor:
        a = self.here(z, labels)
        change = torch.stack([_size(other(z, labels) - a) for other in self.copies]).mean(0)
        return (change / _size(a).clamp_min(self.floor)).sqrt()

    def inputs(self, z: Tensor) -> Tensor:
        """Relative changes under noise on the latents, (n,)."""
        return torch.stack([self._by_input(z, i) for i in range(self.config.copies)]).square().mean(0).sqrt()

    def _by_input(self, z: Tensor, i: int) -> Tensor:
        length = z.norm(dim=1, keepdim=True).clamp_min(math.sqrt(z.shape[1]))
        noise = torch.randn(z.shape, generator=self.rng.fork("inputs").block(i))
        moved = z + self.config.shift * length * noise / noise.norm(dim=1, keepdim=True)

        def change(both: Tensor, labels: Tensor | None) -> Tensor:
            plain, other = (self.here(some, labels) for some in both.chunk(2, 1))
            return (_size(other - plain) / _size(plain).clamp_min(self.floor)).sqrt()

        return self._each(change, torch.cat([z, moved], 1))

    def search(self, starts: Tensor) -> tuple[Tensor, Tensor]:
        """From every start to where noise on the weights changes most within the typical set: values, latents."""
        latent, on, values, ends = self.generator.latent, self.generator.device, [], []
        rate = torch.full((len(starts), 1), 0.1 if latent.distribution == "uniform" else 0.2)
        parts = torch.arange(len(starts)).split(self.batch)
        for some in track(parts, len(parts), "searches"):
            labels = self.generator.labels_of(some)

            def loss(z: Tensor, labels: Tensor | None = labels) -> Tensor:
                return -self._by_weights(z, labels).clamp_min(1e-12).log()

            done = descend(loss, starts[some].to(on), self.config.steps, rate[some].to(on), latent.project)
            values.append((-done.value).exp().cpu())
            ends.append(done.z.cpu())
        return torch.cat(values), torch.cat(ends)

    def mode(self) -> Tensor:
        """At the centre of the prior, under noise on the weights and on the latents: (2,)."""
        centre = torch.zeros(8, self.generator.latent.dim)
        return torch.stack([self.weights(centre).median(), self.inputs(centre).median()])

    def far(self, number: float) -> Far:
        dim = self.generator.latent.dim
        point = torch.full((1, dim), number)
        others = _directions(dim, DIRECTIONS, self.rng.fork("far")) * abs(number)
        x = images_at(self.generator, point, torch.zeros(1, dtype=torch.long))
        return Far(number=number, here=float(self.weights(point)), others=_top(self.weights(others)), x=x)

    def curve(self) -> Tensor:
        """Medians and maxima over rays, at every radius: (radii, 2)."""
        rays = _directions(self.generator.latent.dim, RAYS, self.rng.fork("rays"))
        values = [self.weights(rays * radius) for radius in RADII]
        return torch.stack([torch.stack([v.median(), v.max()]) for v in values])


def _size(a: Tensor) -> Tensor:
    """Mean squares (n,)."""
    return a.float().square().mean(1)


def _top(values: Tensor) -> float:
    """What 1 in 100 exceeds."""
    return float(values.quantile(0.99).clamp_min(1e-12))


def _middle(values: Tensor) -> float:
    """The median; never 0."""
    return float(values.median().clamp_min(1e-12))


def _directions(dim: int, n: int, rng: Rng) -> Tensor:
    """n random latents (n, dim) of length sqrt(dim)."""
    z = torch.randn(n, dim, generator=rng.block())
    return torch.nn.functional.normalize(z) * math.sqrt(dim)
