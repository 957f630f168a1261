"""What the recipes of classifiers share: data parted, changed at random and shown; a test on what was held out."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from genvet.core.classifier import Classifier
from genvet.core.data import Labelled
from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.core.technique import Technique, TrainedClassifier
from genvet.maths.augmentation import Changes, augmented
from genvet.maths.statistics import clopper_pearson
from genvet.nets import classifiers
from genvet.nets.classifiers import FamilyName
from genvet.training.loop import Learner, average, order, run, update
from genvet.training.promising import published

TOGETHER = 256
"""Images at once, when batch norms are measured."""
Split = Literal["random", "each", "last"]


@dataclass(frozen=True, eq=False)
class Given:
    """What it learns from."""

    images: Labelled


class Supervision(Technique):
    """The knobs of every recipe of a classifier."""

    nets: ClassVar[tuple[str, ...]] = (classifiers.NAME,)
    example: ClassVar[tuple[int, ...]] = (1, 8, 8)

    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 2_000
    """Updates."""
    batch: Annotated[int, Field(ge=2, le=4096)] = 128
    """Images in one update."""
    capacity: Annotated[int, Field(ge=1, le=1024)] = 16
    """Channels of the first layer; deeper layers have up to four times, the allconv's eight times as many."""
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate of Adam."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the weight average (EMA)."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the images that it never learns from; its accuracy is measured on them."""
    split: Split = "random"
    """Which these are: any, that share of each class, or the last of each class in the order of the data."""
    family: FamilyName = "cnn"
    """The cnn has two convolutions, allconv strides; resnet and vgg have batch norm; mixer is of dense layers."""
    size: Annotated[int, Field(ge=4, le=1024)] | None = None
    """Pixels a side that the images are brought to when they are read; as they are unless given."""
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """How far images are moved at random while it learns, as a share of the side."""
    turn: Annotated[float, Field(ge=0, le=180)] = 0.0
    """How far they are turned at random, in degrees."""
    zoom: Annotated[float, Field(ge=0, le=2)] = 0.0
    """How far they are scaled at random, in octaves: 0.2 is 0.87 to 1.15 times."""
    mirror: bool = False
    """Show half of them mirrored: for faces, not for characters."""
    smoothing: Annotated[float, Field(ge=-0.5, lt=1)] = 0.0
    """Label smoothing; below 0, a defence that sets in after a third of the steps and is whole after two thirds."""
    decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Decay of the weights (AdamW), as a share of the rate; 0 is plain Adam."""
    utility: Annotated[float, Field(ge=0, le=1)] | None = None
    """Accuracy on held-out images that is asked for: the record and the report tell whether it was reached."""
    shuffled: bool = False
    """Learn from labels dealt out at random: the null control of an inversion, which knows no class's images."""

    def __call__(self, given: Given, rng: Rng) -> TrainedClassifier:
        x, labels = given.images.x, given.images.labels.to(given.images.x.device)
        if x.ndim != 4 or x.shape[2] != x.shape[3] or x.shape[2] < 4:
            raise BadInput("this classifier takes square images", expected="(n, c, s, s)", got=str(tuple(x.shape)))
        unseen, seen = (rows.to(x.device) for rows in parted(labels.cpu(), self.held_out, self.split, rng))
        learned = dealt(labels, seen, rng) if self.shuffled else labels
        with rng.fork("weights").seeded():
            fresh = self.fresh(given.images)
            pupil = self.pupil(fresh, Lessons(x, learned, seen), rng)
        losses, told = run(pupil, self, self.steps, x, rng, labels)  # type: ignore[arg-type]
        settle(pupil.averaged.features, x[seen])  # type: ignore[arg-type]
        trained = replace(fresh, module=pupil.averaged.eval())
        told |= {**self.tested(trained, x[unseen], labels[unseen]), **self.promised(len(seen))}
        trained = replace(trained, metadata={**fresh.metadata, "genvet.training": json.dumps(published(told))})
        return TrainedClassifier(classifier=trained, losses=losses, record=told)

    def side(self) -> int | None:
        """The size that images are brought to."""
        return self.size

    def fresh(self, images: Labelled) -> Classifier:
        """The network to train on these images."""
        return classifiers.build(images.classes, self.capacity, images.x.shape[2], images.x.shape[1], self.family)

    def tested(self, trained: Classifier, x: Tensor, labels: Tensor) -> dict[str, Any]:
        """What the record tells of images that it never learned from, and whether that is the stated utility."""
        told = accuracy(trained, x, labels)
        return told if self.utility is None else {**told, "reached": told["accuracy"] >= self.utility}

    def promised(self, n: int) -> dict[str, Any]:
        """What the record tells of the `n` images that it learned from, beside their data."""
        return {}

    def pupil(self, fresh: Classifier, lessons: Lessons, rng: Rng) -> Pupil:
        """Who learns, and by which loss."""
        return Pupil(self, fresh.module, lessons, rng)


@dataclass(frozen=True, eq=False)
class Lessons:
    """What is shown, with the labels that are told; only the rows `seen`."""

    x: Tensor
    labels: Tensor
    seen: Tensor


class Pupil(Learner):
    """A classifier and its averaged twin, and what is trained along with it and left behind."""

    def __init__(
        self, recipe: Supervision, network: nn.Module, lessons: Lessons, rng: Rng, **beside: nn.Module
    ) -> None:
        self.recipe, self.lessons, self.rng = recipe, lessons, rng
        self.changes = Changes(shift=recipe.shift, zoom=recipe.zoom, turn=recipe.turn)
        self.network = network.to(lessons.x.device).train()
        self.averaged = copy.deepcopy(network).requires_grad_(False)
        self.networks = {"classifier": self.network, "averaged": self.averaged, **beside}
        weights = [p for net in (self.network, *beside.values()) for p in net.to(lessons.x.device).parameters()]
        plain = torch.optim.Adam(weights, recipe.rate)
        decayed = torch.optim.AdamW(weights, recipe.rate, weight_decay=recipe.decay)
        self.optimisers = {"adam": decayed if recipe.decay else plain}

    def step(self, number: int) -> dict[str, Tensor]:
        drawn = order(len(self.lessons.seen), self.recipe.batch, number, self.rng.fork("images"))
        rows = self.lessons.seen[drawn.to(self.lessons.x.device)]
        losses = self.losses(self.changed(self.lessons.x[rows]), self.lessons.labels[rows], number)
        update(self.optimisers["adam"], losses["classifier"])
        average(self.averaged, self.network, self.recipe.average)
        return losses

    def losses(self, x: Tensor, labels: Tensor, number: int) -> dict[str, Tensor]:
        """What is told, by name: `classifier` is the whole loss, which is gone down."""
        return {"classifier": self.cross_entropy(self.scores(x), labels, number)}

    def scores(self, x: Tensor) -> Tensor:
        scores: Tensor = self.network.head(self.network.features(x))  # type: ignore[operator]
        return scores

    def cross_entropy(self, scores: Tensor, labels: Tensor, number: int) -> Tensor:
        """With as much label smoothing as this step has."""
        return smoothed(scores, labels, smoothing(self.recipe.smoothing, number / self.recipe.steps))

    def changed(self, x: Tensor) -> Tensor:
        """Images as they are shown: each moved, turned, scaled and mirrored by chance."""
        if self.recipe.mirror:
            x = torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5, x.flip(3), x)
        return augmented(x, self.changes)

    def show(self) -> None:
        return None


def parted(labels: Tensor, share: float, split: Split, rng: Rng) -> tuple[Tensor, Tensor]:
    """Rows to hold out and rows to learn from, the same for the same seed; raises BadInput where one has none.

    >>> held_out, learned = parted(torch.tensor([0, 0, 0, 1, 1, 1]), 0.3, "last", Rng(0))
    >>> held_out.tolist(), learned.tolist()
    ([2, 5], [0, 1, 3, 4])
    """
    rows = torch.randperm(len(labels), generator=rng.fork("held out").block())
    kept = round(len(labels) * share)
    if split == "random":
        unseen, seen = rows[:kept], rows[kept:]
    else:
        rows = rows if split == "each" else torch.arange(len(labels))
        of_class = [rows[labels[rows] == label] for label in labels.unique()]
        # Every class of two images or more is on both sides.
        counts = [min(max(round(len(r) * share), 1), len(r) - 1) for r in of_class]
        unseen = torch.cat([r[len(r) - n :] for r, n in zip(of_class, counts, strict=True)])
        seen = torch.cat([r[: len(r) - n] for r, n in zip(of_class, counts, strict=True)])
    if not len(unseen) or not len(seen):
        raise BadInput("too few images", expected="some to learn from and some to hold out", got=str(len(labels)))
    return unseen, seen


def dealt(labels: Tensor, seen: Tensor, rng: Rng) -> Tensor:
    """The same labels, dealt out at random among these rows: each class stays as large as it was."""
    moved = seen[torch.randperm(len(seen), generator=rng.fork("shuffled").block()).to(seen.device)]
    return labels.index_copy(0, seen, labels[moved])


def smoothing(whole: float, done: float) -> float:
    """Label smoothing after this share of the steps: below zero it comes late, as training with it alone goes astray.

    >>> smoothing(0.1, 0.0), smoothing(-0.05, 0.2) == 0, smoothing(-0.05, 0.5), smoothing(-0.05, 0.9)
    (0.1, True, -0.025, -0.05)
    """
    return whole if whole >= 0 else whole * min(max(3 * done - 1, 0.0), 1.0)


def smoothed(scores: Tensor, labels: Tensor, share: float) -> Tensor:
    """Cross-entropy with this share of the weight on all classes alike; below zero it is taken from them."""
    loss = F.cross_entropy(scores, labels)
    return (1 - share) * loss - share * scores.log_softmax(1).mean() if share else loss


@torch.no_grad()
def settle(features: nn.Module, x: Tensor) -> None:
    """Measure the batch norms of averaged weights on the images: the running ones belong to other weights."""
    norms = [m for m in features.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all parts, which are of one size
    features.train()
    for some in x.chunk(-(-len(x) // TOGETHER)) if norms else ():
        features(some)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def accuracy(trained: Classifier, x: Tensor, labels: Tensor) -> dict[str, Any]:
    """On images that it never learned from, with the exact 95 % interval and what the commonest class alone gives."""
    rate = trained.accuracy(x, labels)
    low, high = clopper_pearson(round(rate * len(x)), len(x))
    chance = float(labels.bincount().max()) / len(x)
    return {"accuracy": rate, "measured_on": len(x), "accuracy_low": low, "accuracy_high": high, "chance": chance}
