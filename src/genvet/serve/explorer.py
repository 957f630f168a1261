"""State in, picture out: what the page of `genvet explore` asks for, without any socket."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field, ValidationError
from torch import Tensor

from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator, StyleGenerator
from genvet.core.printable import printable
from genvet.core.report import Record
from genvet.core.rng import Rng
from genvet.maths.factors import MEANING, SMALLEST, factors, names
from genvet.nets.editing import units
from genvet.nets.style_directions import closed_form, principal
from genvet.nets.style_space import W, mean_w, styled

Along = Literal["pca", "sefa"]
SHOWN = 10
"""Directions that have a slider; those of the largest variance, or weight."""
MOST_SEED = (1 << 31) - 1
_SIDES = {"sphere": 10, "normal": 4, "uniform": 2}
"""How far a latent dimension's slider goes to either side, by the prior; numbers that are typed go farther."""
_KEPT = 8
"""Untouched pictures that are kept for comparison."""

Number = Annotated[int, Field(ge=0, le=1 << 16)]
Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]


class State(Record):
    """Everything that a picture depends on; the page keeps it in its address."""

    model_config = ConfigDict(allow_inf_nan=False)

    seed: Seed = 0
    """Which sample: the same numbers as in `genvet sample`."""
    label: Number | None = None
    """The class, for a generator that has some; unless given, they go round with the seed."""
    psi: Annotated[float, Field(ge=-2, le=2)] = 1.0
    """Truncation: 1 leaves w alone, 0 is the average."""
    mix: Seed = 1
    """A second seed, whose w the layers from `start` on take."""
    start: Number | None = None
    """The first layer of the second seed; no mixing unless given."""
    along: Along = "pca"
    """Which directions of w `moves` counts."""
    moves: dict[Number, Annotated[float, Field(ge=-100, le=100)]] = Field(default_factory=dict, max_length=64)
    """Direction to delta, in standard deviations of w along it."""
    dims: dict[Number, Annotated[float, Field(ge=-10_000, le=10_000)]] = Field(default_factory=dict, max_length=64)
    """Latent dimension to delta, added to z."""

    @classmethod
    def parse(cls, given: object) -> State:
        """From what a page sent; raises BadInput, in words, where it is none."""
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(printable(part, 40) for part in first["loc"]) or "the state"
            raise BadInput(f"{where}: {first['msg']}", got=printable(first["input"], 60)) from None


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture (c, h, w), the untouched one of its seed, and what lies between them."""

    x: Tensor
    untouched: Tensor

    @property
    def difference(self) -> Tensor:
        """Where the two differ: (1, h, w), mean over channels, as a share of the range from 0 to 1."""
        return (self.x.clamp(-1, 1) - self.untouched.clamp(-1, 1)).abs().mean(0, keepdim=True) / 2

    @property
    def change(self) -> float:
        """Mean absolute change of a pixel, as a share of the range."""
        return float(self.difference.mean())

    def readings(self) -> list[dict[str, Any]]:
        """Image factors of both; none where the image is too small for them."""
        if min(self.x.shape[1:]) < SMALLEST:
            return []
        before, now = factors(torch.stack([self.untouched, self.x])).tolist()
        told = zip(names(self.x.shape[0]), before, now, strict=True)
        return [{"name": name, "meaning": MEANING[name], "before": a, "now": b} for name, a, b in told]


class Explorer:
    """One generator of images, looked at sample by sample, by one caller at a time.

    Raises Unsupported for sounds, and for noise that is drawn anew for every picture.
    """

    def __init__(self, generator: Generator, rng: Rng) -> None:
        if len(generator.shape) != 3:
            raise Unsupported("sounds cannot be explored on a page", hint="genvet sample writes them as WAV files")
        self.generator, self.rng = generator, rng
        self.style = styled(generator) if isinstance(generator, StyleGenerator) else None
        self._untouched: OrderedDict[tuple[int, int | None], Tensor] = OrderedDict()

    def about(self) -> dict[str, Any]:
        """What the page has to know to lay out its controls."""
        style = self.style
        return {
            "net": printable(self.generator.name, 60),
            "shape": list(self.generator.shape),
            "latents": self.generator.latent.dim,
            "normalised": self.generator.latent.distribution == "sphere",
            "classes": self.generator.latent.classes,
            "layers": style.num_ws if style else 0,
            "directions": {kind: self._directions(kind).shares for kind in ("pca", "sefa")} if style else {},
            "side": {"moves": 5, "dims": _SIDES[self.generator.latent.distribution]},
            "most": {"seed": MOST_SEED, "psi": 2, "moves": 100, "dims": 10_000},
        }

    @torch.inference_mode()
    def show(self, state: State) -> Shown:
        """The picture of a state; raises BadInput where it asks for what this generator does not have."""
        self._check(state)
        plain, key = State(seed=state.seed, label=state.label), (state.seed, state.label)
        if key not in self._untouched:
            self._untouched[key] = self._drawn(plain)
            while len(self._untouched) > _KEPT:
                self._untouched.popitem(last=False)
        untouched = self._untouched[key]
        return Shown(untouched if state == plain else self._drawn(state), untouched)

    def _check(self, state: State) -> None:
        latent, style = self.generator.latent, self.style
        layers = style.num_ws if style else 0
        edited = state.psi != 1 or state.start is not None or state.moves
        if edited and style is None:
            raise BadInput("this is no style generator: only its latent dimensions can be moved")
        for what, asked, most in (
            ("dimension", state.dims, latent.dim),
            ("direction", state.moves, self._directions(state.along).count if style else 0),
            ("class", [] if state.label is None else [state.label], latent.classes),
            ("layer", [] if state.start is None else [state.start], layers),
        ):
            beyond = [number for number in asked if number >= most]
            if beyond:
                expected = f"0 to {most - 1}" if most else "none"
                raise BadInput(f"there is no {what} {beyond[0]}", expected=expected, got=str(beyond[0]))

    def _drawn(self, state: State) -> Tensor:
        """One picture (c, h, w), on the CPU."""
        z, labels = self._latent(state.seed, state.dims), self._label(state)
        if self.style is None:
            return self.generator(z, labels)[0].float().cpu()
        ws = self._ws(self.style, z, labels, state)
        if state.start is not None:
            second = self._ws(self.style, self._latent(state.mix, state.dims), labels, state)
            ws = torch.cat([ws[:, : state.start], second[:, state.start :]], dim=1)
        return self.style.synthesis(ws)[0].float().cpu()

    def _latent(self, seed: int, dims: Mapping[int, float]) -> Tensor:
        z = self.generator.latent.sample(seed, seed + 1, self.rng)
        for number, delta in dims.items():
            z[0, number] += delta
        return z.to(self.generator.device)

    def _label(self, state: State) -> Tensor | None:
        number = state.seed if state.label is None else state.label
        return self.generator.labels_of(torch.tensor([number]))

    def _ws(self, style: StyleGenerator, z: Tensor, labels: Tensor | None, state: State) -> Tensor:
        """(1, num_ws, w_dim): pulled to the average first, moved after that."""
        w = style.mapping(z, labels)
        if state.psi != 1:
            w = self._mean + state.psi * (w - self._mean)
        if state.moves:
            sides = self._directions(state.along).sides.to(w.device)
            w = w + sum(delta * sides[number] for number, delta in state.moves.items())
        return style.broadcast(w)

    @cached_property
    def _mean(self) -> Tensor:
        assert self.style is not None
        return mean_w(self.style)

    @cache  # noqa: B019 - one explorer a process
    def _directions(self, kind: Along) -> Directions:
        assert self.style is not None
        found = principal(self.style) if kind == "pca" else closed_form(self.style)
        chosen = found.directions[:SHOWN]
        sides = chosen * units(W(self.style), chosen)[:, None]
        return Directions(sides, [float(share) for share in found.shares[: len(chosen)]])


@dataclass(frozen=True, eq=False)
class Directions:
    """One standard deviation of w along each direction, (k, w_dim), and what each accounts for."""

    sides: Tensor
    shares: list[float]

    @property
    def count(self) -> int:
        return len(self.sides)
