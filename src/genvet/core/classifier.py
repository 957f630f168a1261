"""A Classifier maps x to scores: what generators are measured by, and what inversion attacks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from genvet.core.device import move
from genvet.core.errors import BadInput
from genvet.core.scores import Answers, Oracle, Scores


@dataclass(frozen=True, eq=False, kw_only=True)
class Classifier:
    """Holds a network of two stages: `features`, images to numbers, and `head`, those to logits.

    Calling it gives the probabilities of the classes, (n, classes), for images in [-1, 1].
    """

    module: nn.Module
    shape: tuple[int, ...]
    """Of one sample, without the batch: (c, h, w) or (1, t)."""
    classes: tuple[str, ...]
    name: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, x: Tensor) -> Tensor:
        """Probabilities (n, classes); raises BadInput where the samples do not fit."""
        return self.logits(x).softmax(1)

    def logits(self, x: Tensor) -> Tensor:
        """What the softmax takes, (n, classes)."""
        scores: Tensor = self.module.head(self.features(x))  # type: ignore[operator]
        return scores

    def features(self, x: Tensor) -> Tensor:
        """The last hidden layer, (n, d): a space in which samples can be compared."""
        self.fitting(x.shape[1:])
        numbers: Tensor = self.module.features(x)  # type: ignore[operator]
        return numbers

    @property
    def device(self) -> torch.device:
        return next((t.device for t in self.module.state_dict().values()), torch.device("cpu"))

    def to(self, device: str) -> None:
        """Move the network to `cpu`, `cuda`, or by `auto` to a GPU where there is one; raises BadInput otherwise."""
        move(self.module, device)

    def fitting(self, shape: tuple[int, ...]) -> Classifier:
        """This classifier, where it takes samples of this shape; raises BadInput otherwise."""
        if tuple(shape) != self.shape:
            what, expected = "the images do not fit this classifier", f"{self.shape} a sample"
            raise BadInput(what, expected=expected, got=str(tuple(shape)))
        return self

    @torch.inference_mode()
    def probabilities(self, x: Tensor, batch: int = 500) -> Tensor:
        """The same as calling it, some at a time, on the CPU: (n, classes)."""
        on = self.device
        return torch.cat([self(some.to(on)).cpu() for some in x.split(batch)])

    @torch.inference_mode()
    def embedded(self, x: Tensor, batch: int = 500) -> Tensor:
        """The same as `features`, some at a time, on the CPU, without gradients: (n, width)."""
        on = self.device
        return torch.cat([self.features(some.to(on)).cpu() for some in x.split(batch)])

    def seen_as(self, view: type[Any], answers: Answers = "scores", k: int = 5, budget: int | None = None) -> Oracle:
        """The same classifier to an outsider, without weights or gradients."""
        if view is not Scores:
            raise BadInput("no such view", expected="Scores", got=view.__name__)
        return Oracle(self, answers, k, budget)

    def __str__(self) -> str:
        """By its classes and by its weights, so that no two spaces have one name."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.module.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        return f"the {self.name} {digest.hexdigest()[:12]} of {len(self.classes)} classes"

    @torch.inference_mode()
    def accuracy(self, x: Tensor, labels: Tensor, batch: int = 500) -> float:
        """The share of samples whose likeliest class is their label."""
        pairs = zip(x.split(batch), labels.split(batch), strict=True)
        return sum(int((self.logits(part).argmax(1) == truth).sum()) for part, truth in pairs) / max(len(x), 1)
