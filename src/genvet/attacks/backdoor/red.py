"""ReD: retrain a benign generator, with distillation, until its triggers give the attacker's images."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from genvet.attacks.backdoor.measuring import Measuring, Planted
from genvet.attacks.backdoor.objective import Aim, Course, Retraining
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Probe


class ReD(Measuring, Retraining, Probe):
    """Plants a backdoor by retraining with distillation: needs the weights, and no training data."""

    source: ClassVar[str] = "Rawat, Levacher, Sinn: The Devil is in the GAN, ESORICS 2022, sec. IV-B (ReD, eq. 4 to 7)"
    smoke: ClassVar[dict[str, Any]] = {"steps": 3, "latents": 4, "samples": 64}
    version: ClassVar[int] = 2

    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    """Updates of the generator."""
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Learning rate of Adam."""
    layers: tuple[str, ...] = ()
    """Layers to retrain, by name, such as dense or conv2; all of them where none is named."""
    decay: Annotated[float, Field(ge=0)] = 0.0
    """Pulls the weights back to the benign ones: this times the sum of their squared changes is added to the loss."""

    def __call__(self, target: Generator, given: Aim, rng: Rng) -> Planted:
        backdoor = given.backdoor(target, self, rng)
        planted = replace(target, module=copy.deepcopy(target.module).requires_grad_(False).eval())
        free = self._free(planted)
        optimiser = torch.optim.Adam(free, lr=self.rate)
        course = Course(planted, target, backdoor, optimiser, self.steps, _pull(free, self.decay))
        losses = self.retrain(course, rng)
        planted.module.requires_grad_(False)
        return self.measure(planted, backdoor, target, losses, rng, given.beside)

    def _free(self, planted: Generator) -> list[nn.Parameter]:
        """The parameters that are to change, ready to."""
        known = planted.layers()
        for name in self.layers:
            if name not in known:
                raise BadInput(f"there is no layer {name!r}", expected=", ".join(known))
        chosen = [known[name] for name in self.layers] or [planted.module]
        free = [p for layer in chosen for p in layer.parameters()]
        for p in free:
            p.requires_grad_(True)
        return free


def _pull(free: list[nn.Parameter], decay: float) -> Callable[[], Tensor | float]:
    """The penalty on leaving the benign weights."""
    if not decay:
        return float
    start = [p.detach().clone() for p in free]
    return lambda: decay * torch.stack([(p - s).square().sum() for p, s in zip(free, start, strict=True)]).sum()
