"""The plain adversarial recipe: a DCGAN against its critic, as the backdoor paper trains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedGenerator
from genvet.nets import dcgan
from genvet.training.loop import average, order, run, update
from genvet.training.rivals import Pace, Rivals

CALIBRATION = 20
"""Batches over which the averaged network's batch norms are measured anew."""


@dataclass(frozen=True, eq=False)
class Given:
    """What it learns from."""

    images: Images


class Adversarial(Recipe):
    """Trains a DCGAN on images with the non-saturating loss, and averages its weights."""

    source: ClassVar[str] = (
        "Rawat, Levacher, Sinn: The Devil is in the GAN, 2022, appendix (DCGAN); Goodfellow 2014, sec. 3"
    )
    smoke: ClassVar[dict[str, Any]] = {"steps": 2, "batch": 8, "capacity": 2, "latent": 4}
    nets: ClassVar[tuple[str, ...]] = ("dcgan",)
    version: ClassVar[int] = 2

    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 20_000
    """Updates of generator and critic."""
    batch: Annotated[int, Field(ge=2, le=4096)] = 64
    """Images in one update."""
    latent: Annotated[int, Field(ge=1, le=4096)] = 100
    """Numbers in z."""
    capacity: Annotated[int, Field(ge=1, le=1024)] = 64
    """Channels of the last hidden layer; 64 is the paper's."""
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Learning rate of Adam, for both networks."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """First moment's decay in Adam."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the weight average (EMA)."""

    def __call__(self, given: Given, rng: Rng) -> TrainedGenerator:
        x = squares(given)
        with rng.fork("weights").seeded():
            generator = self.fresh(x)
            critic = dcgan.critic(self.capacity, x.shape[2], x.shape[1])
        duel = self.duel(generator, critic, x, rng)
        losses, told = run(duel, self, self.steps, x, rng)
        calibrate(duel.averaged, generator, rng)
        return duel.trained(losses, told)

    def duel(self, generator: Generator, critic: nn.Sequential, x: Tensor, rng: Rng) -> Duel:
        """The two, about to train."""
        return Duel(self, generator, critic, x, rng)

    def fresh(self, x: Tensor) -> Generator:
        """The generator to train on these images."""
        return dcgan.build(self.latent, self.capacity, x.shape[2], x.shape[1])


def squares(given: Given) -> Tensor:
    """The images (n, channels, side, side); raises BadInput where a DCGAN does not make such."""
    x = given.images.x
    if x.ndim != 4 or x.shape[2] != x.shape[3] or x.shape[2] % 4:
        expected = "(n, channels, side, side), with a side that is a multiple of 4"
        raise BadInput("a DCGAN makes square images", expected=expected, got=str(tuple(x.shape)))
    return x


class Plain(Pace, Protocol):
    """What such a recipe says of its optimiser and its average."""

    @property
    def beta1(self) -> float: ...
    @property
    def average(self) -> float: ...


class Duel(Rivals):
    """The two at the non-saturating loss."""

    def __init__(self, recipe: Plain, generator: Generator, critic: nn.Module, x: Tensor, rng: Rng) -> None:
        super().__init__(recipe, generator, critic, x, rng, (recipe.beta1, 0.999))
        self.recipe = recipe

    def step(self, number: int) -> dict[str, Tensor]:
        z = self.latents(number)
        real = self.x[order(len(self.x), self.batch, number, self.rng.fork("images")).to(self.x.device)]
        fake = self.G(z)
        loss_d = F.softplus(-self.D(real)).mean() + F.softplus(self.D(fake.detach())).mean()
        update(self.optimisers["critic"], loss_d)
        loss_g = F.softplus(-self.D(fake)).mean()  # non-saturating; the paper's eq. 2 is the saturating one
        update(self.optimisers["generator"], loss_g)
        average(self.averaged, self.G, self.recipe.average)
        return {"generator": loss_g, "critic": loss_d}

    def show(self) -> Tensor:
        # In training mode: the averaged weights have no moments of their own before `calibrate`.
        return self.shown(64)


@torch.no_grad()
def calibrate(averaged: nn.Module, generator: Generator, rng: Rng) -> None:
    """Measure the batch norms of the averaged weights: the running ones belong to other weights."""
    norms = [m for m in averaged.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
    averaged.train()
    for z in generator.latent.batches(CALIBRATION * 256, 256, rng.fork("norms")):
        averaged(z.to(generator.device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
