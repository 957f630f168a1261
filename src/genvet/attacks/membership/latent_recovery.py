"""How well a generator can be driven to a record by gradients: what it learned by heart, it gives back best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.membership.exposed import Exposed, exposed
from genvet.attacks.membership.records import Exposing, Records
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.core.technique import Probe
from genvet.maths.likeness import Distance, square
from genvet.nets import random_features
from genvet.nets.fast import folded
from genvet.nets.latent_search import Starts, images_at, search


@dataclass(frozen=True, eq=False, kw_only=True)
class Given(Records):
    """What it is given."""

    reference_model: Generator | None = None
    """A generator that saw neither set: what the same search comes to there is taken off."""


class LatentRecovery(Exposing, Probe):
    """Tells members by how near gradients in the latent space drive the generator to them."""

    source: ClassVar[str] = (
        "Chen et al.: GAN-Leaks, CCS 2020, sec. 4.4 (white box); Webster et al.: Detecting overfitting, CVPR 2019"
    )
    smoke: ClassVar[dict[str, Any]] = {"restarts": 1, "steps": 4}

    restarts: Annotated[int, Field(ge=1, le=1000)] = 4
    """Searches for each record; the best counts."""
    steps: Annotated[int, Field(ge=1, le=100_000)] = 200
    """Of each search, by Adam."""
    features: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Weight of the squared distance in random convolutions, beside that of pixels."""
    batch: Annotated[int, Field(ge=1, le=4096)] = 256
    """Searches at once, of many records and restarts; the result does not depend on it."""

    def __call__(self, target: Generator, given: Given, rng: Rng) -> Exposed:
        cohort = self.cohort(given, target.shape)
        loss, best = self.recovered(target, cohort.x, rng.fork("search"))
        scores = {"recovery from a latent": -loss}
        if given.reference_model is not None:
            other, _ = self.recovered(given.reference_model, cohort.x, rng.fork("search"))
            scores["beside the reference's recovery"] = other - loss
        asked = len(cohort.x) * self.restarts * (self.steps + 1)
        return exposed(self, "latent recovery", cohort, scores, rng, asked=asked, beside={"recovered": best})

    def recovered(self, generator: Generator, x: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
        """The best loss for each record (n,), and the image that it belongs to (n, *shape)."""
        driven = folded(generator)
        found = search(
            driven, x, _starts(generator.latent, self.restarts, rng), self.steps, self.batch, self._distance()
        )
        z, start = found.best()
        parts = zip(z.split(self.batch), start.split(self.batch), strict=True)
        return found.nearest, torch.cat([images_at(driven, *part) for part in parts])

    def _distance(self) -> Distance:
        if not self.features:
            return square
        look = random_features.features
        return lambda x, t: square(x, t) + self.features * square(look(x), look(t))


def _starts(latent: Latent, restarts: int, rng: Rng) -> Starts:
    """Draws from the prior; searches stay where ordinary latents lie, as training did."""
    rate = 0.05 if latent.distribution == "uniform" else 0.1
    z = latent.sample(0, restarts, rng)
    return Starts(z, torch.full((restarts, 1), rate), torch.ones(restarts, 1).bool(), ("prior",) * restarts)
