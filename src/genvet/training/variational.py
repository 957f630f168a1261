"""The variational recipe: an encoder and a decoder, by the evidence lower bound."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedGenerator
from genvet.nets import vae_network
from genvet.training.loop import Learner, average, order, run, update


@dataclass(frozen=True, eq=False)
class Given:
    """What it learns from."""

    images: Images


class Variational(Recipe):
    """Trains a variational autoencoder on images, and averages its weights."""

    source: ClassVar[str] = "Kingma, Welling: Auto-Encoding Variational Bayes, 2014, appendix B and C.1 (Bernoulli)"
    smoke: ClassVar[dict[str, Any]] = {"steps": 2, "batch": 8, "capacity": 2, "latent": 4}
    nets: ClassVar[tuple[str, ...]] = ("vae",)

    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    """Updates of encoder and decoder."""
    batch: Annotated[int, Field(ge=2, le=4096)] = 128
    """Images in one update."""
    latent: Annotated[int, Field(ge=1, le=4096)] = 10
    """Numbers in z."""
    capacity: Annotated[int, Field(ge=1, le=1024)] = 36
    """Channels of the widest layer but one; 36 gives some 194,000 parameters at 28 pixels."""
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate of Adam."""
    beta: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """Weight of the divergence from the prior; 1 is the lower bound itself."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the weight average (EMA)."""

    def __call__(self, given: Given, rng: Rng) -> TrainedGenerator:
        x = given.images.x
        if x.ndim != 4 or x.shape[2] != x.shape[3] or x.shape[2] % 4:
            expected = "(n, channels, side, side), with a side that is a multiple of 4"
            raise BadInput("this VAE makes square images", expected=expected, got=str(tuple(x.shape)))
        config = {"latent": self.latent, "capacity": self.capacity, "size": x.shape[2], "channels": x.shape[1]}
        with rng.fork("weights").seeded():
            generator, encoder = vae_network.build(**config), vae_network.Encoder(**config)
        pair = Pair(self, generator.module, encoder, x, rng)
        losses, told = run(pair, self, self.steps, x, rng)
        kept = {**generator.metadata, "genvet.training": json.dumps(told)}
        averaged = pair.averaged.eval()
        trained = replace(generator, module=averaged["decoder"], metadata=kept)
        return TrainedGenerator(generator=trained, encoder=averaged["encoder"], losses=losses, record=told)


class Pair(Learner):
    """An encoder and a decoder, and the averaged twins of both."""

    def __init__(self, recipe: Variational, decoder: nn.Module, encoder: nn.Module, x: Tensor, rng: Rng) -> None:
        self.recipe, self.x, self.rng = recipe, x, rng
        self.learning = nn.ModuleDict({"encoder": encoder, "decoder": decoder}).to(x.device).train()
        self.averaged = copy.deepcopy(self.learning).requires_grad_(False)
        self.networks = {"learning": self.learning, "averaged": self.averaged}
        self.optimisers = {"adam": torch.optim.Adam(self.learning.parameters(), recipe.rate)}

    def step(self, number: int) -> dict[str, Tensor]:
        batch = self.recipe.batch
        real = self.x[order(len(self.x), batch, number, self.rng.fork("images")).to(self.x.device)]
        told, divergence = lower_bound(self.learning["encoder"], self.learning["decoder"], real)
        update(self.optimisers["adam"], told + self.recipe.beta * divergence)
        average(self.averaged, self.learning, self.recipe.average)
        return {"reconstruction": told, "divergence": divergence}

    @torch.no_grad()
    def show(self) -> Tensor:
        z = torch.randn(64, self.recipe.latent, generator=self.rng.fork("shown").block()).to(self.x.device)
        shown: Tensor = self.averaged["decoder"](z).cpu() * 2 - 1
        return shown


def lower_bound(encoder: nn.Module, decoder: nn.Module, real: Tensor) -> tuple[Tensor, Tensor]:
    """The two terms of the evidence lower bound, negative, for images in [-1, 1]: sums over an image, means over all.

    The decoder answers in [0, 1]. Draws from the global generator of random numbers.
    """
    mean, logvar = encoder(real)
    z = mean + (logvar / 2).exp() * torch.randn_like(mean)
    # Means of the pixels, which may be grey: the cross-entropy is least where the answer is the image itself.
    told = F.binary_cross_entropy(decoder(z), (real + 1) / 2, reduction="sum") / len(real)
    return told, (mean.square() + logvar.exp() - 1 - logvar).sum() / (2 * len(real))
