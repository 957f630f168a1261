"""Gaussian noise on every image: drawn anew, a function of the latent, or a slowly varying one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.queries import Queries
from genvet.core.rng import Rng
from genvet.core.technique import Guard, Nothing
from genvet.nets.between import Asked, Between, Draws, Outgoing
from genvet.nets.undoing import Knowing, denoised, unclipped

WAVES = 128
"""Of z, in a slowly varying noise."""


class GaussianNoise(Guard):
    """Adds Gaussian noise to every image, and clips it to what can be shown.

    Noise that is drawn for each answer averages away over repeated questions. Noise that follows from the latent by a
    secret key does not, but averages away over latents that differ in the last decimals alone. Noise that varies slowly
    with the latent averages away over latents that are so far apart that the images differ as well.
    """

    source: ClassVar[str] = (
        "Hu, Pang: Stealing Machine Learning Models: Attacks and Countermeasures for Generative Adversarial Networks, "
        "ACSAC 2021, A.5"
    )
    smoke: ClassVar[dict[str, Any]] = {"sigma": 0.1}

    sigma: Annotated[float, Field(gt=0, le=2)] = 0.1
    """Standard deviation, in images from -1 to 1."""
    drawn: Literal["fresh", "keyed", "smooth"] = "fresh"
    """For each answer, from the latent and its label by a key, or by a key from where the latent lies."""
    reach: Annotated[float, Field(gt=0, le=10)] = 0.3
    """Of smooth noise: it is another one at so many root mean square latents' distance."""

    def __call__(self, view: Queries, given: Nothing, rng: Rng) -> Between:
        draws: Callable[[Tensor, Asked], Tensor]
        draws = Drift(view, self.reach, rng) if self.drawn == "smooth" else Draws(rng, self.drawn == "fresh")
        return Outgoing(view, lambda x, asked: (x + self.sigma * draws(x, asked)).clamp(-1, 1))

    def known(self) -> Mapping[str, Callable[[Queries], Queries]]:
        """What an attacker who knows it does: average what can be averaged, or denoise each image."""
        jitter = {"fresh": 0.0, "keyed": 1e-3, "smooth": self.reach / 2}[self.drawn]
        near = f" of latents moved by {jitter:g}" if jitter else ""

        def averaging(view: Queries) -> Queries:
            return Knowing(view, lambda x: unclipped(x, self.sigma), times=16, jitter=jitter)

        def denoising(view: Queries) -> Queries:
            return Knowing(view, lambda x: denoised(x, self.sigma))

        ways = {f"averages 16 answers{near}": averaging, "denoises": denoising}
        return dict(reversed(ways.items())) if self.drawn == "smooth" else ways


class Drift:
    """Noise that varies slowly with the latent: a sum of waves over z, whose directions and patterns are the key."""

    def __init__(self, view: Queries, reach: float, rng: Rng) -> None:
        latent, values = view.latent, math.prod(view.shape)
        wide = reach * math.sqrt(latent.dim / (3 if latent.distribution == "uniform" else 1))
        key = rng.block()
        self._latent = latent
        self._waves = torch.randn(latent.dim, WAVES, generator=key) / wide
        self._phases = torch.rand(WAVES, generator=key) * 2 * math.pi
        self._patterns = torch.randn(WAVES, values, generator=key) * math.sqrt(2 / WAVES)

    def __call__(self, x: Tensor, asked: Asked) -> Tensor:
        z = asked.each().float().cpu()
        # To a style generator, latents along one ray are one and the same.
        z = self._latent.project(z) if self._latent.distribution == "sphere" else z
        return ((z @ self._waves + self._phases).cos() @ self._patterns).view(x.shape).to(x)
