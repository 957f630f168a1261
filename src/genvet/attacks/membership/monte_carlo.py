"""How many of the samples fall near a record; and near whole sets of records, which is told far better."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.membership.exposed import Exposed, exposed
from genvet.attacks.membership.records import Cohort, Comparing, Seen
from genvet.core.queries import Samples
from genvet.core.rng import Rng
from genvet.core.technique import Probe
from genvet.maths.distances import squared_distances
from genvet.maths.membership import auc, auc_interval
from genvet.maths.statistics import Interval
from genvet.nets.passing import Passing


class MonteCarlo(Comparing, Probe):
    """Tells members, and whole sets of them, by how many samples fall within a radius of them."""

    source: ClassVar[str] = "Hilprecht et al.: Monte Carlo and reconstruction membership inference, PoPETs 2019, sec. 4"
    smoke: ClassVar[dict[str, Any]] = {"samples": 200, "size": 4}

    samples: Annotated[int, Field(ge=10, le=200_000)] = 20_000
    """Samples that are counted; their rows in the space are kept in memory."""
    size: Annotated[int, Field(ge=2, le=100_000)] = 50
    """Records in a set, where whole sets are asked about."""

    def __call__(self, target: Samples, given: Seen, rng: Rng) -> Exposed:
        cohort, space = self.cohort(given, getattr(target, "shape", None)), self.seen(given)
        drawn, rows = Passing(target, self.samples, rng.fork("samples")), space(cohort.x)
        made = [space(x) for x in drawn]
        nearest = torch.stack([squared_distances(rows, some).amin(1) for some in made]).amin(0)
        # The median rule: half of the records that are asked about have a sample within the radius.
        radius = nearest[: cohort.known].median()
        count, weight = torch.zeros(len(rows)).double(), torch.zeros(len(rows)).double()
        for some in made:
            apart = squared_distances(rows, some)
            within = apart <= radius
            count += within.double().sum(1)
            weight += torch.where(within, (radius / apart.clamp_min(1e-12)).log() / 2, 0.0).double().sum(1)
        scores = {"samples within the radius": count, "the same, nearer ones counting more": weight}
        sets = self._sets(cohort, count, rng.fork("sets"))
        notes = (f"The radius is {float(radius) ** 0.5:.4g} in {space.name}: the median rule.", *drawn.notes)
        return exposed(self, "samples near by", cohort, scores, rng, asked=drawn.seen, notes=notes, sets=sets)

    def _sets(self, cohort: Cohort, count: Tensor, rng: Rng) -> tuple[int, int, float, Interval] | None:
        """Sets that share no record: their number, their size, the area of their mean counts, and its interval."""
        told = cohort.told(count)
        ones, others = (
            part[torch.randperm(len(part), generator=rng.block(i))][: len(part) // self.size * self.size]
            .view(-1, self.size)
            .mean(1)
            for i, part in enumerate((told.members, told.non_members))
        )
        if min(len(ones), len(others)) < 2:
            return None
        value = auc(ones, others)
        return len(ones) + len(others), self.size, value, auc_interval(value, len(ones), len(others))
