"""What comes too near is not answered: blocked, or answered by another latent's image, or changed until it is far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from genvet.core.errors import BudgetSpent
from genvet.core.latent import Latent
from genvet.core.queries import STATUS, Queries, Reply
from genvet.core.report import Measure
from genvet.core.rng import Rng
from genvet.maths.delivery import blurred
from genvet.nets.between import Asked, Between
from genvet.nets.protected import Distance, Index

Mode = Literal["block", "resample", "modify"]
Again = Literal["independent", "near"]
Change = Literal["blur", "noise"]
BLOCKED = STATUS.index("blocked")


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """What is done about an output that is too near."""

    mode: Mode = "block"
    tries: int = 8
    """Latents, or strengths of change, before it is blocked after all."""
    again: Again = "independent"
    reach: float = 0.3
    """Of near latents, in root mean square latents."""
    change: Change = "blur"
    strongest: float = 2.0
    """The last strength: pixels of a blur, standard deviation of a noise."""


class Filtered(Between):
    """Queries whose images are looked at on their way out.

    A query is answered where all of its images are far enough. What is drawn instead follows from the latent and a key:
    who asks twice learns nothing more. A distance that is no number counts as too near.
    """

    def __init__(
        self,
        view: Queries,
        distance: Distance,
        threshold: float,
        remedy: Remedy,
        key: Rng,
        about: tuple[Measure, ...] = (),
        index: Index | None = None,
    ) -> None:
        super().__init__(view, about=about)
        self.index = index
        """What is protected, where that is images."""
        self.distance, self.threshold, self.remedy, self._key = distance, threshold, remedy, key

    def near(self, x: Tensor) -> Tensor:
        """Which of the images (n, *shape) are blocked, (n,)."""
        return ~(self.distance(x) >= self.threshold)

    def _passed(self, z: Tensor, labels: Tensor | None) -> Reply:
        reply = self.inner.ask(z, labels)
        bad = self._bad(reply)
        if not bool(bad.any()):
            return reply
        if self.remedy.mode == "modify":
            return self._modified(reply, bad, Asked(z, labels, reply.owner))
        blocked = _without(reply, bad)
        return self._resampled(blocked, bad, z, labels) if self.remedy.mode == "resample" else blocked

    def _bad(self, reply: Reply) -> Tensor:
        """Which queries have an image that is too near, (n,)."""
        bad = torch.zeros(len(reply.status), dtype=torch.bool)
        bad[reply.owner.cpu()[self.near(reply.images)]] = True
        return bad

    def _resampled(self, reply: Reply, bad: Tensor, z: Tensor, labels: Tensor | None) -> Reply:
        """Other latents in the place of those of the queries that were blocked; what nobody pays for stays blocked."""
        names = Asked(z, labels, torch.arange(len(z))).names()
        left = bad.nonzero().flatten()
        for number in range(self.remedy.tries):
            if not len(left):
                break
            other = torch.stack([self._other(z[i], f"{names[i]}/{number}") for i in left.tolist()])
            try:
                tried = self.inner.ask(other, None if labels is None else labels[left.to(labels.device)])
            except BudgetSpent:
                break
            worse = self._bad(tried)
            reply = _merged(reply, _without(tried, worse), left)
            left = left[worse]
        return reply

    def _other(self, z: Tensor, name: str) -> Tensor:
        """The latent that is asked for instead of z (dim,)."""
        drawn = torch.randn(z.shape, generator=self._key.fork(name).block())
        return moved(self.latent, z, drawn, None if self.remedy.again == "independent" else self.remedy.reach)

    def _modified(self, reply: Reply, bad: Tensor, asked: Asked) -> Reply:
        """Images changed more and more, all of a query alike, until it passes."""
        x, owner, names = reply.images.clone(), reply.owner.cpu(), asked.names()
        for number in range(1, self.remedy.tries + 1):
            mine = bad[owner].nonzero().flatten()
            if not len(mine):
                break
            x[mine] = self._changed(reply.images[mine], number, [names[i] for i in mine.tolist()])
            bad = self._bad(Reply(x, owner, reply.status))
        return _without(Reply(x, reply.owner, reply.status), bad)

    def _changed(self, x: Tensor, number: int, names: list[str]) -> Tensor:
        strength = self.remedy.strongest * number / self.remedy.tries
        if self.remedy.change == "blur":
            return blurred(x, strength)
        drawn = [torch.randn(x.shape[1:], generator=self._key.fork(name).block()) for name in names]
        return (x + strength * torch.stack(drawn).to(x)).clamp(-1, 1)


def moved(latent: Latent, z: Tensor, drawn: Tensor, reach: float | None) -> Tensor:
    """A latent so far from z, in root mean square latents, by normal numbers `drawn`; None draws an independent one."""
    uniform = latent.distribution == "uniform"
    if reach is None:
        return (torch.special.ndtr(drawn) * 2 - 1 if uniform else drawn).to(z)
    step = reach * (math.sqrt(1 / 3) if uniform else 1.0) * drawn.to(z)
    return latent.project((z + step).view(-1, z.shape[-1])).view(z.shape)


def _without(reply: Reply, bad: Tensor) -> Reply:
    """The reply, with these queries (n,) blocked."""
    kept = ~bad[reply.owner.cpu()]
    status = reply.status.clone()
    status[bad.to(status.device)] = BLOCKED
    return Reply(reply.images[kept.to(reply.images.device)], reply.owner[kept.to(reply.owner.device)], status)


def _merged(reply: Reply, more: Reply, queries: Tensor) -> Reply:
    """The reply, with what came for some of its queries (k,), in the order of the queries."""
    owner = torch.cat([reply.owner, queries.to(reply.owner.device)[more.owner]])
    order = owner.argsort(stable=True)
    status = reply.status.clone()
    status[queries.to(status.device)] = more.status
    return Reply(torch.cat([reply.images, more.images])[order.to(reply.images.device)], owner[order], status)
