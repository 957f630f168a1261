"""A StyleGAN2 whose critic learns little from any one image (DP-SGD), at 32 pixels or so."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedGenerator
from genvet.training.loop import average, run, update
from genvet.training.privacy_linter import mended
from genvet.training.private_dcgan import kept
from genvet.training.promising import Promising
from genvet.training.shield import Shield
from genvet.training.stylegan2 import StyleGAN2
from genvet.training.styles import Given, StyleDuel, parts


class PrivateStyleGAN2(Promising, StyleGAN2, Recipe):
    """Trains a StyleGAN2 with differential privacy, and states its epsilon.

    As for a DCGAN, and: R1 is part of each image's clipped loss, the mini-batch deviation is left out, since it lets an
    image change what the others give, augmentation does not follow scores of real images, and nothing is measured on
    the data while it trains.
    """

    source: ClassVar[str] = (
        "Abadi et al.: Deep learning with differential privacy, CCS 2016, Algorithm 1; Karras et al.: StyleGAN2, 2020; "
        "Bie, Kamath, Zhang: Private GANs, revisited, TMLR 2023"
    )
    smoke: ClassVar[dict[str, Any]] = {
        **{"steps": 2, "batch": 4, "size": 8, "latent": 4, "channel_base": 32, "channel_max": 8},
        **{"precision": "float32", "noise": 1.0, "accountant": "rdp", "critic_steps": 2},
    }

    r1_every: Annotated[int, Field(ge=1, le=1000)] = 1
    """Noisy steps from one penalty to the next, each so many times as strong: clipping cuts strong ones short."""
    group: Annotated[int, Field(ge=0, le=64)] = 4
    """Of the mini-batch deviation, which is left out whatever is given: the record says so."""
    augment: Literal["none", "diffaug"] = "none"
    """What both networks see: images as they are, or always changed. How often never follows from the data."""
    precision: Literal["auto", "float32"] = "auto"
    """Of convolutions: a norm that was rounded to half precision could be passed."""

    def __call__(self, given: Given, rng: Rng) -> TrainedGenerator:
        x, labels, classes = self.taken(given.images)
        noise = self.spread(len(x))
        steps = self.affordable(len(x), noise)
        with rng.fork("weights").seeded():
            generator = self.fresh(x.shape[1], classes)
            critic, replaced = mended(self.opponent(x.shape[1], classes))
        duel = PrivateStyleDuel(self, generator, critic, x, labels, rng, noise)
        losses, told = run(duel, self, steps, x, rng, labels)
        mapping, _ = parts(duel.averaged)
        mapping.w_avg.copy_(mapping.average(generator.latent))
        return kept(self, duel.trained(losses, told), duel.shield, replaced, steps)

    @property
    def half(self) -> bool:
        return False


class PrivateStyleDuel(StyleDuel):
    """The two at the non-saturating loss with R1; the critic behind its shield."""

    def __init__(
        self,
        recipe: PrivateStyleGAN2,
        generator: StyleGenerator,
        critic: Any,
        x: Tensor,
        labels: Tensor | None,
        rng: Rng,
        noise: float,
    ) -> None:
        super().__init__(recipe, generator, critic, x, labels, rng)
        self.private, self.classes = recipe, generator.latent.classes
        images = (x,) if labels is None else (x, F.one_hot(labels, self.classes).float())
        self.shield = Shield(recipe, self.D, images, rng, noise, recipe.gamma, recipe.r1_every)
        self.networks = {name: net for name, net in self.networks.items() if name != "overfit"}
        self.networks |= {"spending": self.shield.spending}

    def step(self, number: int) -> dict[str, Tensor]:
        rounds = self.private.critic_steps
        for i in range(rounds):
            labels = self._any_labels()
            with torch.no_grad():
                fake = self._fake(number * (rounds + 1) + i, labels)
            pool = (fake,) if labels is None else (fake, labels)
            loss_d = self.shield.step(pool, self.optimisers["critic"], self._seen)
        labels = self._any_labels()
        fake = self._fake(number * (rounds + 1) + rounds, labels)
        loss_g = F.softplus(-self.D(self._seen(fake), *(() if labels is None else (labels,)))).mean()
        update(self.optimisers["generator"], loss_g)
        average(self.averaged, self.G, self._decay(number))
        return {"generator": loss_g, "critic": loss_d, "epsilon": self.shield.so_far()}

    def _any_labels(self) -> Tensor | None:
        """One-hot labels of samples, all classes alike: how often each is in the data is not to be told."""
        if not self.classes:
            return None
        return F.one_hot(torch.randint(self.classes, (self.batch,), device=self.x.device), self.classes).float()

    def judged(self) -> dict[str, float]:
        """Nothing: a distance to the data is one more look at them."""
        return {}
