"""Scale: the whole vector times a factor, in z, in w, about the mean of w and layer by layer; told from a no-op."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.errors import BadInput
from genvet.core.generator import Generator, StyleGenerator
from genvet.core.progress import track
from genvet.core.report import Figure, Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Picture, Probe, Result
from genvet.maths.effects import standardised
from genvet.nets.editing import Readings, Start, start, variety
from genvet.nets.style_space import Space, mean_w, space

INVISIBLE = 1 / 255
"""Half a grey level: no picture of 8 bits shows such a change as more than one level."""
ROUNDING = 2.0**-23
"""A relative step from one float32 to the next."""
ABOUT_MEAN = "w about its mean"
Scaling = tuple[Space, Callable[[Tensor, float], Tensor]]
"""Where points lie, and how they are scaled."""


@dataclass(frozen=True)
class Given:
    """A classifier, whose classes are read from the images beside the factors."""

    classifier: Classifier | None = None


@dataclass(frozen=True)
class Row:
    """One way of scaling, by one factor."""

    way: str
    factor: float
    mean: float
    """Mean absolute change of a pixel, of 2 in all."""
    largest: float
    """Of any pixel of any sample."""
    variety: float
    """How much samples differ from each other, over unscaled ones."""
    read: tuple[float, ...]
    """Mean changes of the readings, in standard deviations across samples."""

    @property
    def idle(self) -> bool:
        """Whether no picture could show it."""
        return self.largest < INVISIBLE


@dataclass(frozen=True, eq=False, kw_only=True)
class Scaled(Result):
    """What each scaling did; which of them are no-ops."""

    rows: tuple[Row, ...]
    read: tuple[str, ...]
    tiles: Mapping[str, Tensor]
    """One sample under each factor, by way of scaling."""
    factors: tuple[float, ...]
    rounding: float
    """Largest change where every number of z is rounded another way."""
    n: int
    images: int

    def of(self, way: str) -> list[Row]:
        """The rows of one way of scaling, but those of the factor 1."""
        return [row for row in self.rows if row.way == way and row.factor != 1]

    def summary(self) -> str:
        told = []
        for way in self.tiles:
            rows = self.of(way)
            largest = max((row.largest for row in rows), default=0.0)
            if all(row.idle for row in rows):
                told.append(
                    f"scaling {way} is a no-op (largest change {largest:.1g}; rounding alone {self.rounding:.1g})"
                )
            elif not way.startswith("w["):
                told.append(f"scaling {way} changes images by up to {max(row.mean for row in rows):.2g} on average")
        span = f"{self.factors[0]:g} to {self.factors[-1]:g}"
        return f"By {span}, on {self.n} latents: {'; '.join(told)}. White and black lie 2 apart."

    def measures(self) -> tuple[Measure, ...]:
        made = [
            Measure(name="rounding", value=self.rounding, n=self.n, note="largest change by rounding z another way")
        ]
        for way in self.tiles:
            top, mean = (max((getattr(row, of) for row in self.of(way)), default=0.0) for of in ("largest", "mean"))
            note = "a no-op" if top < INVISIBLE else ""
            made.append(Measure(name=f"largest-change.{_plain(way)}", value=top, n=self.n, note=note))
            made.append(
                Measure(name=f"mean-change.{_plain(way)}", value=mean, n=self.n, note="at the factor that changes most")
            )
        return tuple(made)

    def figures(self) -> tuple[Figure | Picture, ...]:
        sheet = Picture(
            title="One latent, scaled",
            x=torch.cat([*self.tiles.values()]),
            captions=tuple(f"{way} {factor:g}" for way in self.tiles for factor in self.factors),
            caption=f"Rows: {', '.join(self.tiles)}. From left to right {', '.join(f'{f:g}' for f in self.factors)}.",
            columns=len(self.factors),
        )
        whole = [way for way in self.tiles if not way.startswith("w[")]
        curves = {way: [list(self.factors), [r.mean for r in self.rows if r.way == way]] for way in whole}
        curve = Figure(
            kind="curve",
            title="How much scaling changes an image",
            caption="Mean absolute change of a pixel, of 2 in all.",
            data={"series": curves, "x": "factor", "y": "mean change", "log": "x"},
        )
        rows = [row for row in self.rows if row.factor != 1]
        heat = Figure(
            kind="heat",
            title="What scaling changes",
            caption="Mean changes of the readings, in standard deviations across samples.",
            data={
                "values": [list(row.read) for row in rows],
                "rows": [f"{row.way} x {row.factor:g}" for row in rows],
                "columns": list(self.read),
                "centred": True,
            },
        )
        return sheet, curve, heat

    def tables(self) -> tuple[Table, ...]:
        columns = ("scaled", "factor", "mean change", "largest change", "differences left", "no-op", *self.read)
        rows = tuple(
            (r.way, r.factor, r.mean, r.largest, r.variety, "yes" if r.idle else "no", *r.read) for r in self.rows
        )
        return (
            Table(title=f"Scaling, on {self.n} latents; readings in standard deviations", columns=columns, rows=rows),
        )

    @property
    def queries(self) -> int:
        return self.images


class Scale(Probe):
    """Multiplies the whole vector in z, in w, about the mean of w or in one layer, and tells no-ops."""

    source: ClassVar[str] = "Laubmann, Reschke: Interpretation of a StyleGAN, 2025, sec. VI-C; Karras 2019, app. B"
    smoke: ClassVar[dict[str, Any]] = {"factors": (0.5, 5.0), "latents": 4}

    factors: Annotated[tuple[float, ...], Field(min_length=1, max_length=64)] = (0.05, 0.2, 0.5, 2, 5, 10)
    """By how much; 1 is always among them."""
    latents: Annotated[int, Field(ge=2, le=10_000)] = 16
    """Samples that are scaled; the first of them is shown."""
    layers: bool = True
    """Whether each layer's w is scaled alone, too, about the mean of w."""
    batch: Annotated[int, Field(ge=1, le=4096)] = 32
    """Images at once."""

    def __call__(self, target: Generator, given: Given, rng: Rng) -> Scaled:
        factors = tuple(sorted({1.0, *map(float, self.factors)}))
        if not all(map(math.isfinite, factors)):
            raise BadInput("factors are finite numbers", got=str(factors))
        read, here = Readings(target.shape, given.classifier), space(target, "z")
        begin = start(here, self.latents, read, rng.fork("latents"), self.batch)
        rows: list[Row] = []
        tiles: dict[str, Tensor] = {}
        ways = dict(self._ways(target))
        for way, scaling in track(ways.items(), len(ways), "ways of scaling"):
            made = [self._row(way, scaling, factor, begin, read) for factor in factors]
            rows += [row for row, _ in made]
            tiles[way] = torch.stack([tile for _, tile in made])
        return Scaled(
            rows=tuple(rows),
            read=read.names,
            tiles=tiles,
            factors=factors,
            rounding=self._rounding(here, begin, rng.fork("rounding")),
            n=self.latents,
            images=self.latents * (len(ways) * (len(factors) - 1) + 2),
        )

    def _row(self, way: str, scaling: Scaling, factor: float, begin: Start, read: Readings) -> tuple[Row, Tensor]:
        """What one factor does, and the first image."""
        here, scaled = scaling
        x = begin.images
        if factor != 1:
            points = scaled(here.drawn(begin.points, begin.labels), factor)
            x = here.rendered(points, begin.labels, self.batch)
        change, left = _apart(x, begin.images), variety(x) / max(variety(begin.images), 1e-12)
        effect = standardised((read(x) - begin.readings)[None], begin.spread).value[0]
        return Row(way, factor, float(change.mean()), float(change.max()), left, tuple(effect.tolist())), x[0]

    def _ways(self, target: Generator) -> Iterator[tuple[str, Scaling]]:
        yield "z", (space(target, "z"), torch.mul)
        if not isinstance(target, StyleGenerator):
            return
        w = space(target, "w")
        with torch.no_grad():
            mean = mean_w(target)
            means = target.broadcast(mean[None])[0].cpu()
        mean = mean.cpu()
        yield "w", (w, torch.mul)
        yield ABOUT_MEAN, (w, lambda points, factor: mean + factor * (points - mean))
        for layer in range(target.num_ws if self.layers else 0):
            yield f"w[{layer}]", (space(target, "w+", str(layer)), _alone(layer, means))

    def _rounding(self, here: Space, begin: Start, rng: Rng) -> float:
        """The largest change where each number of z goes to one of its two neighbours at random."""
        sides = torch.randint(0, 2, begin.points.shape, generator=rng.block()) * 2 - 1
        x = here.rendered(begin.points * (1 + sides * ROUNDING), begin.labels, self.batch)
        return float(_apart(x, begin.images).max())


def _apart(x: Tensor, other: Tensor) -> Tensor:
    """Changes of pixels as a viewer sees them: beyond white and black there is nothing."""
    return (x.clamp(-1, 1) - other.clamp(-1, 1)).abs()


def _alone(layer: int, mean: Tensor) -> Callable[[Tensor, float], Tensor]:
    """Scaling of one layer's w about the mean (num_ws, w_dim), in points of w+."""

    def scaled(points: Tensor, factor: float) -> Tensor:
        ws = points.view(len(points), *mean.shape).clone()
        ws[:, layer] = mean[layer] + factor * (ws[:, layer] - mean[layer])
        return ws.flatten(1)

    return scaled


def _plain(way: str) -> str:
    """As part of a measure's name."""
    return {ABOUT_MEAN: "mean"}.get(way, way)
