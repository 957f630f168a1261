"""Where a generator is denser than the world: it puts its samples near what it learned by heart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from genvet.attacks.membership.exposed import Exposed, exposed
from genvet.attacks.membership.records import Comparing, Seen
from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.queries import Samples
from genvet.core.rng import Rng
from genvet.core.technique import Probe
from genvet.maths.kernel_density import Density, Projection
from genvet.maths.overlap import overlap
from genvet.nets.passing import Passing


@dataclass(frozen=True, eq=False, kw_only=True)
class Given(Seen):
    """What it is given."""

    reference: Images
    """Other records of the same kind: neither members nor non-members."""


class DensityRatio(Comparing, Probe):
    """Tells members by the density of samples over that of reference data, in a few principal directions."""

    source: ClassVar[str] = "van Breugel et al.: Membership inference attacks against synthetic data (DOMIAS), 2023"
    smoke: ClassVar[dict[str, Any]] = {"samples": 200, "directions": 2}

    samples: Annotated[int, Field(ge=10, le=1_000_000)] = 10_000
    """Samples that the generator's density is told from."""
    directions: Annotated[int, Field(ge=1, le=64)] = 8
    """Principal directions of the reference data; more take many more samples."""

    def __call__(self, target: Samples, given: Given, rng: Rng) -> Exposed:
        cohort, space = self.cohort(given, getattr(target, "shape", None)), self.seen(given)
        known = given.reference.fitting(tuple(cohort.x.shape[1:])).float().cpu()
        pairs = overlap(cohort.x, known, self.near)
        if pairs:
            raise BadInput(
                f"{len(pairs)} of the reference's records are among those that are asked about",
                got=", ".join(cohort.names[p.first] for p in pairs[:5]),
                hint="take them out of the reference",
            )
        rows = space(known)
        shown = Projection.of(rows, self.directions)
        drawn = Passing(target, self.samples, rng.fork("samples"), least=self.directions + 1)
        made = torch.cat([shown(space(x)) for x in drawn])
        here = shown(space(cohort.x))
        own, world = Density.of(made).log(here), Density.of(shown(rows)).log(here)
        scores = {"log density over the reference's": own - world, "log density": own}
        return exposed(self, "density", cohort, scores, rng, asked=drawn.seen, notes=drawn.notes)
