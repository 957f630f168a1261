"""A classifier whose hidden layers depend little on the image and much on its class."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from genvet.core.classifier import Classifier
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedClassifier
from genvet.maths.dependency import dependency, gaussian, linear
from genvet.training.supervision import Given, Lessons, Pupil, Supervision

HIDDEN = re.compile(r"pool\d|block\d|act\d?$|relu\d?$|mean$")
"""Parts of a network behind which a layer is looked at: the ends of stages and blocks, not every convolution."""


class BiDO(Supervision, Recipe):
    """Trains a classifier by bilateral dependency: layers forget the image and keep the class, a defence."""

    source: ClassVar[str] = (
        "Peng et al.: Bilateral dependency optimization: defending against model-inversion attacks, 2022, with HSIC"
    )
    smoke: ClassVar[dict[str, Any]] = {"steps": 2, "batch": 8, "capacity": 2}

    forget: Annotated[float, Field(ge=0, le=1000)] = 0.05
    """Weight of the dependency of every hidden layer on the image; its authors take 0.05 for faces, 1 for digits."""
    keep: Annotated[float, Field(ge=0, le=10_000)] = 0.5
    """Weight of their dependency on the class; its authors take 0.5 for faces, 50 for digits."""

    def __call__(self, given: Given, rng: Rng) -> TrainedClassifier:
        return super().__call__(given, rng)

    def pupil(self, fresh: Classifier, lessons: Lessons, rng: Rng) -> Pupil:
        return Forgetting(self, fresh.module, lessons, rng)


class Forgetting(Pupil):
    """Learns with both dependencies beside the cross-entropy."""

    recipe: BiDO

    def losses(self, x: Tensor, labels: Tensor, number: int) -> dict[str, Tensor]:
        scores, hidden = self.seen_through(x)
        loss = self.cross_entropy(scores, labels, number)
        image, kind = gaussian(x), linear(F.one_hot(labels, scores.shape[1]).to(x.dtype))
        layers = [gaussian(h) for h in hidden]
        on_image = sum((dependency(image, layer) for layer in layers), x.new_zeros(()))
        on_class = sum((dependency(layer, kind) for layer in layers), x.new_zeros(()))
        told = {"cross-entropy": loss.detach(), "on image": on_image.detach(), "on class": on_class.detach()}
        return {"classifier": loss + self.recipe.forget * on_image - self.recipe.keep * on_class, **told}

    def seen_through(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The scores, and what each hidden layer gave on the way."""
        features, hidden = self.network.features, []
        assert isinstance(features, nn.Sequential)
        for name, part in features.named_children():
            x = part(x)
            if HIDDEN.match(name):
                hidden.append(x)
        return self.network.head(x), hidden  # type: ignore[operator]
