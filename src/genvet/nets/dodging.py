"""How an attacker gets around a filter of outputs: by latents a little further off, or by what neighbours agree on."""

from __future__ import annotations

import torch
from torch import Tensor

from genvet.core.queries import Queries, Reply
from genvet.core.rng import Rng
from genvet.nets.between import Between, first_or_none
from genvet.nets.filtered import moved

STEPS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
"""How far off latents are asked for, in root mean square latents, one distance after the other."""
SIDES = 4
"""Latents at each distance."""
JITTER, VOTES = 0.05, 8
"""How far off neighbours are that are held against each other, and how many."""


class Around(Between):
    """Asks for latents further and further off each one that was blocked, and keeps the first image that comes back."""

    def __init__(self, view: Queries) -> None:
        super().__init__(view)
        self._rng = Rng(0, "attacker/around")

    def _passed(self, z: Tensor, labels: Tensor | None) -> Reply:
        first = self.inner.ask(z, labels)
        images, status = _first_of(first)
        left = (status != 0).nonzero().flatten()
        for number, far in enumerate(STEPS):
            if not len(left):
                break
            drawn = torch.randn(SIDES, z.shape[1], generator=self._rng.block(number))
            asked = moved(self.latent, z[left].repeat_interleave(SIDES, 0), drawn.repeat(len(left), 1), far)
            kinds = None if labels is None else labels[left].repeat_interleave(SIDES, 0)
            found, told = _first_of(self.inner.ask(asked, kinds))
            told = told.view(-1, SIDES)
            passed = (told == 0).any(1)
            which = (told == 0).int().argmax(1) + torch.arange(len(left)) * SIDES
            images[left[passed]], status[left[passed]] = found[which[passed]], 0
            left = left[~passed]
        kept = (status == 0).nonzero().flatten()
        return Reply(images[kept], kept, status)


def around(view: Queries) -> Queries:
    """An attacker who moves latents until they are answered."""
    return Around(view)


class Consistent(Between):
    """Asks for neighbours of each latent and keeps the answer that the others are nearest to.

    Where the image of a latent was replaced, so are its neighbours', each by another one; those of them that lie just
    outside agree with each other.
    """

    def __init__(self, view: Queries) -> None:
        super().__init__(view, price=VOTES)
        self._rng = Rng(0, "attacker/consistent")

    def _passed(self, z: Tensor, labels: Tensor | None) -> Reply:
        drawn = torch.randn(VOTES, z.shape[1], generator=self._rng.block())
        scale = torch.linspace(0, 8 * JITTER, VOTES)[:, None]
        asked = moved(self.latent, z.repeat_interleave(VOTES, 0), (drawn * scale).repeat(len(z), 1), 1.0)
        kinds = None if labels is None else labels.repeat_interleave(VOTES, 0)
        images, status = _first_of(self.inner.ask(asked, kinds))
        rows = images.flatten(1).view(len(z), VOTES, -1).float()
        apart = torch.cdist(rows, rows)
        missing = (status != 0).view(len(z), VOTES)
        apart = apart.masked_fill(missing[:, None, :] | missing[:, :, None], 1e9)
        # The third of what lies nearest: itself, and two that agree.
        best = apart.kthvalue(3, dim=2).values.argmin(1)
        answered = ~missing.gather(1, best[:, None])[:, 0]
        kept = answered.nonzero().flatten()
        chosen = images.unflatten(0, (len(z), VOTES))[kept, best[kept]]
        return Reply(chosen, kept, (~answered).long())


def consistent(view: Queries) -> Queries:
    """An attacker who keeps what neighbours agree on."""
    return Consistent(view)


def _first_of(reply: Reply) -> tuple[Tensor, Tensor]:
    """The first image of each query (n, *shape), zeros where there is none, and what became of each, (n,)."""
    return first_or_none(reply)[0], reply.status.cpu().clone()
