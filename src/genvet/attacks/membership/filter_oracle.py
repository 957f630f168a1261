"""Whether a filter of outputs tells who is protected: what is blocked near a record, or jumps there, gives it away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.membership.exposed import Exposed, exposed
from genvet.attacks.membership.records import Cohort, Exposing, Records
from genvet.core.errors import BudgetSpent
from genvet.core.progress import track
from genvet.core.queries import Queries, Reply
from genvet.core.rng import BLOCK, Rng
from genvet.core.technique import Probe
from genvet.maths.distances import Smallest, squared_distances
from genvet.nets.between import first_or_none

Grid = tuple[Tensor, Tensor]
"""Shares of queries that were not answered, and how far neighbouring answers are apart: (n,) each."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Given(Records):
    """What it is given."""


class FilterOracle(Exposing, Probe):
    """Tells members by what a filter of outputs does to latents whose images lie near them.

    Latents whose answers are nearest to a record are found among many; then their neighbours are asked for. A filter
    that blocks says no there, and one that silently answers with other latents' images jumps: neighbours are suddenly
    far apart. Without a filter, neither tells anything, and what is left is the nearest answer itself.
    """

    source: ClassVar[str] = (
        "Debenedetti et al.: Privacy Side Channels in Machine Learning Systems, USENIX Security 2024, sec. 5; "
        "Ippolito et al.: Preventing Verbatim Memorization Gives a False Sense of Privacy, 2022"
    )
    smoke: ClassVar[dict[str, Any]] = {"samples": 64, "starts": 2, "around": 3}

    samples: Annotated[int, Field(ge=1, le=10_000_000)] = 5000
    """Latents that are asked for first, once for all records."""
    starts: Annotated[int, Field(ge=1, le=1000)] = 4
    """Of them, those nearest to each record, whose neighbours are asked for."""
    around: Annotated[int, Field(ge=1, le=1000)] = 8
    """Neighbours of each."""
    reach: Annotated[float, Field(gt=0, le=10)] = 0.3
    """How far off they are, in root mean square latents."""
    batch: Annotated[int, Field(ge=1, le=65_536)] = 1024
    """Queries at once; the result does not depend on it."""

    @torch.no_grad()
    def __call__(self, target: Queries, given: Given, rng: Rng) -> Exposed:
        cohort, began = self.cohort(given, target.shape), target.used
        nearest, apart, blocked = self._first(target, cohort, rng.fork("samples"))
        refused, jumps, cut = self._neighbours(target, nearest, rng)
        missing = ~apart.isfinite()
        far = apart.masked_fill(missing, float(apart[~missing].max()) if not bool(missing.all()) else 0.0)
        scores = {"blocks nearby": refused, "jumps nearby": jumps, "nearest answer": -far}
        used = target.used - began
        told = f"Of the first {self.samples} queries {blocked:.1%} were not answered."
        notes = (told, f"The budget ended after {used} queries.") if cut else (told,)
        return exposed(self, "filter", cohort, scores, rng, asked=used, notes=notes)

    def _first(self, target: Queries, cohort: Cohort, rng: Rng) -> tuple[Tensor, Tensor, float]:
        """The numbers of the latents nearest to each record (n, starts), the least distance (n,), the share refused."""
        rows, nearest = cohort.x.flatten(1), Smallest(len(cohort.x), self.starts)
        start, refused = 0, 0
        for z in track(target.latent.batches(self.samples, self.batch, rng), -(-self.samples // self.batch), "samples"):
            reply = target.ask(z, target.latent.labels(start, start + len(z)))
            refused += int((reply.status != 0).sum())
            if len(reply.images):
                off = squared_distances(rows, reply.images.float().cpu().flatten(1))
                by_query = torch.full((len(rows), len(z)), torch.inf)
                nearest.offer(by_query.scatter_reduce_(1, reply.owner.cpu().expand_as(off), off, "amin"), start)
            start += len(z)
        return nearest.index, nearest.value[:, 0].sqrt(), refused / self.samples

    def _neighbours(self, target: Queries, number: Tensor, rng: Rng) -> tuple[Tensor, Tensor, bool]:
        """What is not answered, and how far answers jump, around the latents of these numbers (n, starts)."""
        latent, n = target.latent, len(number)
        scale = self.reach * (3**-0.5 if latent.distribution == "uniform" else 1.0)
        # The same steps for all records, each latent itself first: it makes no difference who shares a batch.
        drawn = torch.randn(self.around, latent.dim, generator=rng.fork("around").block()) * scale
        steps = torch.cat([torch.zeros(1, latent.dim), drawn])
        refused, jumps = torch.zeros(n), torch.zeros(n)
        each = self.starts * len(steps)
        parts = torch.arange(n).split(max(1, self.batch // each))
        for some in track(parts, len(parts), "neighbours"):
            own = number[some].clamp_min(0)
            z = _latents(target, own.flatten(), rng.fork("samples"))
            asked = latent.project((z[:, None] + steps).flatten(0, 1))
            labels = latent.labels_of(own.flatten().repeat_interleave(len(steps)))
            try:
                reply = target.ask(asked, labels)
            except BudgetSpent:
                return refused, jumps, True
            refused[some], jumps[some] = _told(reply, len(some), len(steps))
        return refused, jumps, False


def _latents(target: Queries, numbers: Tensor, rng: Rng) -> Tensor:
    """The latents of these numbers (k,), each block drawn once."""
    z = torch.empty(len(numbers), target.latent.dim)
    for block in (numbers // BLOCK).unique().tolist():
        mine = numbers // BLOCK == block
        z[mine] = target.latent.draw(block, rng)[numbers[mine] % BLOCK]
    return z


def _told(reply: Reply, records: int, steps: int) -> Grid:
    """Of each record: the share of neighbours without an answer, and the mean distance of the others to the first."""
    x, there = (some.view(records, -1, steps, *some.shape[1:]) for some in first_or_none(reply))
    x = x.flatten(3)
    off = (x[:, :, 1:] - x[:, :, :1]).square().mean(3).sqrt()
    both = there[:, :, 1:] & there[:, :, :1]
    jumps = (off * both).sum((1, 2)) / both.sum((1, 2)).clamp_min(1)
    return 1 - there[:, :, 1:].float().mean((1, 2)), jumps
