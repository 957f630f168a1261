"""How far outputs have moved: what latents give, sums of squares, and a Frechet distance beside its floor."""

from __future__ import annotations

import torch
from torch import Tensor

from genvet.core.generator import Generator
from genvet.core.report import Measure
from genvet.maths.quality import frechet
from genvet.nets.random_features import random_features

SQUARES = "sum of squares"
BATCH = 64


@torch.inference_mode()
def outputs(generator: Generator, z: Tensor) -> Tensor:
    """What latents (n, dim) give, on the CPU: (n, *shape)."""
    return torch.cat([generator(some.to(generator.device)).float().cpu() for some in torch.split(z, BATCH)])


def averaged(name: str, values: Tensor, *, interval: bool, chance: float | None = None, note: str = "") -> Measure:
    """The mean of squared distances, with its 95 % interval where the values are a sample."""
    n, mean = len(values), values.mean().item()
    half = 1.96 * values.std().item() / n**0.5 if interval and n > 1 else None
    low, high = (None, None) if half is None else (mean - half, mean + half)
    return Measure(name=name, value=mean, unit=SQUARES, low=low, high=high, chance=chance, n=n, note=note)


def distance(name: str, x: Tensor, wanted: Tensor, other: Tensor) -> Measure:
    """The Frechet distance of samples to wanted ones, in random features; `chance` is that of others of their kind."""
    rows, a, b = (random_features(s) for s in (x, wanted, other))
    note = "128 random features; chance: between two sets of the wanted kind"
    return Measure(name=name, value=frechet(a, rows), chance=frechet(a, b), n=len(x), note=note)
