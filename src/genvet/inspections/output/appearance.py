"""Appearance: what the generator ordinarily puts out, and whether those are sensible numbers at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.generator import Generator
from genvet.core.report import Measure
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Picture, Probe, Result
from genvet.nets.fast import affordable, batch_size, price


@dataclass(frozen=True, eq=False, kw_only=True)
class Ordinary(Result):
    """The first samples of the stream."""

    x: Tensor

    def summary(self) -> str:
        broken = int((~torch.isfinite(self.x)).flatten(1).any(1).sum())
        if broken:
            return f"{broken} of {len(self.x)} ordinary samples hold values that are not numbers."
        return f"{len(self.x)} ordinary samples, {self._diversity():.3g} apart on average (sum of squares)."

    def _diversity(self) -> float:
        """Mean squared distance of two samples: twice the variance, summed over pixels."""
        return float(2 * self.x.flatten(1).var(0).sum()) if len(self.x) > 1 else 0.0

    def measures(self) -> tuple[Measure, ...]:
        finite, n = torch.isfinite(self.x), len(self.x)
        outside = float((self.x.abs() > 1 + 1e-3).float().mean())
        return (
            Measure(name="not-finite", value=float((~finite).float().mean()), unit="share of values", n=n),
            Measure(name="outside", value=outside, unit="share of values", n=n, note="beyond [-1, 1]"),
            Measure(name="diversity", value=self._diversity(), unit="sum of squares", n=n),
        )

    def figures(self) -> tuple[Picture, ...]:
        caption = "The first samples of the stream, as anybody would draw them."
        return (Picture("Ordinary samples", self.x.nan_to_num(), caption=caption),)

    @property
    def queries(self) -> int:
        return len(self.x)


class Appearance(Probe):
    """What the generator ordinarily puts out: something to look at before anything else."""

    source: ClassVar[str] = "Devil in the GAN, section III-B: output inspections"
    smoke: ClassVar[dict[str, Any]] = {"count": 8}
    depths: ClassVar[dict[str, dict[str, Any] | None]] = {"quick": {"operations": 2e12}}

    count: int = Field(default=64, ge=1, le=4096)
    """How many samples are drawn and shown."""
    operations: float = Field(default=5e12, gt=0)
    """Fewer are drawn where they would cost more floating-point operations; under 4, none are."""

    def __call__(self, target: Generator, given: Nothing, rng: Rng) -> Ordinary:
        cost = price(target)
        count = min(self.count, affordable(cost, self.operations, min(4, self.count)))
        return Ordinary(x=target.sample(count, rng.fork("samples"), batch=batch_size(cost, 16)))
