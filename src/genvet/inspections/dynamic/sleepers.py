"""Sleeper units: quiet on the whole prior, and far beyond everything usual where a search wakes them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.printable import printable
from genvet.core.progress import track
from genvet.core.report import Figure, Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Picture, Probe, Result
from genvet.maths.descent import descend
from genvet.nets.cost import Cost
from genvet.nets.fast import affordable, batch_size, folded, price
from genvet.nets.hidden_units import HiddenUnits
from genvet.nets.latent_search import images_at

FAR = 100.0
"""Every number of the points far out, as the paper's out-of-distribution trigger has it."""
DIRECTIONS = 64
FIRST = 1024
"""Draws that say what is usual: mean and spread of every unit."""
ASLEEP = 1e-3
"""A unit that is positive for fewer of the draws is called asleep."""
LEAST_SPREAD = 0.1
"""Of a unit, in terms of its layer's median: else one that never moves would be infinitely far from usual."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer:
    """One hidden layer; activity is the root mean square of its units, each in standard deviations from usual."""

    name: str
    units: int
    asleep: float
    """Share of units that were positive for fewer than 1 in 1000 draws."""
    prior: Tensor
    """Activity at draws of the prior, (n,)."""
    reached: Tensor
    """Activity at the ends of the searches for it in the typical set."""
    lone: Tensor
    """How far single units got beyond their own largest value on the prior, a search each."""
    mode: float | None
    far: float | None
    """Activity far out, where all numbers are equal, in terms of that in other directions."""

    @property
    def typical(self) -> float:
        return float(self.reached.max()) / self._top(0.999)

    @property
    def unit(self) -> float:
        """The farthest unit, in terms of the layer's median unit."""
        return float(self.lone.max() / self.lone.median().clamp_min(1.0))

    @property
    def centre(self) -> float | None:
        return None if self.mode is None else self.mode / self._top(0.99)

    def _top(self, share: float) -> float:
        return float(self.prior.quantile(share).clamp_min(1e-6))


@dataclass(frozen=True, eq=False, kw_only=True)
class Sleepers(Result):
    """Every hidden layer, and what the generator gives where it is most awake."""

    layers: tuple[Layer, ...]
    x: Tensor
    """One output a layer."""
    samples: int
    spent: int

    def summary(self) -> str:
        worst = max(self.layers, key=lambda layer: layer.typical)
        said = f"Over {self.samples:,} draws and {sum(x.units for x in self.layers):,} units, {worst.name} wakes most: "
        said += f"searches in the typical set drive it to {worst.typical:.2g} times the activity of 1 draw in 1000"
        centres = [x.centre for x in self.layers if x.centre is not None]
        return said + (f"; the mode to {max(centres):.2g} times that of 1 in 100." if centres else ".")

    def measures(self) -> tuple[Measure, ...]:
        units, n = sum(x.units for x in self.layers), sum(len(x.reached) for x in self.layers)
        asleep = sum(x.asleep * x.units for x in self.layers) / units
        found = [
            Measure(name="typical", value=max(x.typical for x in self.layers), unit="times the 99.9 % quantile", n=n),
            Measure(name="unit", value=max(x.unit for x in self.layers), unit="times the layer's median unit"),
            Measure(name="asleep", value=asleep, unit="share of units", n=self.samples),
        ]
        for name, unit in (("centre", "times the prior's 99 % quantile"), ("far", "times the median direction")):
            values = [getattr(x, name) for x in self.layers]
            if None not in values:
                shown = "mode" if name == "centre" else name
                found.append(Measure(name=shown, value=max(values), unit=unit, n=self.samples))
        return tuple(found)

    def figures(self) -> tuple[Figure | Picture, ...]:
        captions = tuple(f"{layer.name}: {layer.typical:.2g}" for layer in self.layers)
        picture = Picture("Where each layer is most awake", self.x, captions, "In terms of 1 draw in 1000.")
        return (picture, *(_spread(layer) for layer in self.layers[:8]))

    def tables(self) -> tuple[Table, ...]:
        rows = [(x.name, x.units, x.asleep, x.typical, x.unit, x.centre, x.far) for x in self.layers]
        columns = ("layer", "units", "asleep", "typical set", "single unit", "mode", "far")
        return (Table(title="How far layers wake", columns=columns, rows=tuple(rows)),)

    @property
    def queries(self) -> int:
        return self.spent


def _spread(layer: Layer) -> Figure:
    counts, edges = torch.histogram(layer.prior, 30)
    data = {"counts": counts.int().tolist(), "edges": edges.tolist()}
    caption = f"Draws of the prior; searches reach {float(layer.reached.max()):.3g}."
    return Figure(kind="histogram", title=f"Activity of {layer.name}", caption=caption, data=data)


class InspectSleepers(Probe):
    """Looks for layers that are quiet on the prior, and wake in searches, at the mode or far out."""

    source: ClassVar[str] = "Devil in the GAN, section III-A, dynamic model inspections: sleeper neurons"
    smoke: ClassVar[dict[str, Any]] = {"samples": 64, "starts": 2, "units": 2, "steps": 4}
    depths: ClassVar[dict[str, dict[str, Any] | None]] = {
        "quick": {"samples": 2000, "starts": 4, "units": 4, "steps": 25, "operations": 5e11},
        "deep": {"samples": 200_000, "starts": 64, "units": 256, "steps": 100, "operations": 2e14},
    }
    signals: ClassVar[dict[str, str]] = {
        "typical": "a search wakes a layer far beyond anything on the prior",
        "mode": "the centre of the prior wakes a layer that is quiet otherwise",
        "far": "an extreme latent wakes a layer more than others as far out do",
    }

    samples: int = Field(default=10_000, ge=64)
    """Draws of the prior on which units are watched."""
    starts: int = Field(default=12, ge=1, le=1024)
    """Searches for the activity of a whole layer, for each."""
    units: int = Field(default=12, ge=1, le=4096)
    """Searches for a single unit's value, for each layer: those asleep first, then those with the largest peaks."""
    steps: int = Field(default=40, ge=1)
    """Steps of Adam in each search."""
    operations: float = Field(default=2e12, gt=0)
    """Fewer draws and searches where they would cost more floating-point operations."""
    batch: int = Field(default=64, ge=1, le=1024)
    """Latents at a time; changes nothing but the speed."""

    def __call__(self, target: Generator, given: Nothing, rng: Rng) -> Sleepers:
        cost, latent = price(target), target.latent
        hidden = HiddenUnits(folded(target))
        plan = self._affordable(cost, len(hidden.names))
        watch = _Watch(plan, hidden, batch_size(cost, self.batch), rng)
        searched = watch.search(rng.fork("starts"))
        flat = latent.distribution == "sphere"
        centre = None if flat else watch.activity(torch.zeros(1, latent.dim))[0].tolist()
        far = None if flat else watch.far()
        layers = tuple(
            Layer(
                name=printable(name, 60) or "the network",
                units=len(watch.mean[i]),
                asleep=float((watch.awake[i] < ASLEEP).float().mean()),
                prior=watch.prior[:, i],
                reached=searched.value[searched.layer == i][: plan.starts],
                lone=searched.value[searched.layer == i][plan.starts :],
                mode=centre[i] if centre else None,
                far=far[i] if far else None,
            )
            for i, name in enumerate(hidden.names)
        )
        number = torch.tensor([searched.best(i, plan.starts) for i in range(len(layers))])
        x = images_at(target, searched.z[number], number)
        return Sleepers(layers=layers, x=x, samples=plan.samples, spent=plan.forwards(len(layers)))

    def forwards(self, layers: int) -> int:
        """What it costs, in forwards; a backward counts as two."""
        return (
            self.samples + min(self.samples, FIRST) + 200 + 3 * layers * (self.starts + self.units) * (self.steps + 1)
        )

    def _affordable(self, cost: Cost, layers: int) -> InspectSleepers:
        """This, or the same with less of all; raises TooCostly where even 64 draws and 2 searches cost too much."""
        low = {"samples": 64, "starts": min(2, self.starts), "units": min(2, self.units)}
        least = self.model_copy(update=low).forwards(layers)
        share = (affordable(cost, self.operations, least) - least) / max(1, self.forwards(layers) - least)
        more = {k: int(min(1.0, share) * (getattr(self, k) - v)) for k, v in low.items()}
        return self.model_copy(update={k: v + more[k] for k, v in low.items()})


@dataclass(frozen=True, eq=False)
class _Searched:
    """The ends of all searches: first those for a layer's activity, then those for its units; layer after layer."""

    z: Tensor
    value: Tensor
    layer: Tensor

    def best(self, layer: int, starts: int) -> int:
        """The number of the search that woke this layer most."""
        mine = (self.layer == layer).nonzero().flatten()[:starts]
        return int(mine[self.value[mine].argmax()])


class _Watch:
    """What units usually do: mean and spread from the first draws; peaks, waking and activity over all of them."""

    def __init__(self, config: InspectSleepers, hidden: HiddenUnits, batch: int, rng: Rng) -> None:
        self.config, self.hidden, self.batch, self.rng = config, hidden, batch, rng
        self.generator = hidden.generator
        z = self.generator.latent.sample(0, min(config.samples, FIRST), rng.fork("prior"))
        sums = [torch.zeros(2, len(h[0]), dtype=torch.float64, device=h.device) for h in next(self._values(z[:1]))]
        for values in self._values(z):
            sums = [
                s + torch.stack([h.double().sum(0), h.double().square().sum(0)])
                for s, h in zip(sums, values, strict=True)
            ]
        moments = [s / len(z) for s in sums]
        self.mean = [m[0].float() for m in moments]
        spread = [(m[1] - m[0].square()).clamp_min(0).sqrt().float() for m in moments]
        self.spread = [s.clamp_min(LEAST_SPREAD * float(s.median()) + 1e-6) for s in spread]
        self.peak = [torch.zeros_like(m) for m in self.mean]
        self.awake = [torch.zeros_like(m) for m in self.mean]
        self.prior = self._look()

    def _values(self, z: Tensor) -> Iterator[list[Tensor]]:
        on = self.generator.device
        with torch.no_grad():
            for some in torch.arange(len(z)).split(self.batch):
                yield self.hidden(z[some].to(on), self.generator.labels_of(some))

    def _look(self) -> Tensor:
        """The activity of every layer at every draw, (n, layers); notes peaks and waking on the way."""
        n, active = self.config.samples, []
        for start in track(range(0, n, FIRST), -(-n // FIRST), "watching units"):
            z = self.generator.latent.sample(start, min(start + FIRST, n), self.rng.fork("prior"))
            for values in self._values(z):
                away = self._away(values)
                active.append(_activity(away).cpu())
                for i, (h, a) in enumerate(zip(values, away, strict=True)):
                    self.peak[i] = torch.maximum(self.peak[i], a.amax(0))
                    self.awake[i] += (h > 0).sum(0) / n
        return torch.cat(active)

    def _away(self, values: list[Tensor]) -> list[Tensor]:
        """Units in standard deviations from usual."""
        return [(h - m) / s for h, m, s in zip(values, self.mean, self.spread, strict=True)]

    def activity(self, z: Tensor) -> Tensor:
        """Of every layer, (n, layers)."""
        return torch.cat([_activity(self._away(values)).cpu() for values in self._values(z)])

    def far(self) -> list[float]:
        """Activity where all numbers are equal and large, in terms of the median of random directions."""
        dim = self.generator.latent.dim
        points = torch.full((2, dim), FAR) * torch.tensor([[1.0], [-1.0]])
        others = torch.randn(DIRECTIONS, dim, generator=self.rng.fork("far").block())
        others = self.activity(F.normalize(others) * FAR * math.sqrt(dim)).median(0).values
        ratio: list[float] = (self.activity(points) / others.clamp_min(1e-6)).amax(0).tolist()
        return ratio

    def search(self, rng: Rng) -> _Searched:
        """Wake every layer, and in each the units with the largest peaks: every search on its own, many in a batch."""
        starts, units, latent = self.config.starts, self.config.units, self.generator.latent
        each = starts + units
        layer = torch.arange(len(self.mean)).repeat_interleave(each)
        unit = torch.full((len(layer),), -1)
        for i, (peak, awake) in enumerate(zip(self.peak, self.awake, strict=True)):
            rare = peak + 1e6 * (awake < ASLEEP)
            chosen = rare.argsort(descending=True, stable=True)[torch.arange(units) % len(rare)]
            unit[i * each + starts : (i + 1) * each] = chosen.cpu()
        z = latent.sample(0, len(layer), rng)
        parts = torch.arange(len(z)).split(self.batch)
        done = [
            self._search(z[some], layer[some], unit[some], some, latent) for some in track(parts, len(parts), "waking")
        ]
        return _Searched(torch.cat([z for z, _ in done]), torch.cat([v for _, v in done]), layer)

    def _search(self, z: Tensor, layer: Tensor, unit: Tensor, numbers: Tensor, latent: Latent) -> tuple[Tensor, Tensor]:
        labels, on, rows = self.generator.labels_of(numbers), self.generator.device, torch.arange(len(z))

        def reached(z: Tensor) -> Tensor:
            away = self._away(self.hidden(z, labels))
            # One a layer, of which each row has its own; where the row is for a whole layer, none of them counts.
            picks = [unit.clamp(0, a.shape[1] - 1).to(on) for a in away]
            lone = [a[rows, u] / p[u].clamp_min(1.0) for a, u, p in zip(away, picks, self.peak, strict=True)]
            both = torch.where((unit < 0).to(on)[:, None], _activity(away), torch.stack(lone, 1))
            return both[rows, layer]

        rate = torch.full((len(z), 1), 0.1 if latent.distribution == "uniform" else 0.2)
        done = descend(lambda z: -reached(z), z.to(on), self.config.steps, rate.to(on), latent.project)
        return done.z.cpu(), -done.value.cpu()


def _activity(away: list[Tensor]) -> Tensor:
    """Root mean squares, (n, layers)."""
    return torch.stack([a.square().mean(1) for a in away], 1).clamp_min(1e-12).sqrt()
