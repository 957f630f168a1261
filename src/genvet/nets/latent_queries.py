"""Driving a generator that only answers: slopes are told from pairs of queries, for many images at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.errors import BudgetSpent
from genvet.core.progress import track
from genvet.core.queries import Queries
from genvet.core.rng import Rng
from genvet.maths.distances import Smallest, squared_distances


@dataclass(frozen=True, eq=False)
class Asked:
    """The best that queries came to."""

    loss: Tensor
    """Sums of squares (n,)."""
    x: Tensor
    """The answers that came nearest, (n, *shape)."""
    used: int
    """Queries."""
    cut: bool
    """The budget ended before the search did."""


@dataclass(frozen=True, kw_only=True)
class Walk:
    """How a search by queries goes."""

    samples: int
    """Latents that are asked for once, for all images: each search begins at the nearest."""
    steps: int
    pairs: int
    """Of queries a step, on either side of where the search is."""
    reach: float
    """How far the two of a pair are from it, in standard deviations of a latent's numbers."""
    rate: float
    """Step size of Adam, in the same unit."""
    batch: int


@torch.no_grad()
def walked(target: Queries, images: Tensor, walk: Walk, rng: Rng) -> Asked:
    """Search for each of the images (n, *shape); a search depends on no other one.

    What comes back for a query may be no image, or several: then the nearest counts.
    """
    before, search = target.used, _Search(target, images, walk)
    cut = False
    try:
        number = search.first(rng.fork("samples"))
        search.go_on(number, rng)
    except BudgetSpent:
        if not bool(search.loss.isfinite().all()):
            raise
        cut = True
    return Asked(search.loss, search.x, target.used - before, cut)


class _Search:
    """The searches for all images, and the nearest answer to each so far."""

    def __init__(self, target: Queries, images: Tensor, walk: Walk) -> None:
        self.target, self.images, self.walk = target, images, walk
        self.loss = torch.full((len(images),), torch.inf)
        self.x = torch.zeros_like(images, device="cpu")

    def first(self, rng: Rng) -> Tensor:
        """The number of the sample that is nearest to each image, (n,)."""
        latent, start = self.target.latent, 0
        nearest, rows = Smallest(len(self.images), 1), self.images.flatten(1)
        for whole in latent.batches(self.walk.samples, self.walk.batch, rng):
            z = whole[: self.target.left or None]  # with none left, the target itself refuses
            reply = self.target.ask(z, latent.labels(start, start + len(z)))
            if len(reply.images):
                x = reply.images.float().cpu()
                apart = squared_distances(rows, x.flatten(1))
                by_query = torch.full((len(rows), len(z)), torch.inf)
                by_query.scatter_reduce_(1, reply.owner.cpu().expand_as(apart), apart, "amin")
                nearest.offer(by_query, start)
                best = apart.argmin(1)
                off = (x[best] - self.images).square().flatten(1).sum(1)
                self._offer(torch.arange(len(rows)), off, x[best])
            start += len(z)
            if len(z) < len(whole):
                raise BudgetSpent(self.target.used, self.target.used)
        return nearest.index[:, 0].clamp_min(0)

    def go_on(self, number: Tensor, rng: Rng) -> None:
        """Walk down from the samples of these numbers (n,)."""
        latent, walk, drawn = self.target.latent, self.walk, rng.fork("samples")
        z = torch.cat([latent.sample(int(k), int(k) + 1, drawn) for k in number])
        labels, scale = latent.labels_of(number), 3**-0.5 if latent.distribution == "uniform" else 1.0
        first, second = torch.zeros_like(z), torch.zeros_like(z)
        for step in track(range(walk.steps), walk.steps, "queries"):
            # The same directions for all images: it makes no difference who shares a batch.
            away = torch.randn(walk.pairs, z.shape[1], generator=rng.fork("steps").block(step)) * scale
            parts = torch.arange(len(z)).split(max(1, walk.batch // (2 * walk.pairs)))
            slope = torch.cat([self._slope(z, labels, away, rows) for rows in parts])
            first, second = 0.9 * first + 0.1 * slope, 0.99 * second + 0.01 * slope.square()
            lift = (1 - 0.99 ** (step + 1)) ** 0.5 / (1 - 0.9 ** (step + 1))
            rate = walk.rate * scale * (1 - step / walk.steps) * lift
            z = latent.project(z - rate * first / (second.sqrt() + 1e-12))

    def _slope(self, z: Tensor, labels: Tensor | None, away: Tensor, rows: Tensor) -> Tensor:
        """Of the loss at the z of these rows, told from pairs; a pair with an unanswered query says nothing."""
        sides = torch.cat([away, -away]) * self.walk.reach
        owner = rows.repeat_interleave(len(sides))
        reply = self.target.ask((z[rows][:, None] + sides).flatten(0, 1), None if labels is None else labels[owner])
        loss = torch.full((len(owner),), torch.inf)
        if len(reply.images):
            x, of = reply.images.float().cpu(), reply.owner.cpu()
            off = (x - self.images[owner[of]]).square().flatten(1).sum(1)
            loss.scatter_reduce_(0, of, off, "amin")
            self._offer(owner[of], off, x)
        ahead, behind = loss.view(len(rows), 2, -1).unbind(1)
        difference = (ahead - behind).nan_to_num(0.0, 0.0, 0.0)
        return difference @ away / (2 * self.walk.reach * self.walk.pairs)

    def _offer(self, owner: Tensor, loss: Tensor, x: Tensor) -> None:
        """Answers x (n, *shape), the images that they are held against (n,), and how far off they are (n,)."""
        best = self.loss.scatter_reduce(0, owner, loss, "amin")
        better = (loss == best[owner]) & (loss < self.loss[owner])
        self.loss, self.x[owner[better]] = best, x[better]
