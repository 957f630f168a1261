"""Perceptual path length: how far images go for a small step of a latent, in a named feature space."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genvet.core.rng import Rng
from genvet.nets.style_space import Space, Z

STEP = 1e-4
"""Of the way from one latent to another."""
EXTREMES = 0.01
"""Share of the longest and of the shortest that is left out, as by Karras et al. 2019, app. C."""


@torch.inference_mode()
def path_lengths(here: Space, features: Callable[[Tensor], Tensor], n: int, rng: Rng, batch: int) -> Tensor:
    """Squared distances for a small step at a random place between two latents, over the step squared: (n,), sorted.

    Along great circles in z, along straight lines elsewhere (Karras et al. 2019, eq. 2 and 3); both ends of a way have
    the label of the first. A length compares with others of the same features and the same space alone.
    """
    latent, generator = here.generator.latent, here.generator
    z, labels = latent.sample(0, 2 * n, rng), generator.labels_of(torch.arange(n))
    told = None if labels is None else torch.cat([labels, labels])
    points = here.drawn(z, told)
    at = torch.rand(n, 1, generator=rng.fork("places").block())
    between = _circle if isinstance(here, Z) and latent.distribution != "uniform" else torch.lerp
    ends = [between(points[:n].double(), points[n:].double(), at.double() + step).float() for step in (0.0, STEP)]
    one, other = (features(here.rendered(end, labels, batch)) for end in ends)
    return ((other - one).double().square().sum(1) / STEP**2).sort().values


def without_extremes(lengths: Tensor) -> Tensor:
    """Sorted lengths without the outermost hundredth on either side."""
    cut = int(EXTREMES * len(lengths))
    return lengths[cut : len(lengths) - cut]


def _circle(a: Tensor, b: Tensor, at: Tensor) -> Tensor:
    """From a to b along a great circle, lengths going over from one to the other in a straight line."""
    one, other = (t / t.norm(dim=1, keepdim=True) for t in (a, b))
    angle = (one * other).sum(1, keepdim=True).clamp(-1, 1).acos()
    way: Tensor = (((1 - at) * angle).sin() * one + (at * angle).sin() * other) / angle.sin().clamp_min(1e-12)
    return way * torch.lerp(a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True), at)
