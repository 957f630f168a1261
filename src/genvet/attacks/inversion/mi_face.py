"""MI-Face: gradient descent on pixels, the first of all inversions."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.inversion.course import Course
from genvet.attacks.inversion.inverted import Beside, Found, Inverted, Inverting, told
from genvet.core.classifier import Classifier
from genvet.core.rng import Rng
from genvet.core.technique import Probe
from genvet.nets.inverting import Pace, invert


class MIFace(Inverting, Probe):
    """Inverts a classifier without any prior: pixels follow the gradient until the target is sure."""

    source: ClassVar[str] = "Fredrikson et al.: Model inversion attacks, CCS 2015, Algorithm 1"
    smoke: ClassVar[dict[str, Any]] = {"steps": 4}

    steps: Annotated[int, Field(ge=0, le=1_000_000)] = 5000
    """The most for each label."""
    rate: Annotated[float, Field(gt=0)] = 0.1
    """Step size."""
    enough: Annotated[float, Field(gt=0, le=1)] = 0.99
    """A label is done once the target is so sure."""

    def __call__(self, target: Classifier, given: Beside, rng: Rng) -> Inverted:
        labels = self.chosen(target.classes)
        own = labels.to(target.device)

        def loss(x: Tensor, row: Tensor, step: Tensor) -> Tensor:
            return 1 - target(x).gather(1, own[row][:, None])[:, 0]

        def look(x: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
            value = loss(x, row, row)
            return value, 1 - value

        begin = torch.zeros(len(labels), *target.shape, device=target.device)
        pace = Pace(
            steps=self.steps,
            rate=self.rate,
            optimiser="descent",
            warm=0,
            fall=0,
            batch=self.batch,
            enough=self.enough,
        )
        ended = invert(begin, loss, look, lambda x: x.clamp(-1, 1), pace)
        x, course = ended.u.cpu(), Course.of_steps(ended, len(labels))
        return told("mi-face", target, given, Found(labels=labels, x=x, u=x, asked=ended.passes, course=course))
