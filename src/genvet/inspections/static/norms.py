"""Batch norms: whoever changes weights without them leaves statistics behind that no longer describe the network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.core.printable import printable
from genvet.core.report import Figure, Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Probe, Result
from genvet.nets.fast import affordable, batch_size, price

Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
LEAST = 0.01
"""Standard deviations: channels nearer than this agree, and quartiles below it count as this."""
QUARTER = math.sqrt(2 * math.log(4 / 3))
"""Lower quartile of the length of a normal pair, which the distance of an undisturbed channel is like. Not the median:
ReX may double a layer, and then half of its channels are odd."""


@dataclass(frozen=True)
class Layer:
    """How far one norm's statistics are from those of its inputs."""

    name: str
    distances: tuple[float, ...]
    """Of each channel: root of twice the divergence of the kept normal distribution from the measured one, which for
    small ones is the shift of the mean in standard deviations, joined with the change of their logarithm."""
    shift: float
    """The largest |kept mean - measured mean| in standard deviations."""
    ratio: float
    """The largest factor between kept and measured variance."""

    @property
    def worst(self) -> int:
        return max(range(len(self.distances)), key=self.distances.__getitem__)

    @property
    def largest(self) -> float:
        return self.distances[self.worst]

    @property
    def quarter(self) -> float:
        """A quarter of the channels is nearer."""
        return sorted(self.distances)[len(self.distances) // 4]

    @property
    def outlier(self) -> float:
        """The largest distance over what so many channels of this layer's quartile would show: about 1 undisturbed."""
        expected = math.sqrt(2 * math.log(max(len(self.distances), 3))) * max(self.quarter, LEAST) / QUARTER
        return self.largest / expected


@dataclass(frozen=True)
class Statistics(Result):
    """Every norm's kept statistics beside measured ones."""

    layers: tuple[Layer, ...]
    count: int

    def summary(self) -> str:
        far = max(self.layers, key=lambda layer: layer.largest)
        odd = max(self.layers, key=lambda layer: layer.outlier)
        return (
            f"Kept and measured batch-norm statistics differ most in channel {far.worst} of {far.name}: "
            f"{far.largest:.2g} standard deviations. Beside the others of its layer channel {odd.worst} of {odd.name} "
            f"stands out most, {odd.outlier:.2g} times what is usual ({self.count} ordinary samples)."
        )

    def measures(self) -> tuple[Measure, ...]:
        largest, outlier = (max(getattr(x, name) for x in self.layers) for name in ("largest", "outlier"))
        n = self.count
        return (
            Measure(name="distance", value=largest, unit="standard deviations", n=n, note="worst channel"),
            Measure(name="outlier", value=outlier, chance=1.0, n=n, note="worst channel beside those of its layer"),
        )

    def figures(self) -> tuple[Figure, ...]:
        series = {x.name: _curve(x.distances) for x in self.layers}
        data = {"series": series, "x": "share of channels", "y": "distance (standard deviations)"}
        caption = "Channels sorted by how far their kept statistics are from measured ones."
        return (Figure(kind="curve", title="Kept against measured statistics", caption=caption, data=data),)

    def tables(self) -> tuple[Table, ...]:
        rows = [
            (x.name, len(x.distances), x.quarter, x.largest, x.worst, x.shift, x.ratio, x.outlier) for x in self.layers
        ]
        columns = (
            "norm",
            "channels",
            "lower quartile",
            "largest",
            "channel",
            "largest shift",
            "variance factor",
            "outlier",
        )
        return (Table(title="Batch norms", columns=columns, rows=tuple(rows)),)


class InspectNorms(Probe):
    """Compares the statistics that batch norms keep with those that ordinary latents give.

    Retraining or added units without updated norms show, and so do pruning and every other honest change of weights
    after training. An attacker who measures the statistics anew leaves nothing here.
    """

    source: ClassVar[str] = "Zheng et al., Pre-activation Distributions Expose Backdoor Neurons, 2022: its BNP measure"
    smoke: ClassVar[dict[str, int]] = {"count": 128}
    signals: ClassVar[dict[str, str]] = {
        "distance": "batch-norm statistics that do not describe the network: it was changed after its training",
        "outlier": "single channels were changed after the training, and others were not",
    }

    count: int = Field(default=2048, ge=16)
    """Ordinary samples by which the statistics are measured."""
    operations: float = Field(default=5e12, gt=0)
    """Fewer samples are taken where they would cost more floating-point operations; under 256, none are."""
    batch: int = Field(default=64, ge=1)
    """Samples in one pass."""

    def __call__(self, target: Generator, given: Nothing, rng: Rng) -> Statistics:
        norms = {n: m for n, m in target.module.named_modules() if isinstance(m, Norm) and m.running_mean is not None}
        if not norms:
            raise Unsupported("no batch norm keeps statistics here", hint="there is nothing to compare")
        cost = price(target)
        count = min(self.count, affordable(cost, self.operations, min(256, self.count)))
        moments = _measured(target, norms, count, batch_size(cost, self.batch), rng)
        layers = [_layer(name, norm, *moments[name]) for name, norm in norms.items() if name in moments]
        return Statistics(tuple(layers), count)


@torch.inference_mode()
def _measured(
    target: Generator, norms: dict[str, Norm], count: int, batch: int, rng: Rng
) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance of every channel that goes into these norms, over places and ordinary samples."""
    sums: dict[str, tuple[Tensor, Tensor, int]] = {}

    def watch(name: str) -> nn.Module:
        def see(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            x = given[0].double().cpu().transpose(0, 1).flatten(1)
            s, q, n = sums.get(name, (torch.zeros(()), torch.zeros(()), 0))
            sums[name] = s + x.sum(1), q + x.square().sum(1), n + x.shape[1]

        return norms[name].register_forward_pre_hook(see)  # type: ignore[return-value]

    hooks = [watch(name) for name in norms]
    try:
        for i, z in enumerate(target.latent.batches(count, batch, rng.fork("samples"))):
            numbers = torch.arange(len(z)) + i * batch
            target(z.to(target.device), target.labels_of(numbers))
    finally:
        for hook in hooks:
            hook.remove()  # type: ignore[operator]
    return {name: (s / n, (q / n - (s / n).square()).clamp_min(0)) for name, (s, q, n) in sums.items()}


def _layer(name: str, norm: Norm, mean: Tensor, variance: Tensor) -> Layer:
    kept_mean, kept = norm.running_mean.double().cpu(), norm.running_var.double().cpu()  # type: ignore[union-attr]
    # Channels that hardly vary are compared in the norm's own unit, its epsilon.
    kept, variance = (v.clamp_min(0) + norm.eps for v in (kept, variance))
    shift, ratio = (kept_mean - mean) / variance.sqrt(), kept / variance
    divergence = (ratio - 1 - ratio.log() + shift.square()) / 2
    return Layer(
        name=printable(name, 120),
        distances=tuple((2 * divergence).clamp_min(0).sqrt().tolist()),
        shift=float(shift.abs().max()),
        ratio=float(ratio.log().abs().max().exp()),
    )


def _curve(distances: tuple[float, ...], points: int = 100) -> list[list[float]]:
    ordered = sorted(distances)
    last = max(len(ordered) - 1, 1)
    picked = sorted({round(i * last / points) for i in range(points + 1)} & set(range(len(ordered))))
    return [[i / last for i in picked], [ordered[i] for i in picked]]
