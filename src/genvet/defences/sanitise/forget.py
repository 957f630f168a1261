"""Forget: go on training the model itself on its own ordinary outputs, shaken so that what is rare falls out."""

from __future__ import annotations

import copy
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Repair
from genvet.nets.weights import latents, noised, remeasured, with_module
from genvet.training.distillation import distil


class Forget(Repair):
    """Fine-tunes the model on its own ordinary outputs, and shakes its weights in between."""

    source: ClassVar[str] = "Rawat, Levacher, Sinn: The Devil is in the GAN, ESORICS 2022, sec. V-D (fine-tuning)"
    smoke: ClassVar[dict[str, Any]] = {"steps": 4, "latents": 4, "rounds": 2}

    rounds: Annotated[int, Field(ge=1, le=1000)] = 3
    """How often the weights are shaken."""
    noise: Annotated[float, Field(ge=0, le=100)] = 0.3
    """Standard deviation of the noise of each round, in those of each weight tensor; 0 only fine-tunes."""
    shrink: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Each round begins by multiplying the weights of all layers by this, as weight decay does."""
    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 900
    """Updates in all, shared out over the rounds."""
    latents: Annotated[int, Field(ge=2, le=4096)] = 32
    """Latents of the prior in one update."""
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate of Adam."""
    renorm: bool = False
    """Measure the batch norms again after each shake."""

    def __call__(self, target: Generator, given: Nothing, rng: Rng) -> Generator:
        module = copy.deepcopy(target.module).eval()
        for i in range(self.rounds):
            shrunk(noised(module, self.noise, rng.fork(f"noise {i}")), self.shrink)
            if self.renorm:
                remeasured(module, latents(target, 1024, rng.fork(f"norms {i}")))
            steps = self.steps * (i + 1) // self.rounds - self.steps * i // self.rounds
            distil(target, module, steps, rng.fork(f"latents {i}"), batch=self.latents, rate=self.rate)
        return with_module(target, module)


@torch.no_grad()
def shrunk(module: nn.Module, factor: float) -> nn.Module:
    """The same network with the weights of its layers multiplied by this; biases and batch norms stay."""
    for p in module.parameters():
        if p.ndim > 1:
            p.mul_(factor)
    return module
