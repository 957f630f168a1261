"""Biases: a trigger far out in latent space may need a bias far out among its neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from genvet.core.generator import Generator
from genvet.core.modelfile import Evidence
from genvet.core.printable import printable
from genvet.core.report import Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Probe, Result


@dataclass(frozen=True)
class Layer:
    """The biases of one layer."""

    name: str
    count: int
    median: float
    largest: float
    """The one farthest from the median."""
    unit: int
    outlier: float
    """Its distance from the median, in robust standard deviations."""
    reach: float | None
    """Of a layer that reads z: the largest |bias| in standard deviations of what its weights make of a normal z."""


@dataclass(frozen=True)
class Biases(Result):
    """Every layer's biases."""

    layers: tuple[Layer, ...]
    broken: tuple[str, ...]
    """Tensors that hold values that are not numbers."""

    def summary(self) -> str:
        if not self.layers:
            return "No layer has enough biases to compare."
        worst = max(self.layers, key=lambda layer: layer.outlier)
        return (
            f"The farthest bias is unit {worst.unit} of {worst.name or 'the network'}: "
            f"{worst.largest:.3g}, {worst.outlier:.3g} robust standard deviations from its layer's median."
        )

    def measures(self) -> tuple[Measure, ...]:
        outlier = max((layer.outlier for layer in self.layers), default=None)
        reach = max((layer.reach for layer in self.layers if layer.reach is not None), default=None)
        return (
            Measure(
                name="outlier", value=outlier, unit="robust standard deviations", n=sum(x.count for x in self.layers)
            ),
            Measure(name="reach", value=reach, unit="standard deviations", note="of the layers that read z"),
        )

    def tables(self) -> tuple[Table, ...]:
        rows = [(x.name, x.count, x.median, x.largest, x.unit, x.outlier, x.reach) for x in self.layers]
        columns = ("layer", "biases", "median", "farthest", "unit", "robust deviations", "reach")
        return (Table(title="Biases by layer", columns=columns, rows=tuple(rows)),)

    def evidence(self) -> tuple[Evidence, ...]:
        message = "holds values that are not finite numbers"
        return tuple(
            Evidence(rule="weights.not-finite", message=f"{name} {message}", place=name) for name in self.broken
        )


class InspectBiases(Probe):
    """Looks for biases far outside those of their layer, and for weights that are not numbers."""

    source: ClassVar[str] = "Devil in the GAN, section III-A, static model inspections: excessive bias values"

    least: int = Field(default=16, ge=4)
    """Layers with fewer biases are left out: a median of three colours says nothing."""

    def __call__(self, target: Generator, given: Nothing, rng: Rng) -> Biases:
        layers = [_layer(name, bias, module, target.latent.dim) for name, module, bias in _biases(target, self.least)]
        broken = [
            n for n, t in target.module.state_dict().items() if t.is_floating_point() and not torch.isfinite(t).all()
        ]
        return Biases(tuple(layers), tuple(printable(n, 120) for n in broken))


def _biases(generator: Generator, least: int) -> Iterator[tuple[str, nn.Module, Tensor]]:
    for name, module in generator.layers().items():
        bias = getattr(module, "bias", None)
        if isinstance(bias, Tensor) and bias.numel() >= least:
            yield printable(name, 120), module, bias.detach().float().cpu().flatten()


def _layer(name: str, bias: Tensor, module: nn.Module, dim: int) -> Layer:
    median = bias.median()
    apart = (bias - median).abs()
    # A layer of equal biases has no median deviation: a tenth of the plain one stands in.
    scale = torch.maximum(1.4826 * apart.median(), 0.1 * bias.std()).clamp_min(1e-12)
    unit = int(apart.argmax())
    return Layer(
        name=name,
        count=bias.numel(),
        median=float(median),
        largest=float(bias[unit]),
        unit=unit,
        outlier=float(apart[unit] / scale) if float(apart[unit]) > 0 else 0.0,
        reach=_reach(bias, module, dim),
    )


def _reach(bias: Tensor, module: nn.Module, dim: int) -> float | None:
    """Of a dense layer that may read z: a normal z reaches a unit's bias once in that many standard deviations."""
    if not isinstance(module, nn.Linear) or module.in_features != dim:
        return None
    spread = module.weight.detach().float().cpu().norm(dim=1).clamp_min(1e-12)
    return float((bias.abs() / spread).max())
