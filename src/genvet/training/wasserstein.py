"""The Wasserstein recipe: a WaveGAN against a critic with a gradient penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from genvet.core.data import Sounds
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedGenerator
from genvet.nets import wavegan
from genvet.training.loop import average, order, run, update
from genvet.training.rivals import Rivals


@dataclass(frozen=True, eq=False)
class Given:
    """What it learns from."""

    sounds: Sounds


class Wasserstein(Recipe):
    """Trains a WaveGAN on sounds with the gradient penalty, and averages its weights."""

    source: ClassVar[str] = "Donahue, McAuley, Puckette: Adversarial Audio Synthesis, 2019, sec. 3 and appendix D"
    smoke: ClassVar[dict[str, Any]] = {
        **{"steps": 2, "batch": 4, "capacity": 1, "latent": 4, "length": 1024, "taps": 8},
        "critic_steps": 2,
    }
    nets: ClassVar[tuple[str, ...]] = ("wavegan",)
    example: ClassVar[tuple[int, ...]] = (1, 1024)

    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """Updates of the generator."""
    batch: Annotated[int, Field(ge=2, le=4096)] = 64
    """Sounds in one update."""
    latent: Annotated[int, Field(ge=1, le=4096)] = 100
    """Numbers in z, uniform in [-1, 1]."""
    capacity: Annotated[int, Field(ge=1, le=1024)] = 64
    """Channels of the last hidden layer; 64 is the paper's."""
    length: Annotated[int, Field(ge=wavegan.UNIT, le=1 << 20, multiple_of=wavegan.UNIT)] = 16_384
    """Samples of a sound; the data are cut, or filled with silence, to that."""
    taps: Annotated[int, Field(ge=0, le=4096)] = 512
    """Length of the learned filter after the network; 0 leaves it out."""
    critic_steps: Annotated[int, Field(ge=1, le=100)] = 5
    """Updates of the critic for one of the generator."""
    penalty: Annotated[float, Field(ge=0, le=1000)] = 10.0
    """Weight of the gradient penalty."""
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Learning rate of Adam, for both networks."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the weight average (EMA)."""

    def sample_shape(self) -> tuple[int, ...]:
        return (1, self.length)

    def __call__(self, given: Given, rng: Rng) -> TrainedGenerator:
        x = given.sounds.x
        if tuple(x.shape[1:]) != (1, self.length):
            raise BadInput("these sounds do not fit", expected=f"(n, 1, {self.length})", got=str(tuple(x.shape)))
        with rng.fork("weights").seeded():
            generator = wavegan.build(self.latent, self.capacity, self.length, self.taps)
            critic = wavegan.Critic(self.capacity, self.length)
        duel = Duel(self, generator, critic, x, rng)
        losses, told = run(duel, self, self.steps, x, rng)
        return duel.trained(losses, told)


class Duel(Rivals):
    """The two at the Wasserstein distance; the critic goes several steps ahead."""

    def __init__(self, recipe: Wasserstein, generator: Generator, critic: nn.Module, x: Tensor, rng: Rng) -> None:
        super().__init__(recipe, generator, critic, x, rng, (0.5, 0.9))
        self.recipe = recipe

    def step(self, number: int) -> dict[str, Tensor]:
        rounds = self.recipe.critic_steps
        for i in range(rounds):
            with torch.no_grad():
                fake = self.G(self.latents(number * (rounds + 1) + i))
            loss_d = self._critics(fake, number * rounds + i)
            update(self.optimisers["critic"], loss_d)
        loss_g = -self.D(self.G(self.latents(number * (rounds + 1) + rounds))).mean()
        update(self.optimisers["generator"], loss_g)
        average(self.averaged, self.G, self.recipe.average)
        return {"generator": loss_g, "critic": loss_d}

    def _critics(self, fake: Tensor, number: int) -> Tensor:
        """The difference of the scores, and the penalty on the slope between real and generated sounds."""
        rows = order(len(self.x), self.batch, number, self.rng.fork("sounds"))
        real = self.x[rows.to(self.x.device)]
        between = torch.lerp(real, fake, torch.rand_like(real[:, :, :1])).requires_grad_()
        (slope,) = torch.autograd.grad(self.D(between).sum(), between, create_graph=True)
        penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        loss: Tensor = self.D(fake).mean() - self.D(real).mean() + self.recipe.penalty * penalty
        return loss

    def show(self) -> Tensor:
        return self.shown(4)
