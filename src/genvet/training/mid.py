"""A classifier behind an information bottleneck: its scores tell little of the image but its class."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from genvet.core.classifier import Classifier
from genvet.core.data import Labelled
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedClassifier
from genvet.nets import classifiers
from genvet.training.supervision import Given, Lessons, Pupil, Supervision

WIDEST = 8.0
"""Of the log-variance, either way."""


class MID(Supervision, Recipe):
    """Trains a classifier whose features are noisy and near a standard normal: a defence (MID)."""

    source: ClassVar[str] = (
        "Wang et al.: Improving robustness to model inversion attacks via mutual information regularization, 2021; "
        "Alemi et al.: Deep variational information bottleneck, 2017, eq. 17"
    )
    smoke: ClassVar[dict[str, Any]] = {"steps": 2, "batch": 8, "capacity": 2, "bottleneck": 4}

    beta: Annotated[float, Field(ge=0, le=100)] = 0.01
    """Weight of the information about an image that may pass: more protects more and costs more accuracy."""
    bottleneck: Annotated[int, Field(ge=1, le=4096)] = 64
    """Numbers in the bottleneck, which are the features of the trained classifier."""

    def __call__(self, given: Given, rng: Rng) -> TrainedClassifier:
        return super().__call__(given, rng)

    def fresh(self, images: Labelled) -> Classifier:
        size, channels = images.x.shape[2], images.x.shape[1]
        return classifiers.build(images.classes, self.capacity, size, channels, self.family, self.bottleneck)

    def pupil(self, fresh: Classifier, lessons: Lessons, rng: Rng) -> Pupil:
        mean: Any = fresh.module.get_submodule("features.mean")
        return Bottled(self, fresh.module, lessons, rng, spread=nn.Linear(mean.in_features, mean.out_features))


class Bottled(Pupil):
    """Learns from a sample of the bottleneck, whose mean is all that answers later."""

    # Unlike Alemi et al., who draw from the bottleneck at test time too: its mean answers, so that the same image has
    # the same answer. What noise adds to a defence is the business of a guard, and measured there.
    recipe: MID

    def losses(self, x: Tensor, labels: Tensor, number: int) -> dict[str, Tensor]:
        features: Any = self.network.features
        numbers = features.body(x)
        mean, spread = features.mean(numbers), self.networks["spread"](numbers).clamp(-WIDEST, WIDEST)
        drawn = mean + torch.randn_like(mean) * (spread / 2).exp()
        loss = self.cross_entropy(self.network.head(drawn), labels, number)  # type: ignore[operator]
        passed = 0.5 * (mean.square() + spread.exp() - 1 - spread).sum(1).mean()
        return {"classifier": loss + self.recipe.beta * passed, "cross-entropy": loss.detach(), "nats": passed.detach()}
