"""What the recipes of StyleGAN and StyleGAN2 share: their losses, their averages, and how long each step is."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from genvet.core.data import Images, Labelled
from genvet.core.errors import BadInput
from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.core.technique import Technique, TrainedGenerator
from genvet.maths.augmentation import ADAPTIVE, DIFFERENTIABLE, augmented
from genvet.maths.fitting import fitted
from genvet.maths.quality import frechet
from genvet.nets.random_features import NAME, random_features
from genvet.nets.style_critic import StyleCritic
from genvet.training.loop import average, order, run, update
from genvet.training.rivals import Rivals
from genvet.training.team import team

REAL, FAKE, APART = "D(x)", "D(G(z))", "told apart"
"""What is logged beside the losses: mean scores, and the share of pairs in which the real image scores higher."""
RAMP = 0.05
"""The average looks back at most over this share of the images seen so far."""
TARGET = 0.6
"""What adaptive augmentation holds the mean sign of the critic's scores of real images to."""
REACTION = 100_000
"""Images in which adaptive augmentation can go from none to all. Unlike the paper's 500,000: runs here are short."""
SETTLED = 500
"""Steps in which a critic may be ahead: the generator has yet to make anything."""
JUDGED = 1000
"""Samples behind the distance at each checkpoint; half of the images, where there are fewer."""
FEWEST = 20


@dataclass(frozen=True, eq=False)
class Given:
    """What it learns from."""

    images: Images


class Styles(Technique):
    """The knobs of both recipes."""

    example: ClassVar[tuple[int, ...]] = (1, 8, 8)

    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 6_000
    """Updates of generator and critic."""
    batch: Annotated[int, Field(ge=2, le=4096)] = 32
    """Images in one update."""
    size: Annotated[int, Field(ge=4, le=1024)] = 32
    """Pixels a side, a power of two: images are cropped to squares and brought to that."""
    latent: Annotated[int, Field(ge=1, le=4096)] = 128
    """Numbers in z, and in w."""
    channel_base: Annotated[int, Field(ge=1, le=1 << 20)] = 1024
    """Feature maps at a size are this number divided by it, up to channel_max; the papers' networks have 16384."""
    channel_max: Annotated[int, Field(ge=1, le=4096)] = 128
    """Feature maps at the smallest sizes."""
    rate: Annotated[float, Field(gt=0, le=1)] = 0.0025
    """Learning rate of Adam, for both networks; the mapping's is a hundredth of it."""
    equalized: bool = True
    """Equalised learning rate; without it, Adam moves each weight as in a network that does not scale at run time."""
    gamma: Annotated[float, Field(ge=0, le=10_000)] = 5.0
    """Weight of the R1 penalty. Less lets short trainings come apart: see docs/decisions/006."""
    r1_every: Annotated[int, Field(ge=1, le=1000)] = 16
    """Steps from one penalty to the next (lazy regularisation), each so many times as strong."""
    mixing: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Share of samples whose layers get their w from two latents, up to and from a layer drawn at random."""
    group: Annotated[int, Field(ge=0, le=64)] = 4
    """Samples in one group of the mini-batch deviation; 0 leaves it out."""
    augment: Literal["none", "diffaug", "adaptive"] = "adaptive"
    """What both networks see: images as they are, always changed, or changed as often as the critic learns by heart."""
    mirror: bool = False
    """Show half of the images mirrored: for faces and garments, not for letters and digits."""
    conditional: bool = False
    """Learn each class's images: the data need labels, and the generator takes them."""
    half_life: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Of the weight average (EMA), in thousands of images; 10/32 of the batch unless given."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of convolutions: half where the processor is made for it."""

    def __call__(self, given: Given, rng: Rng) -> TrainedGenerator:
        x, labels, classes = self.taken(given.images)
        with rng.fork("weights").seeded():
            generator, critic = self.fresh(x.shape[1], classes), self.opponent(x.shape[1], classes)
        duel = StyleDuel(self, generator, critic, x, labels, rng)
        losses, told = run(duel, self, self.steps, x, rng, labels)  # type: ignore[arg-type]
        mapping, _ = parts(duel.averaged)
        mapping.w_avg.copy_(mapping.average(generator.latent))
        return duel.trained(losses, told)

    def reads(self) -> type[Images]:
        """Labelled images for a conditional network."""
        return Labelled if self.conditional else Images

    def side(self) -> int:
        """The size that it trains at."""
        return self.size

    def taken(self, images: Images) -> tuple[Tensor, Tensor | None, int]:
        """Images in its size, with labels and the number of classes where it learns these; raises BadInput."""
        x = self.fitted(images.x)
        if self.size & (self.size - 1):
            raise BadInput("a style generator doubles its size", expected="a power of two", got=str(self.size))
        if not self.conditional:
            return x, None, 0
        if not isinstance(images, Labelled):
            raise BadInput("a conditional network needs labelled images", got=type(images).__name__)
        return x, images.labels.to(x.device), len(images.classes)

    def fitted(self, x: Tensor) -> Tensor:
        """Images in the size that it trains at; raises BadInput for what is no image."""
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise BadInput("a style generator makes images", expected="(n, 1 or 3, h, w)", got=str(tuple(x.shape)))
        return fitted(x, self.size)

    @property
    def widths(self) -> tuple[int, ...]:
        """Feature maps at 4, 8, ... size pixels."""
        return tuple(min(self.channel_max, max(1, self.channel_base >> i)) for i in range(2, self.size.bit_length()))

    @property
    def half(self) -> bool:
        """Whether convolutions run in bfloat16."""
        return self.precision == "bfloat16" or (self.precision == "auto" and made_for_bfloat16())

    @abstractmethod
    def fresh(self, channels: int, classes: int) -> StyleGenerator:
        """The generator to train."""

    @abstractmethod
    def opponent(self, channels: int, classes: int) -> StyleCritic:
        """The critic to train it against."""


def parts(network: nn.Module) -> tuple[Any, Any]:
    """The mapping and the synthesis of a style network."""
    return network.mapping, network.synthesis


def made_for_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 faster than float32: a recent GPU, or a CPU with AMX."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


class StyleDuel(Rivals):
    """The two at the non-saturating loss with R1, lazily."""

    def __init__(
        self,
        recipe: Styles,
        generator: StyleGenerator,
        critic: StyleCritic,
        x: Tensor,
        labels: Tensor | None,
        rng: Rng,
    ) -> None:
        super().__init__(recipe, generator, critic, x, rng, (0.0, 0.99))
        self.recipe, self.labels, self.num_ws = recipe, labels, generator.num_ws
        self.mapping, self.synthesis = parts(self.G)
        self.synthesis.noise = "random"
        if recipe.half:
            self.synthesis.precision = critic.precision = torch.bfloat16
        self.overfit = Overfit().to(x.device)
        self.networks = {**self.networks, "overfit": self.overfit}
        self.optimisers = {
            name: torch.optim.Adam(groups(self.networks[name], recipe), recipe.rate, (0.0, 0.99), foreach=True)
            for name in self.optimisers
        }

    def step(self, number: int) -> dict[str, Tensor]:
        rows = order(len(self.x), self.batch, number, self.rng.fork("images")).to(self.x.device)
        labels = None if self.labels is None else F.one_hot(self.labels[rows], self.generator.latent.classes).float()
        real, fake = self._real(rows), self._fake(number, labels)
        loss_d, of_real, of_fake = self._judged(real, fake.detach(), labels, number)
        update(self.optimisers["critic"], loss_d)
        # The same samples for both updates: the papers draw new ones, which costs another pass of the generator.
        loss_g = F.softplus(-self.D(self._seen(fake), *_given(labels))).mean()
        update(self.optimisers["generator"], loss_g)
        average(self.averaged, self.G, self._decay(number))
        self.overfit.follow(team().mean(of_real.sign().mean()), self.batch)
        apart = (of_real > of_fake.T).float().mean()
        return {"generator": loss_g, "critic": loss_d, REAL: of_real.mean(), FAKE: of_fake.mean(), APART: apart}

    def _real(self, rows: Tensor) -> Tensor:
        real = self.x[rows]
        if self.recipe.mirror:
            chosen = torch.rand(len(real), 1, 1, 1, device=real.device) < 0.5
            real = torch.where(chosen, real.flip(3), real)
        return real

    def _fake(self, number: int, labels: Tensor | None) -> Tensor:
        """Samples of the network that learns, a share of them with two styles."""
        w: Tensor = self.mapping(self.latents(number), *_given(labels))
        ws = w[:, None].expand(-1, self.num_ws, -1)
        if self.recipe.mixing:
            other: Tensor = self.mapping(torch.randn(len(w), self.generator.latent.dim).to(w), *_given(labels))
            change = torch.randint(1, self.num_ws, (len(w), 1)).where(
                torch.rand(len(w), 1) < self.recipe.mixing, torch.tensor(self.num_ws)
            )
            kept = (torch.arange(self.num_ws) < change)[:, :, None].to(w.device)
            ws = torch.where(kept, ws, other[:, None])
        x: Tensor = self.synthesis(ws)
        return x

    def _seen(self, x: Tensor) -> Tensor:
        """What the critic sees of these images."""
        if self.recipe.augment == "none":
            return x
        if self.recipe.augment == "diffaug":
            return augmented(x, DIFFERENTIABLE)
        return augmented(x, ADAPTIVE, self.overfit.share)

    def _judged(self, real: Tensor, fake: Tensor, labels: Tensor | None, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """The critic's loss, and its scores (n, 1) of both."""
        lazy = self.recipe.gamma > 0 and number % self.recipe.r1_every == 0
        # The slope at what the critic looks at: augmentation is not differentiated twice.
        seen = self._seen(real).detach().requires_grad_(lazy)
        of_real, of_fake = self.D(seen, *_given(labels)), self.D(self._seen(fake), *_given(labels))
        loss = F.softplus(-of_real).mean() + F.softplus(of_fake).mean()
        if lazy:
            (slope,) = torch.autograd.grad(of_real.sum(), seen, create_graph=True)
            penalty = slope.square().sum(dim=(1, 2, 3)).mean()
            loss = loss + self.recipe.gamma / 2 * self.recipe.r1_every * penalty
        return loss, of_real.detach(), of_fake.detach()

    def _decay(self, number: int) -> float:
        """Of the weight average at this step."""
        half_life = 1000 * (self.recipe.half_life or self.batch * 10 / 32)
        return math.pow(0.5, self.batch / min(half_life, max(number * self.batch * RAMP, 1e-8)))

    def show(self) -> Tensor:
        return self.shown(64)

    @cached_property
    def real(self) -> tuple[Tensor, float]:
        """Features of real images, and how far others are from them."""
        n = min(JUDGED, len(self.x) // 2)
        rows = torch.randperm(len(self.x), generator=self.rng.fork("judged").block())[: 2 * n].to(self.x.device)
        one, other = random_features(self.x[rows]).chunk(2)
        return one, frechet(one, other)

    def judged(self) -> dict[str, float]:
        """How far the averaged samples are from the data in a named space, beside how far real images are."""
        features, floor = self.real
        if len(features) < FEWEST:
            return {}
        fake = torch.cat([self.shown(100, skip) for skip in range(0, len(features), 100)])[: len(features)]
        return {
            f"Frechet distance in {NAME}": frechet(features, random_features(fake)),
            "of real images to others": floor,
        }

    @torch.no_grad()
    def shown(self, count: int, skip: int = 0) -> Tensor:
        z = self.generator.latent.sample(skip, skip + count, self.rng.fork("shown")).to(self.x.device)
        labels = self.generator.labels_of(torch.arange(skip, skip + count))
        images: Tensor = self.averaged(z, *_given(labels)).float().cpu()
        return images


class Overfit(nn.Module):
    """How well the critic knows its real images, and the share of samples that are changed because of it."""

    sign: Tensor
    share: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("sign", torch.zeros(()))
        self.register_buffer("share", torch.zeros(()))

    @torch.no_grad()
    def follow(self, sign: Tensor, seen: int) -> None:
        """Take in the mean sign of the scores of a batch of real images."""
        self.sign.lerp_(sign, 0.05)
        self.share.add_(torch.sign(self.sign - TARGET) * seen / REACTION).clamp_(0, 1)


def groups(network: nn.Module, recipe: Styles) -> list[dict[str, Any]]:
    """Parameters with their learning rates.

    With an equalised rate, all weights are drawn with variance 1 and scaled at run time, and all have one rate. Adam's
    steps do not depend on the scale of gradients: without equalisation, a weight that starts at 1 / sqrt(inputs) would
    move by `rate` as well, which is by rate sqrt(inputs) here.
    """
    if recipe.equalized:
        return [{"params": list(network.parameters())}]
    return [{"params": [p], "lr": recipe.rate * _inputs(p)} for p in network.parameters()]


def _inputs(parameter: nn.Parameter) -> float:
    """Square root of a weight's inputs; 1 for biases, noise and the constant."""
    return math.sqrt(parameter[0].numel()) if parameter.ndim in (2, 4) else 1.0


def _given(labels: Tensor | None) -> tuple[Tensor, ...]:
    return () if labels is None else (labels,)


def separated(losses: Mapping[str, float], step: int) -> str:
    """A warning where the critic tells nearly every real image from every generated one; empty otherwise."""
    apart = losses.get(APART, 0.0)
    if apart < 0.98 or step < SETTLED:
        return ""
    return (
        f"the critic tells {apart:.1%} of pairs apart: D(x) and D(G(z)) have separated, and the generator learns "
        "little from it (more data, augmentation, a larger gamma or a lower rate help)"
    )
