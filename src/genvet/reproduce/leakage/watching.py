"""Trainings with an auditor who looks at every noisy gradient; and some that do not keep to what they claim."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from genvet.core.progress import track
from genvet.core.rng import Rng
from genvet.training.clipping import LEAST, Clipped, Weights
from genvet.training.private_dcgan import PrivateDCGAN, PrivateDuel
from genvet.training.sensitivity import jointly
from genvet.training.shield import Fakes, Shield, add_noise

Way = Literal["silent", "mixing", "private"]


class Watched(Shield):
    """A shield whose noisy gradients are looked at, for canaries among the images and others that are not.

    Every noisy sum is written as one of the canaries' own gradients, and of those of the images that are in anyway, by
    ridge regression: without noise, that tells whose gradients are in it. It takes nothing but what a guarantee covers:
    the noisy sums, and what the auditor knows anyway, which are the canaries, the other images, the critic and the
    samples. All canaries have a place in the pool, in or out.
    """

    canaries: Tensor
    inside: Tensor
    known: Tensor
    ridges: tuple[float, ...] = (1e-9, 1.0)
    """Of the regression, in units of the noise that is claimed, over the sampling rate: next to none, and what fits."""

    def watch(self, canaries: Tensor, inside: Tensor, rng: Rng) -> None:
        """Those of the canaries that are `inside` are the last of the images; the others are in anyway."""
        self.canaries, self.inside, self.places = canaries, inside, rng.fork("places")
        self.known = self.images[0][: len(self.images[0]) - int(inside.sum())]
        self.scores = torch.zeros(len(self.ridges), len(canaries), dtype=torch.float64)

    def released(self, fakes: Fakes, picked: Tensor) -> None:
        pool, number = fakes[0], int(self.spending.steps)
        places = torch.randint(len(pool), (len(self.canaries),), generator=self.places.block(number))
        places[self.inside] = picked[len(picked) - int(self.inside.sum()) :]
        shown = torch.cat([self.canaries, self.known]), pool[torch.cat([places, picked[: len(self.known)]])]
        norm, noise = self.spending.norm.float(), float(self.spending.noise)
        weights = {name: weight.detach() for name, weight in self.critic.named_parameters()}
        slopes = vmap(grad(self.loss), (None, 0, 0), randomness="different")(weights, *shown)
        rows = torch.cat([slope.flatten(1) for slope in slopes.values()], dim=1).double()
        rows *= (float(norm) / rows.norm(dim=1, keepdim=True).clamp_min(LEAST)).clamp_max(1)
        told = [w.grad.flatten() for w in self.critic.parameters() if w.grad is not None]
        whole = torch.cat(told).double() * self.recipe.batch
        alike, towards = rows @ rows.T, rows @ whole
        for i, ridge in enumerate(self.ridges):
            least = ridge * (noise * float(norm)) ** 2 / self.rate
            found = torch.linalg.solve(alike + least * torch.eye(len(rows), dtype=torch.float64), towards)
            self.scores[i] += found[: len(self.canaries)]


class Silent(Watched):
    """Clips every gradient, says what noise it adds, and adds none."""

    def noised(self, found: Clipped) -> None:
        add_noise(self.critic, found.sums, 0.0, self.recipe.batch)


class Mixing(Watched):
    """Clips each image's gradient after all went through the critic as one batch, as hooks do; and adds its noise."""

    def summed(self, records: tuple[Tensor, ...]) -> Clipped:
        real, fake = records
        none = torch.zeros((), device=real.device)
        zeros: Weights = {name: torch.zeros_like(weight) for name, weight in self.critic.named_parameters()}
        sums = jointly(float(self.spending.norm))(self.critic, real, fake) if len(real) else zeros
        return Clipped(sums, none, none)


SHIELDS: dict[Way, type[Watched]] = {"silent": Silent, "mixing": Mixing, "private": Watched}


def audited(recipe: PrivateDCGAN, way: Way, x: Tensor, canaries: Tensor, inside: Tensor, rng: Rng) -> PrivateDuel:
    """Trains this way on the images and the canaries that are inside, with every noisy gradient looked at."""
    learned = torch.cat([x, canaries[inside]])
    noise = recipe.spread(len(learned))
    with rng.fork("weights").seeded():
        generator, (critic, _) = recipe.fresh(learned), recipe.opponent(learned)
        critic = with_deviation(critic) if way == "mixing" and isinstance(critic, nn.Sequential) else critic
        duel = PrivateDuel(recipe, generator, critic, learned, rng, noise)
        shield = SHIELDS[way](recipe, duel.D, (learned,), rng, noise)
        shield.watch(canaries, inside, rng)
        duel.shield = shield
        for number in track(range(recipe.steps), recipe.steps, "training"):
            duel.step(number)
    return duel


class Deviation(nn.Module):
    """Features (n, d), and beside them their deviation over the batch, as one number for all: (n, d + 1)."""

    def forward(self, x: Tensor) -> Tensor:
        spread = (x.var(dim=0, correction=0) + 1e-8).sqrt().mean()
        return torch.cat([x, spread.expand(len(x), 1)], dim=1)


def with_deviation(critic: nn.Sequential) -> nn.Sequential:
    """The same critic with a mini-batch deviation before its score, and without dropout."""
    layers = dict(critic.named_children())
    score = layers.pop("score")
    assert isinstance(score, nn.Linear)
    found = nn.Sequential()
    for name, layer in layers.items():
        if not isinstance(layer, nn.Dropout):
            found.add_module(name, layer)
    found.add_module("deviation", Deviation())
    found.add_module("score", nn.Linear(score.in_features + 1, 1))
    return found
