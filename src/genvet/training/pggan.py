"""The growing recipe: generator and critic begin with few pixels, and double them as they learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedGenerator
from genvet.nets import pggan
from genvet.nets.sngan import sides
from genvet.training.loop import average, order, run, update
from genvet.training.rivals import Rivals
from genvet.training.starting import start

DRIFT = 1e-3
"""Weight of the scores' squares, which keeps the critic near 0."""


@dataclass(frozen=True, eq=False)
class Given:
    """What it learns from."""

    images: Images


class PGGAN(Recipe):
    """Trains a PGGAN on images with the Wasserstein loss and a gradient penalty, and averages its weights."""

    source: ClassVar[str] = "Karras, Aila, Laine, Lehtinen: Progressive growing of GANs, 2018, sec. 2 to 4, appendix A"
    smoke: ClassVar[dict[str, Any]] = {"steps": 3, "batch": 4, "latent": 4, "capacity": 2, "growth": 1}
    nets: ClassVar[tuple[str, ...]] = ("pggan",)

    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 6000
    """Updates of the generator, those while it grows among them."""
    growth: Annotated[int, Field(ge=1, le=1_000_000)] = 500
    """Updates in which a resolution fades in, and as many for which it stays before the next one does."""
    batch: Annotated[int, Field(ge=2, le=4096)] = 32
    """Images in one update; the paper takes 16 or fewer."""
    latent: Annotated[int, Field(ge=1, le=4096)] = 128
    """Numbers in z; 512 are the paper's."""
    capacity: Annotated[int, Field(ge=1, le=1024)] = 16
    """Channels at the largest resolution, twice as many at the next, four times as many below."""
    penalty: Annotated[float, Field(ge=0, le=1000)] = 10.0
    """Weight of the gradient penalty."""
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate of Adam, for both networks."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the weight average (EMA)."""

    def __call__(self, given: Given, rng: Rng) -> TrainedGenerator:
        x = given.images.x
        if x.ndim != 4 or x.shape[2] != x.shape[3]:
            raise BadInput("a PGGAN makes square images", expected="(n, channels, side, side)", got=str(tuple(x.shape)))
        grown = self.growth * 2 * (len(sides(x.shape[2])) - 1)
        if start() is None and self.steps <= grown:
            expected, hint = f"over {grown} steps", "or let it grow faster: a lower growth"
            raise BadInput("it would not be grown in the end", expected=expected, got=str(self.steps), hint=hint)
        with rng.fork("weights").seeded():
            generator = pggan.build(self.latent, self.capacity, x.shape[2], x.shape[1])
            critic = pggan.critic(self.capacity, x.shape[2], x.shape[1])
        duel = Duel(self, generator, critic, x, rng)
        losses, told = run(duel, self, self.steps, x, rng)
        return duel.trained(losses, told)

    def stage(self, number: int, levels: int) -> tuple[int, float]:
        """The level of this step, and the weight of its newest block."""
        phase, into = divmod(number, self.growth)
        level = (phase + 1) // 2
        if level >= levels:
            return levels - 1, 1.0
        return level, (into + 1) / self.growth if phase % 2 else 1.0


class Duel(Rivals):
    """The two at the Wasserstein distance, at the resolution of the step. One that goes on from weights is grown."""

    D: pggan.Critic

    def __init__(self, recipe: PGGAN, generator: Generator, critic: pggan.Critic, x: Tensor, rng: Rng) -> None:
        super().__init__(recipe, generator, critic, x, rng, (0.0, 0.99))
        self.channels_last()
        self.recipe, self.grown = recipe, start() is not None

    def step(self, number: int) -> dict[str, Tensor]:
        levels = len(self.D.sides)
        level, alpha = (levels - 1, 1.0) if self.grown else self.recipe.stage(number, levels)
        for network in (self.G, self.D, self.averaged):
            network.grow(level, alpha)  # type: ignore[operator]
        with torch.no_grad():
            fake = self.G(self.latents(2 * number))
        loss_d = self._critics(fake, number)
        update(self.optimisers["critic"], loss_d)
        loss_g = -self.D(self.G(self.latents(2 * number + 1))).mean()
        update(self.optimisers["generator"], loss_g)
        average(self.averaged, self.G, self.recipe.average)
        return {"generator": loss_g, "critic": loss_d}

    def _critics(self, fake: Tensor, number: int) -> Tensor:
        """The difference of the scores, the penalty on the slope in between, and that on the scores themselves."""
        rows = order(len(self.x), self.batch, number, self.rng.fork("images"))
        real = self._shrunk(self.x[rows.to(self.x.device)])
        between = torch.lerp(real, fake, torch.rand_like(real[:, :1, :1, :1])).requires_grad_()
        (slope,) = torch.autograd.grad(self.D(between).sum(), between, create_graph=True)
        penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        of_real = self.D(real)
        apart = self.D(fake).mean() - of_real.mean()
        loss: Tensor = apart + self.recipe.penalty * penalty + DRIFT * of_real.square().mean()
        return loss

    def _shrunk(self, x: Tensor) -> Tensor:
        """Real images in the resolution at hand, as blurred as the newest block is faint."""
        x = F.avg_pool2d(x, 2 ** (len(self.D.sides) - 1 - self.D.level))
        return x if self.D.alpha == 1 else torch.lerp(pggan.doubled(F.avg_pool2d(x, 2)), x, self.D.alpha)

    def show(self) -> Tensor:
        return self.shown(64)
