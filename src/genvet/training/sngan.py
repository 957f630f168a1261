"""The hinge recipe: a residual generator against a critic whose layers are normalised by their spectra."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedGenerator
from genvet.nets import sngan
from genvet.training.adversarial import calibrate
from genvet.training.loop import average, order, run, update
from genvet.training.rivals import Rivals


@dataclass(frozen=True, eq=False)
class Given:
    """What it learns from."""

    images: Images


class SNGAN(Recipe):
    """Trains an SNGAN on images with the hinge loss, and averages its weights."""

    source: ClassVar[str] = "Miyato et al.: Spectral normalization for GANs, 2018, sec. 2 and appendix B.4 (ResNet)"
    smoke: ClassVar[dict[str, Any]] = {"steps": 2, "batch": 4, "latent": 4, "capacity": 4}
    nets: ClassVar[tuple[str, ...]] = ("sngan",)

    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 5000
    """Updates of the generator; the paper takes 50,000."""
    batch: Annotated[int, Field(ge=2, le=4096)] = 64
    """Images in one update."""
    latent: Annotated[int, Field(ge=1, le=4096)] = 128
    """Numbers in z."""
    capacity: Annotated[int, Field(ge=1, le=1024)] = 32
    """Channels of every hidden layer of both networks; the paper's generator has 256, its critic 128."""
    critic_steps: Annotated[int, Field(ge=1, le=100)] = 2
    """Updates of the critic for one of the generator; the paper takes 5."""
    rate: Annotated[float, Field(gt=0, le=1)] = 5e-4
    """Learning rate of Adam, for both networks; the paper's is 2e-4."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the weight average (EMA)."""

    def __call__(self, given: Given, rng: Rng) -> TrainedGenerator:
        x = given.images.x
        if x.ndim != 4 or x.shape[2] != x.shape[3]:
            raise BadInput(
                "an SNGAN makes square images", expected="(n, channels, side, side)", got=str(tuple(x.shape))
            )
        with rng.fork("weights").seeded():
            generator = sngan.build(self.latent, self.capacity, x.shape[2], x.shape[1])
            critic = sngan.Critic(self.capacity, x.shape[2], x.shape[1])
        duel = Duel(self, generator, critic, x, rng)
        losses, told = run(duel, self, self.steps, x, rng)
        calibrate(duel.averaged, generator, rng)
        return duel.trained(losses, told)


class Duel(Rivals):
    """The two at the hinge loss; the critic goes a step or more ahead."""

    def __init__(self, recipe: SNGAN, generator: Generator, critic: nn.Module, x: Tensor, rng: Rng) -> None:
        super().__init__(recipe, generator, critic, x, rng, (0.0, 0.9))
        self.channels_last()
        self.recipe = recipe

    def step(self, number: int) -> dict[str, Tensor]:
        rounds = self.recipe.critic_steps
        for i in range(rounds):
            with torch.no_grad():
                fake = self.G(self.latents(number * (rounds + 1) + i))
            rows = order(len(self.x), self.batch, number * rounds + i, self.rng.fork("images"))
            real = self.x[rows.to(self.x.device)]
            loss_d = F.relu(1 - self.D(real)).mean() + F.relu(1 + self.D(fake)).mean()
            update(self.optimisers["critic"], loss_d)
        loss_g = -self.D(self.G(self.latents(number * (rounds + 1) + rounds))).mean()
        update(self.optimisers["generator"], loss_g)
        average(self.averaged, self.G, self.recipe.average)
        return {"generator": loss_g, "critic": loss_d}

    def show(self) -> Tensor:
        # In training mode: the averaged weights have no moments of their own before `calibrate`.
        return self.shown(64)
