"""A DCGAN whose critic learns little from any one image (DP-SGD): all that is released has a bound on what it tells."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedGenerator
from genvet.nets import dcgan
from genvet.training.adversarial import Adversarial, Duel, Given, calibrate, squares
from genvet.training.clipping import clipped
from genvet.training.loop import average, run, update
from genvet.training.noisy_generator import held, samples_loss
from genvet.training.privacy_linter import mended
from genvet.training.promising import Promising, published
from genvet.training.shield import Shield, add_noise


class PrivateDCGAN(Promising, Adversarial, Recipe):
    """Trains a DCGAN with differential privacy, and states its epsilon.

    Only the critic sees images, so that only its gradients are clipped and noised: each image takes part by chance
    (Poisson sampling), paired with a sample, and the pair's gradient is clipped as one. Generator and critic may both
    be released. The statement is about one image, added or removed: not about a person with many, nor about a class.
    """

    source: ClassVar[str] = (
        "Abadi et al.: Deep learning with differential privacy, CCS 2016, Algorithm 1; Bie, Kamath, Zhang: Private "
        "GANs, revisited, TMLR 2023 (critic steps); Andrew et al.: Adaptive clipping, NeurIPS 2021"
    )
    smoke: ClassVar[dict[str, Any]] = {
        **{"steps": 2, "batch": 8, "capacity": 2, "latent": 4},
        **{"noise": 1.0, "accountant": "rdp", "critic_steps": 2},
    }
    nets: ClassVar[tuple[str, ...]] = ("dcgan",)
    version: ClassVar[int] = 1

    noisy_generator: bool = False
    """A control: clip and noise the generator's gradients too. It costs quality and buys no privacy."""

    def __call__(self, given: Given, rng: Rng) -> TrainedGenerator:
        x = squares(given)
        noise = self.spread(len(x))
        steps = self.affordable(len(x), noise)
        with rng.fork("weights").seeded():
            generator = self.fresh(x)
            critic, replaced = self.opponent(x)
        duel = PrivateDuel(self, generator, critic, x, rng, noise)
        losses, told = run(duel, self, steps, x, rng)
        calibrate(duel.averaged, generator, rng)
        return kept(self, duel.trained(losses, told), duel.shield, replaced, steps)

    def opponent(self, x: Tensor) -> tuple[nn.Module, tuple[str, ...]]:
        """The critic, and what was replaced in it."""
        return mended(dcgan.critic(self.capacity, x.shape[2], x.shape[1]))

    def noised(self) -> str:
        told = super().noised()
        return f"{told}; as a control the generator too, which changes nothing here" if self.noisy_generator else told


class PrivateDuel(Duel):
    """The two at the non-saturating loss; the critic behind its shield."""

    def __init__(
        self, recipe: PrivateDCGAN, generator: Generator, critic: nn.Module, x: Tensor, rng: Rng, noise: float
    ) -> None:
        super().__init__(recipe, generator, critic, x, rng)
        self.private = recipe
        self.shield = Shield(recipe, self.D, (x,), rng, noise)
        self.networks = {**self.networks, "spending": self.shield.spending}

    def step(self, number: int) -> dict[str, Tensor]:
        rounds = self.private.critic_steps
        for i in range(rounds):
            with torch.no_grad():
                fake = self.G(self.latents(number * (rounds + 1) + i))
            loss_d = self.shield.step((fake,), self.optimisers["critic"], _as_it_is)
        z = self.latents(number * (rounds + 1) + rounds)
        if self.private.noisy_generator:
            loss_g = self._noisily(z)
        else:
            loss_g = F.softplus(-self.D(self.G(z))).mean()
            update(self.optimisers["generator"], loss_g)
        average(self.averaged, self.G, self.recipe.average)
        return {"generator": loss_g, "critic": loss_d, "epsilon": self.shield.so_far()}

    def _noisily(self, z: Tensor) -> Tensor:
        """As many people do it: the generator's gradients are clipped and noised like the critic's."""
        loss, together = samples_loss(self.G, self.D), self.private.together
        with held(self.G, z):
            found = clipped(self.G, loss, (z,), self.private.clip, together=together)
        noise = float(self.shield.spending.noise) * self.private.clip
        add_noise(self.G, found.sums, noise, self.batch)
        self.optimisers["generator"].step()
        return found.loss / len(z)


def _as_it_is(x: Tensor) -> Tensor:
    return x


def kept(
    recipe: Promising, trained: TrainedGenerator, shield: Shield, replaced: tuple[str, ...], steps: int
) -> TrainedGenerator:
    """With the promise in the record, and only what may be told of it in the generator's own."""
    norm, noise, sums = (float(shield.spending.norm), float(shield.spending.noise), int(shield.spending.steps))
    told = {**trained.record, **recipe.promised(len(shield.images[0]), noise, sums, norm), "replaced": list(replaced)}
    if steps < recipe.steps:
        told["stopped"] = f"the budget was spent after {steps} of {recipe.steps} steps"
    metadata = {**trained.generator.metadata, "genvet.training": json.dumps(published(told))}
    return replace(trained, generator=replace(trained.generator, metadata=metadata), record=told)
