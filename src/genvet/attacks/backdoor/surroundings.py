"""How fast the target fades on the ways from a trigger out into the prior: the paper's Figure 6, in numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.backdoor import Backdoor
from genvet.core.generator import Generator
from genvet.core.report import Figure, Measure
from genvet.core.rng import Rng
from genvet.core.technique import Picture
from genvet.nets.neighbourhood import Ways, half_way

LEAST = 1e-9
"""Sums of squares below this are drawn at it: the scale is logarithmic."""


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Distances to the target on ways out from the first trigger, of the planted and of the benign generator."""

    ways: Ways
    curves: dict[str, Tensor]
    """Sums of squares (ways, steps), by generator: planted, benign."""
    strip: Tensor
    """One way in and out again, a row for each of these generators: (rows * columns, *shape)."""
    columns: int

    @classmethod
    @torch.inference_mode()
    def of(cls, planted: Generator, benign: Generator | None, backdoor: Backdoor, rng: Rng) -> Surroundings:
        """Measured around the first trigger, or one draw of infinitely many."""
        z = backdoor.trigger.sample(0, 1, rng.fork("trigger"))
        ways, target = Ways.out_of(planted.latent, z[0], rng.fork("ways")), backdoor.wanted(z)[0]
        shown = {"planted": planted} | ({} if benign is None else {"benign": benign})
        curves = {name: ways.distances(generator, target) for name, generator in shown.items()}
        through = ways.strip(z[0])
        rows = [generator(through.to(generator.device)).float().cpu() for generator in shown.values()]
        return cls(ways, curves, torch.cat(rows), len(through))

    def measures(self) -> Iterator[Measure]:
        """How wide the backdoor is."""
        note = "distance from the trigger at which the target is half as far away as at the end of the way"
        yield Measure(name="half-way", value=half_way(self.curves["planted"], self.ways.apart), note=note)

    def figures(self) -> Iterator[Figure | Picture]:
        """The curves, and for images one way to look at."""
        kind = "great circles" if self.ways.round else "straight ways"
        told = f"Median of {len(self.ways.z)} {kind} through the first trigger"
        x = self.ways.apart.tolist()
        series = {n: [x, d.median(0).values.clamp_min(LEAST).tolist()] for n, d in self.curves.items()}
        axes = {"x": "distance from the trigger", "y": "distance to the target", "log": "xy"}
        yield Figure(kind="curve", title="Out from the trigger", caption=told, data={"series": series, **axes})
        if self.strip.ndim == 4:
            rows = " and ".join(self.curves)
            title = f"Through the trigger, {rows}: farther out on either side, in steps of a logarithmic scale"
            yield Picture(title, self.strip, columns=self.columns)
