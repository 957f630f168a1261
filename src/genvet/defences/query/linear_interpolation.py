"""Linear interpolation: the image of a latent on the way to another one is given, not that of the latent asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.latent import Latent
from genvet.core.queries import Queries
from genvet.core.rng import BLOCK, Rng
from genvet.core.technique import Guard, Nothing
from genvet.nets.between import Asked, Between, Incoming
from genvet.nets.undoing import Discarding, Knowing, Second


class LinearInterpolation(Guard):
    """Answers with images of latents on the way from the one asked for to another one.

    The other is that of the query before, as the paper draws it, or one of 1,024 of the guard's own, by the latent and
    a key: then the same latent always gets the same answer. Who asks twice in a row for one latent walks no way in the
    first case; in the second, latents that are longer by the right factor come out as ordinary ones.
    """

    source: ClassVar[str] = (
        "Hu, Pang: Stealing Machine Learning Models: Attacks and Countermeasures for Generative Adversarial Networks, "
        "ACSAC 2021, A.5"
    )
    smoke: ClassVar[dict[str, Any]] = {"points": 2}

    far: Annotated[float, Field(gt=0, le=1)] = 0.5
    """How far to go, as a share of the way; the appendix tells neither this nor how many images a query brings."""
    points: Annotated[int, Field(ge=1, le=64)] = 1
    """Images that a query brings, in even steps up to there."""
    partner: Literal["previous", "own"] = "previous"
    """Whither: to the latent of the query before, or to one of the guard's own."""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Of the latents, by the key, that are treated so."""
    restored: bool = False
    """Give latents the length that is typical. Without it they are shorter, and images are nearer to the mean one; with
    it answers are those of ordinary latents, and all that is kept back is which latent an image belongs to."""

    def __call__(self, view: Queries, given: Nothing, rng: Rng) -> Between:
        return Incoming(view, _Way(self, view.latent, rng), brings=self.points)

    @property
    def remembers(self) -> bool:
        """Whether answers depend on the queries before: a service then has one for each client."""
        return self.partner == "previous"

    def known(self) -> Mapping[str, Callable[[Queries], Queries]]:
        """What an attacker who knows it does: ask twice, or for longer latents, or tell by the image."""
        middle = self.far * (self.points + 1) / (2 * self.points)
        shrunk = math.hypot(1 - middle, middle) if self.restored else 1.0
        if self.partner == "previous":
            ways: dict[str, Callable[[Queries], Queries]]
            ways = {"asks twice in a row": lambda view: Second(view, lambda z: shrunk * z)}
            dropping = {"drops what looks interpolated": lambda view: Discarding(view, self.share)}
            return ways | (dropping if self.share < 1 else {})
        if self.restored or middle == 1:
            return {"takes them for images of other latents, which they are": lambda view: view}
        # For a normal prior: |(1 - far) s z + far z'| is then as |z|, with z' from the prior.
        longer = math.sqrt(1 - middle**2) / (1 - middle)
        return {f"asks for latents {longer:.3g} times as long": lambda view: Knowing(view, move=lambda z: longer * z)}


class _Way:
    """From the latents asked for to their partners."""

    def __init__(self, how: LinearInterpolation, latent: Latent, rng: Rng) -> None:
        self.how, self.latent, self.rng = how, latent, rng
        self.own = latent.draw(0, rng.fork("own"))
        self.last = self.own[:1]

    def __call__(self, z: Tensor) -> Tensor:
        """(n, dim) -> (n, points, dim)."""
        if not len(z):
            return z[:, None].expand(-1, self.how.points, -1)
        numbers = [Rng(self.rng.seed, f"{self.rng.purpose}/{name}") for name in self._names(z)]
        drawn = torch.stack([torch.rand(2, generator=one.block()) for one in numbers])
        partners = torch.cat([self.last, z[:-1].cpu()]) if self.how.partner == "previous" else self._own(drawn[:, 0])
        self.last = z[-1:].cpu()
        steps = torch.arange(1, self.how.points + 1) * (self.how.far / self.how.points)
        walked = steps * (drawn[:, 1] < self.how.share)[:, None]
        walked = walked[..., None].to(z)
        many = torch.lerp(z[:, None], partners.to(z)[:, None], walked)
        if self.how.restored:  # as long in the mean as two independent latents make it
            many = many / torch.hypot(1 - walked, walked)
        return many.clamp(-1, 1) if self.latent.distribution == "uniform" else many

    def _own(self, drawn: Tensor) -> Tensor:
        return self.own[(drawn * BLOCK).long()]

    def _names(self, z: Tensor) -> list[str]:
        return Asked(z, None, torch.arange(len(z))).names()
