"""A classifier that learns from images moved against it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from genvet.core.classifier import Classifier
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedClassifier
from genvet.training.supervision import Given, Lessons, Pupil, Supervision

TOGETHER = 256
STRIDE = 2.5
"""Over the number of moves, times epsilon: the length of one move, so that any corner is reached from any start."""


class Robust(Supervision, Recipe):
    """Trains a classifier on images that are moved against it (adversarial training), a defence."""

    source: ClassVar[str] = "Madry et al.: Towards deep learning models resistant to adversarial attacks, 2018, eq. 2.1"
    smoke: ClassVar[dict[str, Any]] = {"steps": 2, "batch": 8, "capacity": 2, "moves": 1}

    epsilon: Annotated[float, Field(gt=0, le=2)] = 0.06
    """How far each pixel may be moved, in a range of [-1, 1]: 0.06 is 8 of 255 grey values."""
    moves: Annotated[int, Field(ge=1, le=100)] = 5
    """Steps of projected gradient ascent behind one update."""

    def __call__(self, given: Given, rng: Rng) -> TrainedClassifier:
        return super().__call__(given, rng)

    def pupil(self, fresh: Classifier, lessons: Lessons, rng: Rng) -> Pupil:
        return Resisting(self, fresh.module, lessons, rng)

    def tested(self, trained: Classifier, x: Tensor, labels: Tensor) -> dict[str, Any]:
        """Its accuracy, and that on the same images moved against it."""
        hits = 0
        for some, truth in zip(x.split(TOGETHER), labels.split(TOGETHER), strict=True):
            worst = moved(trained.module, some, truth, self.epsilon, self.moves, start=torch.zeros_like(some))
            hits += int((trained.logits(worst).argmax(1) == truth).sum())
        return {**super().tested(trained, x, labels), "robust_accuracy": hits / len(x)}


class Resisting(Pupil):
    """Learns from the worst images near those that it is shown."""

    recipe: Robust

    def losses(self, x: Tensor, labels: Tensor, number: int) -> dict[str, Tensor]:
        start = (torch.rand_like(x) * 2 - 1) * self.recipe.epsilon
        self.network.eval()  # its batch norms are to see the images that are learned from, and no others
        worst = moved(self.network, x, labels, self.recipe.epsilon, self.recipe.moves, start)
        self.network.train()
        return super().losses(worst, labels, number)


def moved(network: Any, x: Tensor, labels: Tensor, epsilon: float, moves: int, start: Tensor) -> Tensor:
    """Images within epsilon of these, and within [-1, 1], whose loss is higher, by projected gradient ascent."""
    worst = (x + start).clamp(-1, 1)
    for _ in range(moves):
        with torch.enable_grad():
            worst = worst.detach().requires_grad_()
            loss = F.cross_entropy(network.head(network.features(worst)), labels, reduction="sum")
            (slope,) = torch.autograd.grad(loss, worst)
        worst = worst.detach() + STRIDE * epsilon / moves * slope.sign()
        worst = torch.minimum(torch.maximum(worst, x - epsilon), x + epsilon).clamp(-1, 1)
    return worst.detach()
