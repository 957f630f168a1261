"""The recipe of a classifier, for scores and for a feature space."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from genvet.core.data import Labelled
from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedClassifier
from genvet.nets import classifiers
from genvet.training.loop import Learner, average, order, run, update


@dataclass(frozen=True, eq=False)
class Given:
    """What it learns from."""

    images: Labelled


class Supervised(Recipe):
    """Trains a small classifier on labelled images, and measures it on those that it was not shown."""

    source: ClassVar[str] = "LeCun et al.: Gradient-based learning applied to document recognition, 1998, sec. II"
    smoke: ClassVar[dict[str, Any]] = {"steps": 2, "batch": 8, "capacity": 2}
    nets: ClassVar[tuple[str, ...]] = (classifiers.NAME,)

    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 2_000
    """Updates."""
    batch: Annotated[int, Field(ge=2, le=4096)] = 128
    """Images in one update."""
    capacity: Annotated[int, Field(ge=1, le=1024)] = 16
    """Channels of the first layer; the last hidden layer has four times as many numbers."""
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate of Adam."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the weight average (EMA)."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the images that it never learns from; its accuracy is measured on them."""

    def __call__(self, given: Given, rng: Rng) -> TrainedClassifier:
        x, labels = given.images.x, given.images.labels.to(given.images.x.device)
        if x.ndim != 4 or x.shape[2] != x.shape[3] or x.shape[2] < 4:
            raise BadInput("this classifier takes square images", expected="(n, c, s, s)", got=str(tuple(x.shape)))
        kept = round(len(x) * self.held_out)
        if not 0 < kept < len(x):
            raise BadInput("too few images", expected="some to learn from and some to hold out", got=str(len(x)))
        shuffled = torch.randperm(len(x), generator=rng.fork("held out").block()).to(x.device)
        unseen, seen = shuffled[:kept], shuffled[kept:]
        with rng.fork("weights").seeded():
            fresh = classifiers.build(given.images.classes, self.capacity, x.shape[2], x.shape[1])
        pupil = Pupil(self, fresh.module, x, labels, seen, rng)
        losses, told = run(pupil, self, self.steps, x, rng, labels)
        trained = replace(fresh, module=pupil.averaged.eval())
        told |= {"accuracy": trained.accuracy(x[unseen], labels[unseen]), "measured_on": kept}
        trained = replace(trained, metadata={**fresh.metadata, "genvet.training": json.dumps(told)})
        return TrainedClassifier(classifier=trained, losses=losses, record=told)


class Pupil(Learner):
    """A classifier and its averaged twin."""

    def __init__(
        self, recipe: Supervised, network: nn.Module, x: Tensor, labels: Tensor, seen: Tensor, rng: Rng
    ) -> None:
        self.recipe, self.x, self.labels, self.seen, self.rng = recipe, x, labels, seen, rng
        self.network = network.to(x.device).train()
        self.averaged = copy.deepcopy(network).requires_grad_(False)
        self.networks = {"classifier": self.network, "averaged": self.averaged}
        self.optimisers = {"adam": torch.optim.Adam(network.parameters(), recipe.rate)}

    def step(self, number: int) -> dict[str, Tensor]:
        drawn = order(len(self.seen), self.recipe.batch, number, self.rng.fork("images"))
        rows = self.seen[drawn.to(self.x.device)]
        scores = self.network.head(self.network.features(self.x[rows]))  # type: ignore[operator]
        loss = F.cross_entropy(scores, self.labels[rows])
        update(self.optimisers["adam"], loss)
        average(self.averaged, self.network, self.recipe.average)
        return {"classifier": loss}

    def show(self) -> None:
        return None
