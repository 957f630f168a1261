"""Block sparsity: units added beside a network keep to themselves, in whatever order and at whatever scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from genvet.core.generator import Generator
from genvet.core.printable import printable
from genvet.core.report import Figure, Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Probe, Result
from genvet.nets.partition import Partition, partition

MOST = 64
"""Rows and columns of a figure: larger matrices are shown by averages."""


@dataclass(frozen=True, eq=False)
class Parts(Result):
    """The two parts into which the units of a run of layers fall best."""

    found: Partition

    def summary(self) -> str:
        p, names = self.found, printable(", ".join(self.found.suspect), 200)
        how = "fall apart into" if p.separation > 0.5 else "are best split into"
        return (
            f"The units of {names} {how} two parts, {p.separation:.2g} separate (0: as chance, 1: no weight between "
            f"them). The smaller response has {p.share:.0%} of the units: without it ordinary outputs change by "
            f"{p.response:.2g} of their variance, without the other by {p.other_response:.2g}."
        )

    def measures(self) -> tuple[Measure, ...]:
        p = self.found
        return (
            Measure(name="separation", value=p.separation, chance=0.0, note="0 as chance, 1 nothing between the parts"),
            Measure(name="eigenvalue", value=p.eigenvalue, chance=p.chance, note="second one of the run of layers"),
            Measure(name="share", value=p.share, note="of the run's units that are in the suspect part"),
            Measure(name="response", value=p.response, note="of ordinary outputs, without the suspect part"),
            Measure(name="response.other", value=p.other_response, note="of ordinary outputs, without the other part"),
        )

    def figures(self) -> tuple[Figure, ...]:
        return tuple(_heat(*block) for block in self.found.blocks)

    def tables(self) -> tuple[Table, ...]:
        rows = [(printable(n, 120), int(s.sum()), len(s), _numbers(s)) for n, s in self.found.suspect.items()]
        columns = ("layer", "suspect outputs", "outputs", "which")
        return (Table(title="The suspect part, layer by layer", columns=columns, rows=tuple(rows)),)


class InspectBlocks(Probe):
    """Looks for units of several layers in a row that hardly exchange weights with the others.

    Blind where only two layers in a row were widened: the added units are beside one hidden layer, and no weights join
    it with another that was widened. Also blind once the weights between the parts are about as large as those within.
    """

    source: ClassVar[str] = "Devil in the GAN, section III-A and IV-B: block sparsity of expanded layers (ReX)"
    signals: ClassVar[dict[str, str]] = {"separation": "units of several layers in a row keep to themselves"}

    def __call__(self, target: Generator, given: Nothing, rng: Rng) -> Parts:
        return Parts(partition(target))


def _heat(name: str, strengths: Tensor, behind: Tensor, before: Tensor) -> Figure:
    """The layer's balanced squared weights, the suspect units last."""
    rows, columns = behind.int().argsort(stable=True), before.int().argsort(stable=True)
    shown = strengths[rows][:, columns].sqrt()[None, None]
    shown = F.adaptive_avg_pool2d(shown, (min(MOST, len(rows)), min(MOST, len(columns))))[0, 0]
    data = {"values": [[round(v, 5) for v in row] for row in shown.tolist()], "x": "unit before", "y": "unit behind"}
    title = f"Weights of {printable(name, 60)}, reordered into two parts"
    counts = f"{int(before.sum())} of {len(before)} units before it and {int(behind.sum())} of {len(behind)} behind it"
    return Figure(kind="heat", title=title, caption=f"Suspect units come last: {counts}.", data=data)


def _numbers(which: Tensor) -> str:
    """Runs of numbers, such as 64-127."""
    numbers = torch.nonzero(which).flatten().tolist()
    runs: list[list[int]] = []
    for i in numbers:
        if runs and runs[-1][1] == i - 1:
            runs[-1][1] = i
        else:
            runs.append([i, i])
    shown = ", ".join(f"{a}-{b}" if b > a else str(a) for a, b in runs[:12])
    return shown + (f" and {len(runs) - 12} more runs" if len(runs) > 12 else "")
