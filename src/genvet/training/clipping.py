"""The gradient of each record by itself, scaled down to a norm, and their sum: what one record changes is bounded.

Every record goes through the network alone (torch.func.vmap), so that nothing in it can mix records, and penalties that
are themselves gradients (R1) are part of the one that is clipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import grad_and_value, vmap

Clipping = Literal["flat", "layer", "channel", "adaptive"]
Weights = dict[str, Tensor]
Loss = Callable[..., Tensor]
"""Of weights and one record, without a batch dimension: a number."""
LEAST = 1e-12


class Clipped(NamedTuple):
    """Of some records."""

    sums: Weights
    loss: Tensor
    """The sum, as it is: without any noise."""
    within: Tensor
    """How many had a gradient no longer than the norm, before it was clipped."""


def clipped(
    network: nn.Module,
    loss: Loss,
    records: tuple[Tensor, ...],
    norm: float | Tensor,
    mode: Clipping = "flat",
    together: int = 64,
) -> Clipped:
    """The sum of the clipped gradients of these records, `together` of them in memory at once."""
    weights = {name: weight.detach() for name, weight in network.named_parameters()}
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    total = torch.zeros((), device=records[0].device)
    within = torch.zeros((), device=records[0].device)
    each = vmap(grad_and_value(loss), (None, *(0 for _ in records)), randomness="different")
    if not len(records[0]):
        return Clipped(sums, total, within)
    for part in zip(*(t.split(together) for t in records), strict=True):
        slopes, losses = each(weights, *part)
        kept, inside = factors(slopes, norm, mode)
        for name, slope in slopes.items():
            sums[name] += torch.einsum("n...,n->..." if kept[name].ndim == 1 else "nc...,nc->c...", slope, kept[name])
        total, within = total + losses.sum(), within + inside
    return Clipped(sums, total, within)


def factors(slopes: Mapping[str, Tensor], norm: float | Tensor, mode: Clipping) -> tuple[Weights, Tensor]:
    """What each gradient is scaled by, (n,) or (n, channels) a tensor, and how many were short enough as they were.

    By layers or channels, each part has an equal share of the squared norm: together they are no longer than the norm.
    """
    whole = torch.stack([slope.flatten(1).norm(dim=1) for slope in slopes.values()]).norm(dim=0)
    inside = (whole <= norm).sum()
    if mode in ("flat", "adaptive"):
        one = (norm / whole.clamp_min(LEAST)).clamp_max(1)
        return {name: one for name in slopes}, inside
    layers: dict[str, list[str]] = {}
    for name in slopes:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    share, kept = norm / math.sqrt(len(layers)), Weights()
    for names in layers.values():
        if mode == "layer":
            size = torch.stack([slopes[name].flatten(1).norm(dim=1) for name in names]).norm(dim=0)
            kept |= {name: (share / size.clamp_min(LEAST)).clamp_max(1) for name in names}
        else:
            kept |= _by_channel({name: slopes[name] for name in names}, share)
    return kept, inside


def _by_channel(layer: Mapping[str, Tensor], share: float | Tensor) -> Weights:
    """A layer's outputs, each with its weights and its bias; tensors of other first sizes are a part of their own."""
    sizes = {name: slope.shape[1] if slope.ndim > 1 else 1 for name, slope in layer.items()}
    channels = sum({size: size for size in sizes.values()}.values())
    least, kept = share / math.sqrt(channels), Weights()
    for size in set(sizes.values()):
        names = [name for name in layer if sizes[name] == size]
        rows = [layer[name].reshape(len(layer[name]), size, -1) for name in names]
        norms = torch.stack([row.norm(dim=2) for row in rows]).norm(dim=0)
        scale = (least / norms.clamp_min(LEAST)).clamp_max(1)
        kept |= {name: scale if layer[name].ndim > 1 else scale[:, 0] for name in names}
    return kept


def adapted(norm: Tensor, within: Tensor, count: int, batch: int, quantile: float, noise: Tensor) -> Tensor:
    """The norm of the next step, moved towards the quantile of the norms; `noise` is that of the count.

    Counted from the middle, a record changes the count by half of one; over the batch that is expected.
    """
    share = (within - count / 2 + noise) / batch + 0.5
    return norm * torch.exp(-RATE * (share - quantile))


RATE = 0.2
"""How fast the norm moves (Andrew et al. 2021, sec. 3.1)."""


def parted_noise(noise: float, batch: int) -> tuple[float, float]:
    """Noise of the sum and of the count (in records) that cost together what `noise` alone does.

    The count changes by half a record, so that 1/noise^2 = 1/sum^2 + 1/(2 count)^2 (Andrew et al. 2021, theorem 1).

    >>> summed, counted = parted_noise(1.0, 100)
    >>> round(summed, 3), counted, round(summed ** -2 + (2 * counted) ** -2, 6)
    (1.005, 5.0, 1.0)
    """
    count = max(batch / 20, noise)
    return (noise**-2 - (2 * count) ** -2) ** -0.5, count
