"""What an edit does: points are moved along directions, and every image is read before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.core.progress import track
from genvet.core.rng import Rng
from genvet.maths.factors import factors, names
from genvet.nets.style_space import Space, Z

MANY = 1024
"""Samples by which the spread of a coordinate is told."""


class Readings:
    """Numbers of an image: the factors that need no trained weights, and the classes of a classifier."""

    def __init__(self, shape: tuple[int, ...], classifier: Classifier | None = None) -> None:
        self.classifier = classifier.fitting(shape) if classifier else None
        classes = [f"class {printable(name, 40)}" for name in classifier.classes] if classifier else []
        self.names = (*names(shape[0]), *classes)

    def __call__(self, x: Tensor) -> Tensor:
        """Images (n, c, h, w) on the CPU -> (n, readings); raises BadInput where a classifier's scores do not fit."""
        if self.classifier is None:
            return factors(x)
        told = self.classifier.probabilities(x)
        expected = (len(x), len(self.classifier.classes))
        if tuple(told.shape) != expected:
            raise BadInput("the classifier's scores do not fit", expected=f"{expected}", got=str(tuple(told.shape)))
        return torch.cat([factors(x), told], dim=1)

    def column(self, name: str) -> int:
        """Where a factor or a class stands, with or without the word class; raises BadInput for another name."""
        for known in (name, f"class {name}"):
            if known in self.names:
                return self.names.index(known)
        hint = "" if self.classifier else "--classifier adds its classes"
        raise BadInput(f"nothing is called {printable(name, 60)!r}", expected=", ".join(self.names), hint=hint)

    def score(self, name: str) -> Callable[[Tensor], Tensor]:
        """One of them alone, images (n, c, h, w) -> (n,), through which gradients flow."""
        column, first = self.column(name), len(self.names) - len(self.classifier.classes if self.classifier else ())
        if column < first:
            return lambda x: factors(x)[:, column]
        assert self.classifier is not None
        judge = self.classifier
        return lambda x: judge(x)[:, column - first]


@dataclass(frozen=True, eq=False)
class Start:
    """Points to be edited, with their labels, images and readings."""

    points: Tensor
    labels: Tensor | None
    images: Tensor
    readings: Tensor

    @property
    def spread(self) -> Tensor:
        """Standard deviation of each reading (readings,); 1 where all are alike, so that nothing is divided by 0."""
        deviation = self.readings.std(0)
        return torch.where(deviation > 1e-6, deviation, 1.0)


def start(here: Space, n: int, read: Readings, rng: Rng, batch: int) -> Start:
    """The first `n` samples of this stream."""
    z, labels = here.generator.latent.sample(0, n, rng), here.generator.labels_of(torch.arange(n))
    points = here.drawn(z, labels)
    images = here.rendered(points, labels, batch)
    return Start(points, labels, images, read(images))


def units(here: Space, directions: Tensor) -> Tensor:
    """How far one step along each direction (k, dim) goes, (k,): one standard deviation of the samples; in z, 1."""
    if isinstance(here, Z):
        return torch.ones(len(directions))
    generator, rng = here.generator, Rng(0, "spread of a coordinate")
    points = here.drawn(generator.latent.sample(0, MANY, rng), generator.labels_of(torch.arange(MANY)))
    return (points @ directions.cpu().T / directions.cpu().square().sum(1)).std(0)


@dataclass(frozen=True, eq=False)
class Moved:
    """Readings behind every move (directions, deltas, n, readings), the first point's images, and how alike all are."""

    readings: Tensor
    tiles: Tensor
    """(directions, deltas, c, h, w)."""
    variety: Tensor
    """Standard deviation of a pixel across the points, over that of the points unmoved: (directions, deltas)."""


@torch.inference_mode()
def moved(
    here: Space, begin: Start, directions: Tensor, deltas: Sequence[float], read: Readings, batch: int, keep: int = 0
) -> Moved:
    """Every point moved along each direction (k, dim) by each delta; images of the first `keep` directions are kept."""
    before = variety(begin.images)
    told, tiles, apart = [], [], []
    for i, direction in enumerate(track(directions.cpu(), len(directions), f"directions of {here.name}")):
        for delta in deltas:
            x = begin.images if delta == 0 else here.rendered(begin.points + delta * direction, begin.labels, batch)
            told.append(read(x))
            apart.append(variety(x) / max(before, 1e-12))
            tiles += [x[0]] if i < keep else []
    shape = (len(directions), len(deltas))
    images = torch.stack(tiles).unflatten(0, (-1, shape[1])) if tiles else begin.images[:0]
    return Moved(torch.stack(told).unflatten(0, shape), images, torch.tensor(apart).view(shape))


def variety(x: Tensor) -> float:
    """How far images (n, c, h, w) lie apart: standard deviation of a pixel across them, root mean square."""
    return float(x.clamp(-1, 1).var(0).mean().sqrt()) if len(x) > 1 else 0.0


def random_directions(here: Space, n: int, rng: Rng) -> Tensor:
    """Axes of a basis that was turned at random, (n, dim): what the axes of the space are to be compared with."""
    weights = torch.randn(n, here.axes, generator=rng.block())
    return here.directions(weights / weights.norm(dim=1, keepdim=True))


def sensitivity(here: Space, begin: Start, score: Callable[[Tensor], Tensor], batch: int) -> Tensor:
    """The mean gradient of a score by the numbers of a point, (dim,), on the CPU."""
    total, device = torch.zeros(here.dim), here.generator.device
    for i, some in enumerate(begin.points.split(batch)):
        at = some.to(device, copy=True).requires_grad_()
        labels = None if begin.labels is None else begin.labels[i * batch : i * batch + len(some)]
        (gradient,) = torch.autograd.grad(score(here.images(at, labels)).sum(), at)
        total += gradient.sum(0).cpu()
    return total / len(begin.points)


def readings_at(here: Space, points: Tensor, labels: Tensor | None, read: Readings, batch: int) -> Tensor:
    """Readings (n, readings) of many points (n, dim), whose images are not kept."""
    told, steps = [], range(0, len(points), batch)
    for i in track(steps, len(steps), "batches of images"):
        some = None if labels is None else labels[i : i + batch]
        told.append(read(here.rendered(points[i : i + batch], some, batch)))
    return torch.cat(told)
