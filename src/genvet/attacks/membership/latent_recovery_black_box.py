"""How well a generator can be driven to a record by queries alone, without its weights or gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from genvet.attacks.membership.exposed import Exposed, exposed
from genvet.attacks.membership.records import Exposing, Records
from genvet.core.generator import Generator
from genvet.core.queries import Endpoint, Queries
from genvet.core.rng import Rng
from genvet.core.technique import Probe
from genvet.nets.latent_queries import Asked, Walk, walked


@dataclass(frozen=True, eq=False, kw_only=True)
class Given(Records):
    """What it is given."""

    reference_model: Generator | None = None
    """A generator that saw neither set, and can be asked as often: what comes of the same search is taken off."""


class LatentRecoveryBlackBox(Exposing, Probe):
    """Tells members by how near queries of chosen latents come to them, with slopes told from pairs.

    Unlike the paper, which takes Powell's method for one image at a time: searches of all records share batches.
    """

    source: ClassVar[str] = "Chen et al.: GAN-Leaks, CCS 2020, sec. 4.3 (partial black box)"
    smoke: ClassVar[dict[str, Any]] = {"samples": 64, "steps": 2, "pairs": 2}

    samples: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    """Latents that are asked for first, once for all records: each search begins at the nearest."""
    steps: Annotated[int, Field(ge=0, le=100_000)] = 50
    """Of each search."""
    pairs: Annotated[int, Field(ge=1, le=10_000)] = 16
    """Pairs of queries a step and record, on either side of where the search is."""
    reach: Annotated[float, Field(gt=0, le=10)] = 0.1
    """How far the two of a pair lie from it, in standard deviations."""
    rate: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Step size of Adam, in standard deviations; it falls to nothing."""
    batch: Annotated[int, Field(ge=1, le=65_536)] = 1024
    """Queries at once; the result does not depend on it."""

    def __call__(self, target: Queries, given: Given, rng: Rng) -> Exposed:
        cohort = self.cohort(given, target.shape)
        found = self.walked(target, cohort.x, rng)
        scores = {"recovery by queries": -found.loss}
        if given.reference_model is not None:
            as_often = found.used if found.cut else None
            other = self.walked(Endpoint(given.reference_model, as_often), cohort.x, rng)
            scores["beside the reference's recovery"] = other.loss - found.loss
        notes = (f"The budget ended after {found.used} queries.",) if found.cut else ()
        beside = {"nearest answer": found.x}
        return exposed(self, "queries", cohort, scores, rng, asked=found.used, beside=beside, notes=notes)

    def walked(self, target: Queries, x: Tensor, rng: Rng) -> Asked:
        """The search for all records."""
        walk = Walk(
            samples=self.samples,
            steps=self.steps,
            pairs=self.pairs,
            reach=self.reach,
            rate=self.rate,
            batch=self.batch,
        )
        return walked(target, x, walk, rng.fork("search"))
