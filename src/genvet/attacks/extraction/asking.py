"""What a thief asks of a target: latents of a prior that may be a guess, image after image, while the budget lasts."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from genvet.core.errors import BudgetSpent, Refused
from genvet.core.latent import Latent
from genvet.core.queries import Queries
from genvet.core.rng import BLOCK, Rng

Prior = Literal["declared", "normal", "uniform", "samples"]
SILENCE = 10_000
"""Queries in a row without an image, after which nobody goes on."""


class Asking:
    """A target's images, in the order of the queries that brought them; latents do not depend on the batch."""

    def __init__(self, target: Queries, prior: Prior, batch: int, rng: Rng, keep: int = 0) -> None:
        self.target, self.prior, self.batch, self.rng, self.keep = target, prior, batch, rng, keep
        self.asked, self.answered, self.spent = 0, 0, False
        self._waiting = torch.empty(0, *target.shape)
        self._block = (-1, torch.empty(0))

    def ask(self, n: int) -> Tensor:
        """What the next n queries bring, (m, *shape); fewer are asked where the budget, less `keep`, ends before."""
        brought = [self._brought(min(self.batch, n - done)) for done in range(0, n, self.batch)]
        return torch.cat([self._waiting[:0], *brought])

    def take(self, n: int) -> Tensor | None:
        """The next n images, (n, *shape), however many queries they need; None where the budget ends before."""
        silent = 0
        parts = [self._waiting]
        while (have := sum(map(len, parts))) < n:
            before = self.asked
            parts.append(self._brought(min(self.batch, n - have)))
            if self.spent:
                self._waiting = torch.cat(parts)
                return None
            silent = 0 if len(parts[-1]) else silent + self.asked - before
            if silent >= SILENCE:
                raise Refused(f"{silent} queries in a row brought no image", hint="the guard lets nothing through")
        images = torch.cat(parts)
        self._waiting = images[n:]
        return images[:n]

    def _brought(self, n: int) -> Tensor:
        """The images of n queries; of what is left, where that is less."""
        left = self.target.left
        allowed = n if left is None else max(min(n, left - self.keep), 0)
        self.spent = self.spent or allowed < n
        if not allowed:
            return self._waiting[:0]
        try:
            images = self._answered(allowed)
        except BudgetSpent:  # of a service that does not say what is left
            self.spent = True
            return self._waiting[:0]
        self.asked, self.answered = self.asked + allowed, self.answered + len(images)
        return images.detach().float().cpu()

    def _answered(self, n: int) -> Tensor:
        start, stop = self.asked, self.asked + n
        if self.prior == "samples":
            return self.target.sample(n, self.rng.fork(f"samples {start}"))
        latent = believed(self.target.latent, self.prior)
        return self.target.ask(self._drawn(latent, start, stop), latent.labels(start, stop)).images

    def _drawn(self, latent: Latent, start: int, stop: int) -> Tensor:
        """The latents that `latent.sample` gives; each block of them is drawn once, however small the batches are."""
        parts = []
        for block in range(start // BLOCK, -(-stop // BLOCK)):
            if block != self._block[0]:
                self._block = (block, latent.draw(block, self.rng))
            parts.append(self._block[1][max(start - block * BLOCK, 0) : stop - block * BLOCK])
        return torch.cat(parts)


def believed(declared: Latent, prior: Prior) -> Latent:
    """The distribution that latents are drawn from."""
    return declared if prior in ("declared", "samples") else replace(declared, distribution=prior)  # type: ignore[arg-type]
