"""DP-MERF, the cheap baseline: one noisy mean of the data, and a generator that is trained towards it for nothing."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedGenerator
from genvet.maths.mean_embedding import embedded, frequencies, gaussian_epsilon, gaussian_noise
from genvet.nets import dcgan
from genvet.training.adversarial import Given, calibrate, squares
from genvet.training.loop import Learner, average, run, update
from genvet.training.promising import ADJACENCY, HOLDS, by_one_process, published

ROWS = 1024
"""Images that are embedded at once."""


class DPMERF(Recipe):
    """Trains a DCGAN towards one noisy mean of random features of the images, and states its epsilon.

    The images are looked at once: the mean of their random Fourier features, with noise. All that follows is free.
    Cheap, with little detail: the baseline that a private GAN has to beat. There is no critic.
    """

    source: ClassVar[str] = (
        "Harder, Adamczewski, Park: DP-MERF, AISTATS 2021, sec. 4 (unconditional); noise by Balle, Wang: Improving the "
        "Gaussian mechanism, ICML 2018, theorem 8"
    )
    smoke: ClassVar[dict[str, Any]] = {
        **{"steps": 2, "batch": 8, "capacity": 2, "latent": 4, "features": 32},
        **{"noise": 1.0},
    }
    nets: ClassVar[tuple[str, ...]] = ("dcgan",)

    epsilon: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """To be kept to, at this delta: the noise follows from it. Either this or the noise."""
    noise: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Standard deviation of the noise of the sum, in units of what one image changes."""
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    """The chance that the statement fails: well below one over the number of images."""
    features: Annotated[int, Field(ge=2, le=1_000_000, multiple_of=2)] = 2000
    """Random Fourier features: more of them tell more, and are noisier together."""
    width: Annotated[float, Field(gt=0, le=1e6)] = 0.5
    """Of the kernel, times the square root of an image's numbers; never told by the data, which would cost."""
    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 3000
    """Updates of the generator."""
    batch: Annotated[int, Field(ge=2, le=4096)] = 128
    """Samples in one update."""
    latent: Annotated[int, Field(ge=1, le=4096)] = 100
    """Numbers in z."""
    capacity: Annotated[int, Field(ge=1, le=1024)] = 64
    """Channels of the last hidden layer."""
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate of Adam."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the weight average (EMA)."""

    def __call__(self, given: Given, rng: Rng) -> TrainedGenerator:
        x = squares(given)
        noise = self.spread(len(x))
        with rng.fork("weights").seeded():
            generator = dcgan.build(self.latent, self.capacity, x.shape[2], x.shape[1])
        follower = Follower(self, generator, x, noise, rng)
        losses, told = run(follower, self, self.steps, x, rng)
        calibrate(follower.averaged, generator, rng)
        told = {**told, **self.promised(len(x), noise)}
        kept = {**generator.metadata, "genvet.training": json.dumps(published(told))}
        made = replace(generator, module=follower.averaged.eval(), metadata=kept)
        return TrainedGenerator(generator=made, losses=losses, record=told)

    def spread(self, n: int) -> float:
        """The noise that is asked for, or that keeps to epsilon; raises BadInput without either."""
        by_one_process()
        if (self.epsilon is None) == (self.noise is None):
            raise BadInput("how private is it to be?", expected="either --epsilon (at --delta) or --noise")
        if self.delta * n >= 1:
            raise BadInput(f"there are {n} images", expected=f"a delta below {1 / n:.2g}", got=f"{self.delta:g}")
        return self.noise if self.epsilon is None else gaussian_noise(self.epsilon, self.delta)  # type: ignore[return-value]

    def promised(self, n: int, noise: float) -> Mapping[str, Any]:
        """What holds for any of `n` images."""
        return {
            "privacy": {
                "epsilon": gaussian_epsilon(noise, self.delta),
                "delta": self.delta,
                "adjacency": ADJACENCY,
                "accountant": "exact, of one Gaussian sum",
                "noise": noise,
                "sampling": "none: every image takes part in one sum",
                "steps": 1,
                "images": n,
                "noised": "the sum of random features, each of norm 1; the training sees it alone",
                "holds": HOLDS,
            }
        }


class Follower(Learner):
    """A generator whose samples' mean features go towards those of the images, as the noise leaves them."""

    def __init__(self, recipe: DPMERF, generator: Generator, x: Tensor, noise: float, rng: Rng) -> None:
        self.recipe, self.generator, self.rng, self.device = recipe, generator, rng, x.device
        self.G = generator.module.to(x.device).train()
        self.averaged = copy.deepcopy(self.G).requires_grad_(False)
        self.networks = {"generator": self.G, "averaged": self.averaged}
        self.optimisers = {"generator": torch.optim.Adam(self.G.parameters(), recipe.rate, (0.5, 0.999))}
        dim = x[0].numel()
        self.waves = frequencies(dim, recipe.features, (recipe.width * math.sqrt(dim),), rng).to(x.device)
        self.mean = noisy_mean(x, self.waves, noise, rng)

    def step(self, number: int) -> dict[str, Tensor]:
        first = number * self.recipe.batch
        z = self.generator.latent.sample(first, first + self.recipe.batch, self.rng.fork("latents")).to(self.device)
        loss = (embedded(self.G(z), self.waves).mean(0) - self.mean).square().sum()
        update(self.optimisers["generator"], loss)
        average(self.averaged, self.G, self.recipe.average)
        return {"generator": loss}

    @torch.no_grad()
    def show(self) -> Tensor:
        z = self.generator.latent.sample(0, 64, self.rng.fork("shown")).to(self.device)
        images: Tensor = self.averaged(z).cpu()
        return images


@torch.no_grad()
def noisy_mean(x: Tensor, waves: Tensor, noise: float, rng: Rng) -> Tensor:
    """The one look at the images: the sum of their features, each of norm 1, with noise, over how many there are."""
    total = torch.stack([embedded(some, waves).sum(0) for some in x.split(ROWS)]).sum(0)
    drawn = torch.randn(len(total), generator=rng.fork("noise").block()).to(total)
    return (total + noise * drawn) / len(x)
