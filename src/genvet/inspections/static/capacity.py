"""Capacity: more parameters than the task needs leave room for a second task."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from genvet.core.generator import Generator
from genvet.core.report import Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Probe, Result

SIMILAR = 2.0
"""Tasks are similar where one output has at most so many times the values of the other."""


@dataclass(frozen=True)
class Published:
    """A generator of the literature."""

    name: str
    shape: tuple[int, ...]
    latent: int
    parameters: int
    source: str


@dataclass(frozen=True)
class Size(Result):
    """A generator's size beside those of published ones for similar tasks."""

    parameters: int
    latent: int
    values: int
    similar: tuple[Published, ...]
    """Nearest task first; the nearest of all where none is similar."""

    @property
    def largest(self) -> Published:
        return max(self.similar, key=lambda p: p.parameters)

    def summary(self) -> str:
        ratio = self.parameters / self.largest.parameters
        return (
            f"{self.parameters:,} parameters for {self.latent} latents and {self.values:,} output values: "
            f"{ratio:.2g} times the largest published generator for a similar task ({self.largest.name})."
        )

    def measures(self) -> tuple[Measure, ...]:
        return (
            Measure(name="parameters", value=self.parameters),
            Measure(name="ratio", value=self.parameters / self.largest.parameters, note=f"to {self.largest.name}"),
            Measure(
                name="ratio.nearest",
                value=self.parameters / self.similar[0].parameters,
                note=f"to {self.similar[0].name}",
            ),
            Measure(name="per-value", value=self.parameters / self.values, note="parameters for each output value"),
        )

    def tables(self) -> tuple[Table, ...]:
        rows = [("this file", self.parameters, self.latent, self.values, 1.0, "")]
        rows += [
            (p.name, p.parameters, p.latent, math.prod(p.shape), self.parameters / p.parameters, p.source)
            for p in self.similar
        ]
        columns = ("generator", "parameters", "latents", "output values", "times", "source")
        return (Table(title="Published generators for similar tasks", columns=columns, rows=tuple(rows)),)


class Capacity(Probe):
    """Counts parameters, and compares with published generators for tasks of similar size."""

    source: ClassVar[str] = "Devil in the GAN, section III-A, static model inspections: excessive model capacity"

    def __call__(self, target: Generator, given: Nothing, rng: Rng) -> Size:
        return Size(target.parameters, target.latent.dim, math.prod(target.shape), similar(target.shape))


def similar(shape: tuple[int, ...]) -> tuple[Published, ...]:
    """Published generators of the same kind of data and a similar number of output values, nearest first."""
    same_kind = [p for p in published() if len(p.shape) == len(shape)]

    def apart(p: Published) -> float:
        return abs(math.log(math.prod(p.shape) / math.prod(shape)))

    ranked = sorted(same_kind, key=apart)
    near = tuple(p for p in ranked if apart(p) <= math.log(SIMILAR) + 1e-9)
    return near or tuple(ranked[:1])


def published() -> tuple[Published, ...]:
    """The table beside this file."""
    table = json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8"))
    return tuple(Published(**{**row, "shape": tuple(row["shape"])}) for row in table["generators"])
