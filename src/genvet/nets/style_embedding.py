"""Embedding images in w or w+: many searches from many starts in one batch (Abdal et al. 2019, Image2StyleGAN)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.generator import StyleGenerator
from genvet.core.progress import track
from genvet.core.rng import Rng
from genvet.maths.descent import descend
from genvet.nets.fast import batch_size, price
from genvet.nets.style_moments import Moments

Features = Callable[[Tensor], Tensor]
"""Images (n, *shape) -> numbers (n, d), with gradients."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """The best of all searches for each image."""

    ws: Tensor
    """(m, num_ws, w_dim)."""
    x: Tensor
    """What the synthesis makes of them: (m, *shape)."""
    error: Tensor
    """Sums of squares to the images, (m,)."""
    ends: Tensor
    """The same for every start, (m, starts)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Search:
    """How images are embedded."""

    starts: int
    """The mean of w, and so many less one ordinary w."""
    steps: int
    rate: float
    """Step size of Adam, in standard deviations of w."""
    pull: float = 0.0
    """Weight of the mean squared distance from the mean of w, in its standard deviations."""
    features: Features | None = None
    weight: float = 0.0
    """Of the squared distance by features, as a share of the image's own squares there."""
    apart: bool = True
    """A w for each layer (w+), or one for all."""

    def __call__(self, generator: StyleGenerator, images: Tensor, moments: Moments, rng: Rng) -> Embedded:
        """The embeddings of images (m, *shape), on the CPU."""
        begin, times = self._begin(generator, moments, rng), generator.num_ws if self.apart else 1
        numbers = torch.arange(len(images) * self.starts).split(batch_size(price(generator)))
        ends = [
            self._descended(generator, images[some // self.starts], begin[some % self.starts].repeat(1, times), moments)
            for some in track(numbers, len(numbers), "embedding")
        ]
        ws = torch.cat(ends).view(-1, times, generator.w_dim).expand(-1, generator.num_ws, -1)
        return _best(generator, images, ws)

    def _begin(self, generator: StyleGenerator, moments: Moments, rng: Rng) -> Tensor:
        """Where the searches begin, (starts, w_dim)."""
        z = generator.latent.sample(0, self.starts - 1, rng.fork("starts")).to(generator.device)
        with torch.no_grad():
            return torch.cat([moments.mean.float()[None], generator.mapping(z).cpu()])

    def _descended(self, generator: StyleGenerator, wanted: Tensor, begin: Tensor, moments: Moments) -> Tensor:
        on, spread = generator.device, max(moments.spread, 1e-6)
        wanted, mean = wanted.to(on), moments.mean.float().to(on)
        goal = None if self.features is None or not self.weight else self._numbers(wanted)

        def loss(flat: Tensor) -> Tensor:
            ws = flat.view(len(flat), -1, generator.w_dim)
            x = generator.synthesis(ws.expand(-1, generator.num_ws, -1)).float()
            off = (x - wanted).square().flatten(1).mean(1)
            if goal is not None:
                off = off + self.weight * _share(self._numbers(x), goal)
            return off + self.pull * ((ws - mean) / spread).square().flatten(1).mean(1)

        rate = torch.full((len(begin), 1), self.rate * spread, device=on)
        return descend(loss, begin.to(on), self.steps, rate, lambda flat: flat).z.cpu()

    def _numbers(self, x: Tensor) -> Tensor:
        assert self.features is not None
        numbers = self.features(x)
        if numbers.ndim != 2 or len(numbers) != len(x):
            raise BadInput("these are no features", expected=f"({len(x)}, numbers)", got=str(tuple(numbers.shape)))
        return numbers


def _share(numbers: Tensor, goal: Tensor) -> Tensor:
    """Squares between two rows of features, over those of the second."""
    return (numbers - goal).square().sum(1) / goal.square().sum(1).clamp_min(1e-12)


@torch.no_grad()
def _best(generator: StyleGenerator, images: Tensor, ws: Tensor) -> Embedded:
    """Of the ends (m * starts, num_ws, w_dim), the nearest in squares for each image."""
    x = torch.cat([generator.synthesis(some.to(generator.device)).float().cpu() for some in ws.split(64)])
    starts = len(ws) // len(images)
    error = (x - images.repeat_interleave(starts, 0)).square().flatten(1).sum(1).view(len(images), starts)
    best = error.argmin(1) + torch.arange(len(images)) * starts
    return Embedded(ws[best].contiguous(), x[best], error.amin(1), error)
