"""What stands between a caller and a generator's Queries: latents change on their way in, images on their way out.

A guard stands on the service's side, what undoes it on the attacker's; both are Queries again, so that they compose.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.errors import Refused, Unsupported
from genvet.core.queries import Queries, Reply
from genvet.core.report import Measure
from genvet.core.rng import Rng

BATCH = 64
"""Queries at once, where a gallery is shown."""
PATIENCE = 1024
"""Queries without a single image, after which nothing more is expected."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What images answer: the latents (n, dim) and labels of the queries, and whose each image is, (m,)."""

    z: Tensor
    labels: Tensor | None
    owner: Tensor

    def each(self) -> Tensor:
        """The latent that each image answers, (m, dim)."""
        return self.z[self.owner.to(self.z.device)]

    def names(self) -> list[str]:
        """What tells each image from others: a hash of its query, and its place among the answers to it."""
        rows = self.z.detach().float().cpu().contiguous().numpy()
        kinds = [-1] * len(rows) if self.labels is None else self.labels.argmax(1).tolist()
        queries = [f"{hashlib.sha256(row.tobytes()).hexdigest()}/{k}" for row, k in zip(rows, kinds, strict=True)]
        return [f"{queries[query]}/{place}" for query, place in self._places()]

    def _places(self) -> Iterator[tuple[int, int]]:
        seen: dict[int, int] = {}
        for query in self.owner.tolist():
            yield query, seen.get(query, 0)
            seen[query] = seen.get(query, 0) + 1


class Between(ABC):
    """Queries that pass through to other Queries, where they are charged."""

    def __init__(self, view: Queries, price: int = 1, brings: int = 1, about: tuple[Measure, ...] = ()) -> None:
        self.inner, self.price, self.about = view, price, about
        self.latent, self.shape = view.latent, view.shape
        self.brings: int = brings * getattr(view, "brings", 1)
        self.used = 0

    price: int
    """Queries of the view behind it, for one of this."""
    brings: int
    """Images that answer one query."""
    about: tuple[Measure, ...]
    """What it has to say of itself."""
    used: int
    """Queries that went through it; what they cost is charged behind it."""

    @property
    def left(self) -> int | None:
        """Queries that the view behind it will still pay for; None where nobody says."""
        return None if self.inner.left is None else self.inner.left // self.price

    def ask(self, z: Tensor, labels: Tensor | None = None) -> Reply:
        """Whatever comes back; raises BudgetSpent before any is charged that is not paid for."""
        reply = self._passed(z.detach(), labels)
        self.used += len(z)
        return reply

    @abstractmethod
    def _passed(self, z: Tensor, labels: Tensor | None) -> Reply: ...

    def __call__(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The images (n, *shape); raises Refused unless each query brings one."""
        return self.ask(z, labels).one_each()

    def sample(self, n: int, rng: Rng) -> Tensor:
        """The first `n` images that queries of this stream bring, on the CPU: (n, *shape)."""
        images, have, number = [torch.empty(0, *self.shape)], 0, 0
        while have < n:
            stop = number + min(BATCH, -(-(n - have) // self.brings))
            reply = self.ask(self.latent.sample(number, stop, rng), self.latent.labels(number, stop))
            images.append(reply.images.float().cpu())
            have, number = have + len(reply.images), stop
            if not have and number >= PATIENCE:
                raise Refused(f"none of the first {number} queries was answered", hint="ask for a wider policy")
        return torch.cat(images)[:n]


class Outgoing(Between):
    """Each image is changed on its way out."""

    def __init__(self, view: Queries, change: Callable[[Tensor, Asked], Tensor]) -> None:
        super().__init__(view)
        self._change = change

    def _passed(self, z: Tensor, labels: Tensor | None) -> Reply:
        reply = self.inner.ask(z, labels)
        if not len(reply.images):
            return reply
        return Reply(self._change(reply.images, Asked(z, labels, reply.owner)), reply.owner, reply.status)


class Incoming(Between):
    """Each latent becomes one or several others on its way in; a query brings what all of them bring."""

    def __init__(
        self, view: Queries, change: Callable[[Tensor], Tensor], brings: int = 1, about: tuple[Measure, ...] = ()
    ) -> None:
        super().__init__(view, price=brings, brings=brings, about=about)
        self._change = change
        """(n, dim) -> (n, brings, dim)"""

    def _passed(self, z: Tensor, labels: Tensor | None) -> Reply:
        many = self._change(z)
        k = many.shape[1]
        reply = self.inner.ask(many.flatten(0, 1), None if labels is None else labels.repeat_interleave(k, 0))
        # One answer of several makes a query answered: the least of the numbers.
        return Reply(reply.images, reply.owner // k, reply.status.view(-1, k).amin(1))


class Shown:
    """Samples of guarded queries: who looks at a gallery picks no latents."""

    def __init__(self, view: Queries) -> None:
        self._view, self.shape = view, view.shape

    @property
    def used(self) -> int:
        return self._view.used

    @property
    def left(self) -> int | None:
        return self._view.left

    def sample(self, n: int, rng: Rng) -> Tensor:
        """The first `n` images of this stream, on the CPU: (n, *shape)."""
        return self._view.sample(n, rng)


class Draws:
    """Standard normal numbers for each answer: by its running number, or by what was asked; the seed is the key."""

    def __init__(self, rng: Rng, fresh: bool) -> None:
        self._rng, self._fresh, self._drawn = rng, fresh, 0

    def __call__(self, x: Tensor, asked: Asked) -> Tensor:
        """As many as images (m, *shape) have values, where they are."""
        first, self._drawn = self._drawn, self._drawn + len(x)
        names = [str(first + i) for i in range(len(x))] if self._fresh else asked.names()
        return torch.stack([torch.randn(x.shape[1:], generator=self._rng.fork(name).block()) for name in names]).to(x)


def first_each(reply: Reply) -> Tensor:
    """The first image that each query brought, (n, *shape); raises Refused where one brought none."""
    some, places = _firsts(reply)
    if not bool(some.all()):
        raise Refused(f"{int((~some).sum())} of {len(some)} queries were not answered")
    return reply.images[places.to(reply.images.device)]


def first_or_none(reply: Reply) -> tuple[Tensor, Tensor]:
    """The first image of each query on the CPU (n, *shape), zeros where there is none, and which brought one, (n,)."""
    some, places = _firsts(reply)
    images = torch.zeros(len(some), *reply.images.shape[1:])
    images[some] = reply.images.float().cpu()[places[some]]
    return images, some


def _firsts(reply: Reply) -> tuple[Tensor, Tensor]:
    """Which queries brought an image, (n,), and where the first of each lies among them, (n,)."""
    brought = torch.bincount(reply.owner.cpu(), minlength=len(reply.status))
    return brought > 0, brought.cumsum(0) - brought


def pictured(view: Queries, what: str) -> Queries:
    """The view, where it gives grey or coloured pictures; raises Unsupported otherwise."""
    if len(view.shape) != 3 or view.shape[0] not in (1, 3):
        raise Unsupported(f"{what} is for grey or coloured pictures, not for samples {tuple(view.shape)}")
    return view
