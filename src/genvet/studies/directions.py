"""Directions: principal components of w, SeFa's closed form, the boundary of a score, the style channels behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import StyleGenerator
from genvet.core.report import Figure, Measure, Scalar, Table
from genvet.core.rng import Rng
from genvet.core.technique import Picture, Probe, Result
from genvet.maths.boundaries import Boundary, between_ends, conditional
from genvet.maths.effects import Effects, standardised
from genvet.nets.editing import Readings, Start, moved, sensitivity, start, units
from genvet.nets.style_directions import Basis, basis
from genvet.nets.style_space import Space, numbers, space, style_layers

Method = Literal["pca", "sefa", "boundary", "channels"]
METHODS: tuple[Method, ...] = ("pca", "sefa", "boundary", "channels")
SHOWN = (-3.0, -1.5, 0.0, 1.5, 3.0)
"""Moves in a contact sheet, in standard deviations of the coordinate."""
FEWEST = 40
"""Samples of each kind, for a boundary."""
Shares = tuple[float | None, ...]


@dataclass(frozen=True)
class Given:
    """A classifier, whose classes are read from the images beside the factors, and can be scores."""

    classifier: Classifier | None = None


@dataclass(frozen=True, eq=False)
class Family:
    """The directions that one method found, and what they do."""

    names: tuple[str, ...]
    directions: Tensor
    """Of w (k, w_dim), or of s (k, dim)."""
    shares: Shares
    """Of the variance of w, or of the styles' weights."""
    effects: Effects
    """Of one standard deviation up, in standard deviations of the readings: (k, readings)."""
    tiles: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class Found(Result):
    """Directions by method, each with what it changes."""

    families: Mapping[str, Family]
    read: tuple[str, ...]
    parted: Mapping[str, Boundary]
    """The boundary of the score, and of what is to be kept."""
    score: str
    kept_still: tuple[str, ...]
    n: int
    images: int

    def summary(self) -> str:
        told = []
        for method, family in self.families.items():
            i, k = divmod(int(family.effects.value.abs().argmax()), len(self.read))
            value = float(family.effects.value[i, k])
            told.append(f"{method}: {family.names[i]} moves {self.read[k]} most ({value:+.2g} sd)")
        told = [f"One standard deviation along each direction, on {self.n} latents. {'; '.join(told)}.", self._held()]
        return " ".join(told).strip()

    def _held(self) -> str:
        """What holding other readings still cost, and brought."""
        family = self.families.get("boundary")
        if family is None or len(family.names) < 2:
            return ""
        columns = [self.read.index(name) for name in (self.score, *self.kept_still)]
        plain, held = (family.effects.value[i, columns].tolist() for i in (0, 1))
        told = [
            f"{name} {a:+.2g} to {b:+.2g}"
            for name, a, b in zip((self.score, *self.kept_still), plain, held, strict=True)
        ]
        return f"With {' and '.join(self.kept_still)} projected out: {', '.join(told)} sd."

    def measures(self) -> tuple[Measure, ...]:
        made = []
        for method, family in self.families.items():
            top = float(family.effects.value.abs().max())
            made.append(Measure(name=f"strongest-effect.{method}", value=top, unit="sd", n=self.n))
            if family.shares[0] is not None:
                note = f"of the first {len(family.shares)} directions"
                total = sum(share or 0.0 for share in family.shares)
                made.append(Measure(name=f"explained.{method}", value=total, note=note))
        for name, found in self.parted.items():
            note = f"{name}, high against low, in w, on samples held back"
            made.append(
                Measure(
                    name=f"accuracy.{name.replace(' ', '-')}", value=found.accuracy, chance=0.5, n=found.n, note=note
                )
            )
        return tuple(made)

    def figures(self) -> tuple[Figure | Picture, ...]:
        made: list[Figure | Picture] = []
        for method, family in self.families.items():
            sheet = Picture(
                title=f"Directions by {method}",
                x=family.tiles.flatten(0, 1),
                captions=tuple(f"{name} {delta:+g}" for name in family.names for delta in SHOWN),
                caption=f"A row for each direction; from {SHOWN[0]:g} to {SHOWN[-1]:g} standard deviations.",
                columns=len(SHOWN),
            )
            heat = Figure(
                kind="heat",
                title=f"What directions by {method} change",
                caption="One standard deviation up, in standard deviations of the reading across samples.",
                data={
                    "values": family.effects.value.tolist(),
                    "rows": list(family.names),
                    "columns": list(self.read),
                    "centred": True,
                },
            )
            made += [sheet, heat]
        return tuple(made)

    def tables(self) -> tuple[Table, ...]:
        columns = ("method", "direction", "share", "strongest on", "effect", "low", "high", "n", *self.read)
        title = "What each direction changes, in standard deviations, one standard deviation up"
        return (Table(title=title, columns=columns, rows=tuple(self._rows())),)

    def _rows(self) -> Iterator[tuple[Scalar, ...]]:
        for method, family in self.families.items():
            e = family.effects
            for i, name in enumerate(family.names):
                k = int(e.value[i].abs().argmax())
                told = (float(t[i, k]) for t in (e.value, e.low, e.high))
                yield (method, name, family.shares[i], self.read[k], *told, self.n, *e.value[i].tolist())

    def tensors(self) -> Mapping[str, Tensor]:
        rows = (
            (f"{m}.{name}", d) for m, f in self.families.items() for name, d in zip(f.names, f.directions, strict=True)
        )
        return {name: direction.contiguous() for name, direction in rows}

    @property
    def queries(self) -> int:
        return self.images


class Directions(Probe):
    """Finds directions in w and channels of the style space that change images, and what they change."""

    source: ClassVar[str] = "GANSpace 2020; Shen, Zhou (SeFa) 2021, eq. 5; InterFaceGAN 2020, sec. 3; StyleSpace 2021"
    smoke: ClassVar[dict[str, Any]] = {"count": 2, "latents": 4, "samples": 160}

    method: Literal["all", "pca", "sefa", "boundary", "channels"] = "all"
    """Principal components of w, SeFa, the boundary of a score, or the style channels that move the score."""
    count: Annotated[int, Field(ge=1, le=64)] = 6
    """Directions by each method."""
    layers: str = ""
    """Layers of w+ that are moved, such as 2-5, and whose styles count for SeFa; all of them unless given."""
    score: str = "brightness"
    """What a boundary and style channels are looked for: a factor, or a class of the classifier."""
    keep: str = ""
    """What is to stay as it is, such as contrast,area: their boundaries are projected out of the score's."""
    samples: Annotated[int, Field(ge=4 * FEWEST, le=200_000)] = 1000
    """Images that a boundary is fitted to: the quarter with the highest score against that with the lowest."""
    latents: Annotated[int, Field(ge=2, le=10_000)] = 16
    """Samples that are moved; the first of them is shown."""
    batch: Annotated[int, Field(ge=1, le=4096)] = 32
    """Images at once."""

    def __call__(self, target: StyleGenerator, given: Given, rng: Rng) -> Found:
        read = Readings(target.shape, given.classifier)
        asked = tuple(filter(None, (name.strip() for name in self.keep.split(","))))
        score, *kept = (read.names[read.column(name)] for name in (self.score, *asked))
        methods = METHODS if self.method == "all" else (self.method,)
        here = space(target, "w+", self.layers) if self.layers else space(target, "w")
        begin = start(here, self.latents, read, rng.fork("latents"), self.batch)
        families: dict[str, Family] = {}
        parted: dict[str, Boundary] = {}
        for method in methods:
            if method == "channels":
                families[method] = self._channels(target, read, score, rng)
                continue
            if method == "boundary":
                parted = self._boundaries(target, (score, *kept), read, rng.fork("samples"))
                names, directions, shares = _held(parted, score, kept)
            else:
                names, directions, shares = _first(basis(here, method), method, self.count)
            families[method] = self._family(here, begin, names, here.directions(directions), shares, read)
        return Found(
            families=families,
            read=read.names,
            parted=parted,
            score=score,
            kept_still=tuple(kept),
            n=self.latents,
            images=self._images(families),
        )

    def _images(self, families: Mapping[str, Family]) -> int:
        """How many were made in all."""
        moves = sum(len(family.names) for family in families.values()) * (len(SHOWN) - 1)
        apart = self.samples if "boundary" in families else 0
        return self.latents * (moves + 1 + 2 * ("channels" in families)) + apart

    def _family(
        self, here: Space, begin: Start, names: Sequence[str], directions: Tensor, shares: Shares, read: Readings
    ) -> Family:
        """What these directions (k, dim) do, moved by standard deviations of their own coordinate."""
        steps = directions.cpu() * units(here, directions)[:, None]
        moves = moved(here, begin, steps, SHOWN, read, self.batch, keep=len(names))
        up, down = SHOWN.index(1.5), SHOWN.index(-1.5)
        effects = standardised((moves.readings[:, up] - moves.readings[:, down]) / 3, begin.spread)
        return Family(tuple(names), directions.cpu(), shares, effects, moves.tiles)

    def _boundaries(
        self, target: StyleGenerator, asked: Sequence[str], read: Readings, rng: Rng
    ) -> dict[str, Boundary]:
        """Between the samples with the highest and the lowest quarter of each reading, in w."""
        begin = start(space(target, "w"), self.samples, read, rng, self.batch)
        quarter, found = self.samples // 4, {}
        for name in asked:
            mixed = torch.randperm(2 * quarter, generator=rng.fork("order").block())
            plane = between_ends(begin.points, begin.readings[:, read.column(name)], quarter, mixed)
            if plane is None:
                raise Unsupported(f"{name} is the same in most images", hint="choose another score")
            found[name] = plane
        return found

    def _channels(self, target: StyleGenerator, read: Readings, score: str, rng: Rng) -> Family:
        """The style channels that move the score most: found by its gradient, and measured by moving them."""
        layers = self._style_layers(target)
        here = space(target, "s", layers)
        begin = start(here, self.latents, read, rng.fork("latents"), self.batch)
        slopes = sensitivity(here, begin, read.score(score), self.batch) * begin.points.std(0)
        pull = here.weights(slopes[None])[0]
        if not bool(pull.any()):
            hint = "--method boundary needs none, and other scores have one"
            raise Unsupported(f"{score} has no gradient, by which style channels are found", hint=hint)
        chosen = pull.abs().argsort(descending=True, stable=True)[: self.count].tolist()
        names, directions = [here.called(k) for k in chosen], torch.stack([here.axis(k) for k in chosen])
        return self._family(here, begin, names, directions, (None,) * len(chosen), read)

    def _style_layers(self, target: StyleGenerator) -> str:
        """The names of the layers that read the chosen w."""
        if not self.layers:
            return ""
        chosen = numbers(self.layers, target.num_ws, "layer")
        return ",".join(layer.name for layer in style_layers(target) if layer.reads in chosen)


def _first(found: Basis, method: str, count: int) -> tuple[list[str], Tensor, Shares]:
    directions = found.directions[:count]
    names = [f"{method}[{k}]" for k in range(len(directions))]
    return names, directions, tuple(found.shares[:count].tolist())


def _held(parted: Mapping[str, Boundary], score: str, kept: Sequence[str]) -> tuple[list[str], Tensor, Shares]:
    """The score's boundary, and again without its part along those of what is to be kept."""
    normal = parted[score].normal
    if not kept:
        return [score], normal[None], (None,)
    left = conditional(normal, torch.stack([parted[name].normal for name in kept]))
    if not bool(left.any()):
        raise BadInput(f"nothing is left of {score} where {' and '.join(kept)} may not change")
    return [score, f"{score}, {' and '.join(kept)} kept"], torch.stack([normal, left]), (None, None)
