"""How near the nearest of many samples comes: all that somebody can look at who sees a gallery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from genvet.attacks.membership.exposed import Exposed, exposed
from genvet.attacks.membership.records import Comparing, Seen
from genvet.core.generator import Generator
from genvet.core.queries import Samples
from genvet.core.rng import Rng
from genvet.core.technique import Probe
from genvet.nets.nearest_samples import nearest_samples


@dataclass(frozen=True, eq=False, kw_only=True)
class Given(Seen):
    """What it is given."""

    reference_model: Generator | None = None
    """A generator that saw neither set: how near it comes is taken off, so that easy images do not count."""


class Nearest(Comparing, Probe):
    """Tells members by how near the nearest of many samples comes to them, beside a reference generator's."""

    source: ClassVar[str] = "Chen et al.: GAN-Leaks, CCS 2020, sec. 4.2 (full black box) and 4.5 (calibration)"
    smoke: ClassVar[dict[str, Any]] = {"samples": 200}

    samples: Annotated[int, Field(ge=1, le=100_000_000)] = 100_000
    """Samples that are looked at; they pass by, and memory does not grow with them."""

    def __call__(self, target: Samples, given: Given, rng: Rng) -> Exposed:
        cohort, space = self.cohort(given, getattr(target, "shape", None)), self.seen(given)
        found = nearest_samples(target, cohort.x, space, self.samples, rng.fork("samples"))
        scores = {f"nearest sample in {space.name}": -found.distance}
        if given.reference_model is not None:
            other = given.reference_model.seen_as(Samples)
            apart = nearest_samples(other, cohort.x, space, found.samples, rng.fork("reference")).distance
            scores["beside the reference's nearest"] = apart - found.distance
        beside = {"nearest sample": found.x}
        return exposed(self, "nearest", cohort, scores, rng, asked=found.samples, beside=beside, notes=found.notes)
