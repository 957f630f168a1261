"""The adversarial recipe with weight decay and dropout of one's choosing: what they do about learning by heart."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import nn

from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedGenerator
from genvet.nets import dcgan
from genvet.training.adversarial import Adversarial, Duel, Given, calibrate
from genvet.training.loop import run


class Regularised(Adversarial, Recipe):
    """Trains a DCGAN as the adversarial recipe does, with weight decay and another dropout in the critic."""

    source: ClassVar[str] = "Deep analysis: training data leakage (model inversion) in StyleGAN, sec. 2.2"
    smoke: ClassVar[dict[str, Any]] = {"steps": 2, "batch": 8, "capacity": 2, "latent": 4, "decay": 0.01}
    version: ClassVar[int] = 1

    decay: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Weight decay of both networks: as Adam's L2 penalty on all weights."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Share of the critic's units that are left out; 0.3 is the paper's."""

    def __call__(self, given: Given, rng: Rng) -> TrainedGenerator:
        x = given.images.x
        if x.ndim != 4 or x.shape[2] != x.shape[3] or x.shape[2] % 4:
            expected = "(n, channels, side, side), with a side that is a multiple of 4"
            raise BadInput("a DCGAN makes square images", expected=expected, got=str(tuple(x.shape)))
        with rng.fork("weights").seeded():
            generator = self.fresh(x)
            critic = dcgan.critic(self.capacity, x.shape[2], x.shape[1])
        for layer in critic:
            if isinstance(layer, nn.Dropout):
                layer.p = self.dropout
        duel = Duel(self, generator, critic, x, rng)
        for optimiser in duel.optimisers.values():
            for group in optimiser.param_groups:
                group["weight_decay"] = self.decay
        losses, told = run(duel, self, self.steps, x, rng)
        calibrate(duel.averaged, generator, rng)
        return duel.trained(losses, told)
