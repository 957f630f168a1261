"""The recipe of a classifier, for scores, for a feature space, and as the target of an inversion."""

from __future__ import annotations

from typing import Any, ClassVar

from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedClassifier
from genvet.training.supervision import Given, Supervision

__all__ = ["Given", "Supervised"]


class Supervised(Supervision, Recipe):
    """Trains a small classifier on labelled images, and measures it on those that it was not shown."""

    source: ClassVar[str] = "LeCun et al.: Gradient-based learning applied to document recognition, 1998, sec. II"
    smoke: ClassVar[dict[str, Any]] = {"steps": 2, "batch": 8, "capacity": 2}

    def __call__(self, given: Given, rng: Rng) -> TrainedClassifier:
        return super().__call__(given, rng)
