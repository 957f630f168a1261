"""The plain adversarial recipe: a DCGAN against its critic, as the backdoor paper trains it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.progress import track
from genvet.core.rng import Rng
from genvet.core.technique import Technique
from genvet.nets import dcgan

CALIBRATION = 20
"""Batches over which the averaged network's batch norms are measured anew."""


@dataclass(frozen=True, eq=False)
class Given:
    """What it learns from."""

    images: Images


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """The averaged generator, the critic that it was trained against, and how the two losses went."""

    generator: Generator
    critic: nn.Module
    losses: Tensor
    """(steps, 2): generator, critic."""


class Adversarial(Technique):
    """Trains a DCGAN on images with the non-saturating loss, and averages its weights."""

    source: ClassVar[str] = (
        "Rawat, Levacher, Sinn: The Devil is in the GAN, 2022, appendix (DCGAN); Goodfellow 2014, sec. 3"
    )
    smoke: ClassVar[dict[str, Any]] = {"steps": 2, "batch": 8, "capacity": 2, "latent": 4}

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

    def __call__(self, given: Given, rng: Rng) -> Trained:
        c, h, w = given.images.x.shape[1:]
        if h != w or h % 4:
            raise BadInput("a DCGAN makes square images", expected="a side that is a multiple of 4", got=f"{h} x {w}")
        with torch.random.fork_rng(devices=[]):
            # Start weights and dropout have no generator of their own to be handed.
            torch.manual_seed(rng.fork("weights").block().initial_seed())
            generator = dcgan.build(self.latent, self.capacity, h, c)
            critic = dcgan.critic(self.capacity, h, c)
            averaged = copy.deepcopy(generator.module).requires_grad_(False)
            losses = list(self._train(generator, critic, averaged, given.images.x, rng))
        self._calibrate(averaged, generator, rng)
        kept = {**generator.metadata, "genvet.training": json.dumps({"recipe": self.name(), **self.model_dump()})}
        trained = replace(generator, module=averaged.eval(), metadata=kept)
        return Trained(generator=trained, critic=critic.eval(), losses=torch.tensor(losses))

    def _train(
        self, generator: Generator, critic: nn.Module, averaged: nn.Module, x: Tensor, rng: Rng
    ) -> Iterator[tuple[float, float]]:
        G = generator.module.train()
        betas = (self.beta1, 0.999)
        optimise_g = torch.optim.Adam(G.parameters(), self.rate, betas)
        optimise_d = torch.optim.Adam(critic.parameters(), self.rate, betas)
        latents = generator.latent.batches(self.steps * self.batch, self.batch, rng.fork("latents"))
        for z, real in track(zip(latents, self._batches(x, rng), strict=False), self.steps, "training"):
            fake = G(z)
            loss_d = F.softplus(-critic(real)).mean() + F.softplus(critic(fake.detach())).mean()
            _update(optimise_d, loss_d)
            loss_g = F.softplus(-critic(fake)).mean()  # non-saturating; the paper's eq. 2 is the saturating one
            _update(optimise_g, loss_g)
            for kept, new in zip(averaged.parameters(), G.parameters(), strict=True):
                kept.lerp_(new.detach(), 1 - self.average)
            yield loss_g.item(), loss_d.item()

    def _batches(self, x: Tensor, rng: Rng) -> Iterator[Tensor]:
        """Batches drawn with replacement, without end."""
        choice = rng.fork("images").block()
        while True:
            yield x[torch.randint(len(x), (self.batch,), generator=choice)]

    @torch.no_grad()
    def _calibrate(self, averaged: nn.Module, generator: Generator, rng: Rng) -> None:
        """Measure the batch norms of the averaged weights: the running ones belong to other weights."""
        norms = [m for m in averaged.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over all batches
        averaged.train()
        for z in generator.latent.batches(CALIBRATION * 256, 256, rng.fork("norms")):
            averaged(z)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _update(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
