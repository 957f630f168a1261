"""A generator and its critic, as every adversarial recipe trains them."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import TrainedGenerator
from genvet.training.loop import Learner
from genvet.training.starting import take
from genvet.training.team import team


class Pace(Protocol):
    """What every adversarial recipe says of its updates."""

    @property
    def batch(self) -> int: ...
    @property
    def rate(self) -> float: ...


class Rivals(Learner):
    """A generator, its averaged twin, and the critic; Adam moves both, with these decays of its moments."""

    def __init__(
        self, recipe: Pace, generator: Generator, critic: nn.Module, x: Tensor, rng: Rng, betas: tuple[float, float]
    ) -> None:
        self.generator, self.batch, self.x, self.rng = generator, recipe.batch, x, rng
        self.G, self.D = generator.module.to(x.device).train(), critic.to(x.device).train()
        take(self.G, self.D)
        self.averaged = copy.deepcopy(self.G).requires_grad_(False)
        learning = {"generator": self.G, "critic": self.D}
        self.networks = {**learning, "averaged": self.averaged}
        self.optimisers = {
            name: torch.optim.Adam(net.parameters(), recipe.rate, betas) for name, net in learning.items()
        }

    def channels_last(self) -> None:
        """Lay the weights of convolutions out channel by channel, where they run on a processor.

        Few channels then take up to a third less time an update; DCGANs, whose images double by transposed
        convolutions, gain nothing.
        """
        for network in (self.G, self.D, self.averaged):
            if self.x.device.type == "cpu":
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def latents(self, number: int) -> Tensor:
        """The latents of batch `number`, (batch, dim); of several processes, each is told its part."""
        first = number * self.batch
        z = self.generator.latent.sample(first, first + self.batch, self.rng.fork("latents"))
        return team().share(z).to(self.x.device)

    @torch.no_grad()
    def shown(self, count: int) -> Tensor:
        """What the averaged weights make of always the same latents."""
        z = self.generator.latent.sample(0, count, self.rng.fork("shown")).to(self.x.device)
        images: Tensor = self.averaged(z).cpu()
        return images

    def trained(self, losses: dict[str, Tensor], record: dict[str, Any]) -> TrainedGenerator:
        """The averaged generator and the critic, with the training record in the metadata."""
        kept = {**self.generator.metadata, "genvet.training": json.dumps(record)}
        for network in (self.averaged, self.D):  # laid out as in a file: both then give the same, to the bit
            network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        generator = replace(self.generator, module=self.averaged.eval(), metadata=kept)
        return TrainedGenerator(generator=generator, critic=self.D.eval(), losses=losses, record=record)
