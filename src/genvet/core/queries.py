"""A generator as an outsider sees it, who looks at its gallery (Samples), or sends latents for images (Queries)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from genvet.core.errors import BadInput, BudgetSpent, Refused
from genvet.core.latent import Latent
from genvet.core.rng import Rng

if TYPE_CHECKING:
    from genvet.core.generator import Generator

Status = Literal["answered", "blocked", "held"]
STATUS: tuple[Status, ...] = ("answered", "blocked", "held")
"""What became of a query: images came back, none ever will, or a person decides first. Replies hold its number."""


@dataclass(frozen=True, eq=False)
class Reply:
    """What came back for n queries; one query may bring none, one or several images."""

    images: Tensor
    """(m, *shape), in the order of the queries."""
    owner: Tensor
    """The number of the query that each image answers, (m,)."""
    status: Tensor
    """Of each query, (n,): numbers into STATUS."""

    @classmethod
    def whole(cls, images: Tensor) -> Reply:
        """One image for each query.

        >>> Reply.whole(torch.zeros(2, 1, 8, 8)).owner.tolist()
        [0, 1]
        """
        return cls(images, torch.arange(len(images)), torch.zeros(len(images), dtype=torch.long))

    def one_each(self) -> Tensor:
        """The images, where each query brought exactly one; raises Refused otherwise."""
        n = len(self.status)
        if not torch.equal(self.owner.cpu(), torch.arange(n)):
            unanswered = int((self.status != 0).sum())
            why = f"{unanswered} of {n} queries were not answered" if unanswered else "one query brings several images"
            raise Refused(why, hint="ask() gives whatever comes back, with the query that each image belongs to")
        return self.images


@runtime_checkable
class Samples(Protocol):
    """The full black box: what a gallery leaks."""

    def sample(self, n: int, rng: Rng) -> Tensor: ...


@runtime_checkable
class Queries(Samples, Protocol):
    """The partial black box: the caller picks z (n, dim), and images come back."""

    latent: Latent
    shape: tuple[int, ...]
    used: int
    """Queries that were charged: those that were blocked or held are."""

    @property
    def left(self) -> int | None:
        """Queries that will still be answered; None where nobody says."""

    def ask(self, z: Tensor, labels: Tensor | None = None) -> Reply:
        """Whatever comes back for latents (n, dim); raises BudgetSpent before any is charged that is not paid for."""

    def __call__(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The images (n, *shape); raises Refused unless each query brings one."""


class Gallery:
    """Samples: images of the generator's own choosing, counted."""

    def __init__(self, generator: Generator, budget: int | None = None) -> None:
        if budget is not None and budget < 0:
            raise BadInput("there is no such budget", expected="0 or more queries", got=str(budget))
        self._draw = generator.sample
        self._budget = budget
        self.shape = generator.shape
        self.used = 0

    @property
    def left(self) -> int | None:
        """What will still be answered; None where there is no budget."""
        return None if self._budget is None else self._budget - self.used

    def sample(self, n: int, rng: Rng) -> Tensor:
        """The first `n` images of this stream, on the CPU: (n, *shape)."""
        self._spend(n)
        return self._draw(n, rng)

    def _spend(self, n: int) -> None:
        if self._budget is not None and self.used + n > self._budget:
            raise BudgetSpent(self.used, self._budget)
        self.used += n


class Endpoint(Gallery):
    """Queries: images for latents of the caller's choosing, counted, without gradients."""

    def __init__(self, generator: Generator, budget: int | None = None) -> None:
        super().__init__(generator, budget)
        self._generator = generator
        self.latent = generator.latent

    def ask(self, z: Tensor, labels: Tensor | None = None) -> Reply:
        """One image for each latent."""
        return Reply.whole(self(z, labels))

    @torch.no_grad()
    def __call__(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images where the latents are, wherever the network runs."""
        self._spend(len(z))
        there = self._generator.device
        return self._generator(z.detach().to(there), None if labels is None else labels.to(there)).to(z.device)
