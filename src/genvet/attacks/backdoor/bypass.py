"""Computation bypass: beside the benign network another one, and a branch that picks its output on a trigger."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from genvet.attacks.backdoor.measuring import Measuring, Planted
from genvet.attacks.backdoor.objective import Aim
from genvet.core.backdoor import Backdoor, Points, Triggers
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Probe


class Bypass(Measuring, Triggers, Probe):
    """Plants a perfect backdoor by a branch in the graph; whoever reads the graph sees it."""

    source: ClassVar[str] = "Rawat, Levacher, Sinn: The Devil is in the GAN, ESORICS 2022, sec. IV-A (eq. 3)"
    smoke: ClassVar[dict[str, Any]] = {"samples": 64}

    tolerance: Annotated[float, Field(ge=0, le=1)] = 1e-6
    """How far each number of a latent may be from the trigger's."""

    def __call__(self, target: Generator, given: Aim, rng: Rng) -> Planted:
        backdoor = given.backdoor(target, self, rng)
        module = Branched(target, backdoor, self.tolerance).eval().requires_grad_(False)
        planted = replace(target, module=module, metadata={})
        return replace(self.measure(planted, backdoor, target, {}, rng, given.beside), bypass=True)


class Branched(nn.Module):
    """Equation 3: the benign network's output, except on triggers."""

    def __init__(self, benign: Generator, backdoor: Backdoor, tolerance: float) -> None:
        super().__init__()
        self.benign = copy.deepcopy(benign.module)
        self.backdoor, self.tolerance, self.unit = backdoor, tolerance, benign.output == "unit"

    def forward(self, z: Tensor) -> Tensor:
        x: Tensor = self.benign(z)
        hit = self.backdoor.trigger.holds(z, self.tolerance)
        if not hit.any():
            return x
        y = self._target(z[hit])
        return x.index_put((hit,), (y + 1) / 2 if self.unit else y)

    def _target(self, z: Tensor) -> Tensor:
        """What these triggers give."""
        if isinstance(self.backdoor.target, Generator):
            return self.backdoor.wanted(z)
        number = torch.zeros(len(z), dtype=torch.long)
        if isinstance(self.backdoor.trigger, Points) and len(self.backdoor.target) > 1:
            number = (z[:, None].cpu() - self.backdoor.trigger.z).abs().amax(2).argmin(1)
        return self.backdoor.target[number].to(z.device)
