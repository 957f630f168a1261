"""How far outputs have moved: what latents give, sums of squares, and a Frechet distance beside its floor."""

from __future__ import annotations

import torch
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.generator import Generator
from genvet.core.report import Measure
from genvet.maths.quality import class_score, estimate, estimate_one, frechet
from genvet.nets.random_features import NAME, random_features

SQUARES = "sum of squares"
BATCH = 64
FEWEST = 20
"""Samples that the jackknife behind an interval takes: it leaves a tenth of them out."""


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
    return between(name, *(random_features(s) for s in (x, wanted, other)))


def between(name: str, rows: Tensor, wanted: Tensor, other: Tensor) -> Measure:
    """The same of their random features (n, 128) each."""
    value, low, high = estimate(frechet, wanted, rows) if len(rows) >= FEWEST else (frechet(wanted, rows), None, None)
    note = f"in {NAME}; chance: between two sets of the wanted kind"
    return Measure(name=name, value=value, low=low, high=high, chance=frechet(wanted, other), n=len(rows), note=note)


def scored(name: str, told: Tensor, classifier: Classifier) -> Measure:
    """The class score by what a classifier makes of samples, (n, classes), with its 95 % interval."""
    value, low, high = estimate_one(class_score, told)
    note = f"the Inception Score's formula with {classifier}, not with Inception"
    return Measure(name=name, value=value, low=low, high=high, n=len(told), note=note)
