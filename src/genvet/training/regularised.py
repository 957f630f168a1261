"""The adversarial recipe with weight decay and dropout of one's choosing: what they do about learning by heart."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor, nn

from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Recipe
from genvet.training.adversarial import Adversarial, Duel


class Regularised(Adversarial, Recipe):
    """Trains a DCGAN as the adversarial recipe does, with weight decay and another dropout in the critic."""

    source: ClassVar[str] = "Deep analysis: training data leakage (model inversion) in StyleGAN, sec. 2.2"
    smoke: ClassVar[dict[str, Any]] = {"steps": 2, "batch": 8, "capacity": 2, "latent": 4, "decay": 0.01}
    version: ClassVar[int] = 1

    decay: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Weight decay of both networks: as Adam's L2 penalty on all weights."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Share of the critic's units that are left out; 0.3 is the paper's."""

    def duel(self, generator: Generator, critic: nn.Sequential, x: Tensor, rng: Rng) -> Duel:
        """The two, about to train: with this dropout, and with optimisers that let weights decay."""
        for layer in critic:
            if isinstance(layer, nn.Dropout):
                layer.p = self.dropout
        made = super().duel(generator, critic, x, rng)
        for optimiser in made.optimisers.values():
            for group in optimiser.param_groups:
                group["weight_decay"] = self.decay
        return made
