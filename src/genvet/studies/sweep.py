"""Sweep: one dimension or direction after the other is moved, and what that does to the images is measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.generator import Generator, StyleGenerator
from genvet.core.report import Figure, Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Picture, Probe, Result
from genvet.maths.effects import Effects, beyond, lead_p_value, standardised
from genvet.nets.editing import Moved, Readings, Start, moved, random_directions, start, units
from genvet.nets.style_directions import basis
from genvet.nets.style_space import Space, Z, numbers, space

FIRST = 16
"""Dimensions, where none are named."""
MOST_ROWS = 64
"""Of a contact sheet."""


@dataclass(frozen=True)
class Given:
    """A classifier, whose classes are read from the images beside the factors."""

    classifier: Classifier | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Swept(Result):
    """What every move did, beside random directions; and how much is left of the differences between samples."""

    where: str
    names: tuple[str, ...]
    """Of the directions."""
    read: tuple[str, ...]
    deltas: tuple[float, ...]
    step: float
    moves: Moved
    effects: Effects
    """Of one step to either side, in standard deviations of the reading: (directions, readings)."""
    controls: Effects
    """The same of random directions."""
    w_left: Tensor | None
    """Spread of w across samples over that of the unmoved ones, (directions, deltas); None but for z of a mapping."""
    n: int
    images: int

    def summary(self) -> str:
        row, column = divmod(int(self.effects.value.abs().argmax()), len(self.read))
        top = float(self.effects.value[row, column])
        told = (
            f"{len(self.names)} directions of {self.where}, on {self.n} latents: {self.names[row]} moves "
            f"{self.read[column]} most, {top:+.2g} standard deviations in {self.step:g} steps. {self.special} of them "
            f"do more than each of {len(self.controls.value)} random directions ({self.by_chance:.2g} by chance, "
            f"p {self.p_special:.2g})."
        )
        return f"{told} {self._ends()}".rstrip()

    @cached_property
    def p(self) -> list[float]:
        """Of each direction: how often a random one has as strong a strongest effect."""
        return beyond(self.effects, self.controls)

    @property
    def special(self) -> int:
        """Directions whose strongest effect no random direction reaches."""
        return sum(p <= 1 / (1 + len(self.controls.value)) for p in self.p)

    @property
    def p_special(self) -> float:
        """How likely as many are ahead of all random directions, where none is special."""
        return lead_p_value(self.special, len(self.names), len(self.controls.value))

    @property
    def by_chance(self) -> float:
        return len(self.names) / (1 + len(self.controls.value))

    @property
    def farthest(self) -> int:
        return max(range(len(self.deltas)), key=lambda i: abs(self.deltas[i]))

    def _ends(self) -> str:
        """Where a large delta leads."""
        delta, left = self.deltas[self.farthest], self.moves.variety[:, self.farthest].median()
        told = f"At {delta:g}, images differ from each other {100 * left:.3g} % as much as unmoved ones"
        if self.w_left is None:
            return f"{told}."
        w = 100 * self.w_left[:, self.farthest].median()
        return (
            f"{told}, and their w {w:.3g} % as much: z is normalised, so that the larger the delta, the nearer all "
            "samples come to one and the same point, that of the direction alone."
        )

    def measures(self) -> tuple[Measure, ...]:
        far = f"the median over directions, at {self.deltas[self.farthest]:g}"
        controls = f"against {len(self.controls.value)} random directions; p {self.p_special:.2g}"
        made = [
            Measure(name="strongest-effect", value=float(self.effects.value.abs().max()), unit="sd", n=self.n),
            Measure(name="special", value=self.special, chance=self.by_chance, n=len(self.names), note=controls),
            Measure(
                name="variety-left", value=float(self.moves.variety[:, self.farthest].median()), n=self.n, note=far
            ),
        ]
        if self.w_left is not None:
            made.append(Measure(name="w-left", value=float(self.w_left[:, self.farthest].median()), n=self.n, note=far))
        return tuple(made)

    def figures(self) -> tuple[Figure | Picture, ...]:
        captions = [f"{name} {delta:+g}" for name in self.names[:MOST_ROWS] for delta in self.deltas]
        sheet = Picture(
            title="One latent, moved",
            x=self.moves.tiles.flatten(0, 1),
            captions=tuple(captions),
            caption=f"A row for each direction; from left to right {', '.join(f'{d:g}' for d in self.deltas)}.",
            columns=len(self.deltas),
        )
        heat = Figure(
            kind="heat",
            title="What a direction changes",
            caption=f"{self.step:g} steps up, in standard deviations of the reading across samples.",
            data={
                "values": self.effects.value.tolist(),
                "rows": list(self.names),
                "columns": list(self.read),
                "centred": True,
            },
        )
        return sheet, heat, self._spread()

    def _spread(self) -> Figure:
        """Over the size of the delta, both signs together: deltas go from 2 to 1000."""
        sizes = sorted({abs(delta) for delta in self.deltas if delta})

        def left(shares: Tensor) -> list[Any]:
            at = [[i for i, delta in enumerate(self.deltas) if abs(delta) == size] for size in sizes]
            return [sizes, [float(shares[:, columns].median()) for columns in at]]

        series = {"images": left(self.moves.variety)} | ({} if self.w_left is None else {"w": left(self.w_left)})
        caption = (
            "1 is as much as unmoved samples differ; 0, that all of them have become one. Medians over directions."
        )
        data = {"series": series, "x": "delta, up or down", "y": "differences left", "log": "x"}
        return Figure(kind="curve", title="How much samples still differ", caption=caption, data=data)

    def tables(self) -> tuple[Table, ...]:
        strongest = self.effects.value.abs().argmax(1).tolist()
        reached = self.controls.value.abs().max(1).values
        rows = []
        for i, (name, k) in enumerate(zip(self.names, strongest, strict=True)):
            value, low, high = (float(t[i, k]) for t in (self.effects.value, self.effects.low, self.effects.high))
            rows.append((name, self.read[k], value, low, high, self.n, float(reached.median()), self.p[i]))
        title = f"The strongest effect of each direction, in standard deviations, {self.step:g} steps up"
        columns = ("direction", "reading", "effect", "low", "high", "n", "random directions, median", "p")
        return (Table(title=title, columns=columns, rows=tuple(rows)),)

    @property
    def queries(self) -> int:
        return self.images


class Sweep(Probe):
    """Moves one dimension or direction after the other, and measures what that does to the images."""

    source: ClassVar[str] = "Laubmann, Reschke: Interpretation of a StyleGAN, 2025, sec. VI-D"
    smoke: ClassVar[dict[str, Any]] = {"dimensions": "0-1", "deltas": (-2.0, 2.0), "latents": 4, "controls": 3}

    space: Literal["z", "w", "w+", "s"] = "z"
    """Where: the latent, w, a w for each layer, or every channel of the layers' styles."""
    layers: str = ""
    """Of w+ and s, such as 2-5, or b8.conv0,b8.conv1; all of them unless given."""
    along: Literal["axes", "pca", "sefa", "random"] = "axes"
    """Dimensions; principal components of w; SeFa's directions (w and w+ have both); or random directions."""
    dimensions: Annotated[str, Field(max_length=1000)] = ""
    """Which of them, such as 0-50,70,125; the first 16 unless given."""
    deltas: Annotated[tuple[float, ...], Field(min_length=1, max_length=64)] = (-10, -5, -2, 2, 5, 10)
    """How far to move. In z as they are; elsewhere in standard deviations of that coordinate."""
    step: Annotated[float, Field(gt=0)] = 2.0
    """The move, to either side, by which directions are compared."""
    latents: Annotated[int, Field(ge=2, le=10_000)] = 16
    """Samples that are moved; the first of them is shown."""
    controls: Annotated[int, Field(ge=1, le=1000)] = 19
    """Random directions to compare with."""
    batch: Annotated[int, Field(ge=1, le=4096)] = 32
    """Images at once."""

    def __call__(self, target: Generator, given: Given, rng: Rng) -> Swept:
        here, read = space(target, self.space, self.layers), Readings(target.shape, given.classifier)
        names, directions = self._directions(here, rng)
        begin = start(here, self.latents, read, rng.fork("latents"), self.batch)
        deltas = tuple(sorted({0.0, *map(float, self.deltas)}))
        scale = units(here, directions)[:, None]
        moves = moved(here, begin, directions * scale, deltas, read, self.batch, keep=MOST_ROWS)
        random = random_directions(here, self.controls, rng.fork("controls"))
        both = torch.cat([directions * scale, random * units(here, random)[:, None]])
        sides = moved(here, begin, both, (-self.step, self.step), read, self.batch).readings
        effects = standardised((sides[:, 1] - sides[:, 0]) / 2, begin.spread)
        return Swept(
            where=f"{self.space}{f' ({self.layers})' if self.layers else ''}",
            names=names,
            read=read.names,
            deltas=deltas,
            step=self.step,
            moves=moves,
            effects=effects[: len(names)],
            controls=effects[len(names) :],
            w_left=_w_left(here, begin, directions, deltas),
            n=self.latents,
            images=self.latents * (len(names) * (len(deltas) + 1) + 2 * self.controls + 1),
        )

    def _directions(self, here: Space, rng: Rng) -> tuple[tuple[str, ...], Tensor]:
        """The chosen ones, by name: (k, dim)."""
        chosen = numbers(self.dimensions, here.axes) if self.dimensions else tuple(range(min(FIRST, here.axes)))
        if self.along == "axes":
            return tuple(map(here.called, chosen)), torch.stack([here.axis(k).cpu() for k in chosen])
        if self.along == "random":
            found = random_directions(here, max(chosen) + 1, rng.fork("directions"))
        else:
            found = here.directions(basis(here, self.along).directions)
        return tuple(f"{self.along}[{k}]" for k in chosen), found[list(chosen)]


@torch.inference_mode()
def _w_left(here: Space, begin: Start, directions: Tensor, deltas: tuple[float, ...]) -> Tensor | None:
    """How far w still spreads across samples behind each move of z, over its spread before: (directions, deltas)."""
    generator = here.generator
    if not isinstance(here, Z) or not isinstance(generator, StyleGenerator):
        return None

    def spread(z: Tensor) -> float:
        return float(generator.mapping(z.to(generator.device), begin.labels).float().std(0).mean())

    before = max(spread(begin.points), 1e-12)
    return torch.tensor([[spread(begin.points + delta * d) / before for delta in deltas] for d in directions])
