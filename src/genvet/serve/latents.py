"""Latents that the service draws, and a look at those that clients send.

A latent that no honest client would draw is an attack's more often than not: triggers lie far from the typical set,
noise is averaged away by asking again, and a search asks for latents near earlier ones.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from threading import Lock

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from genvet.core.latent import Latent
from genvet.serve.policy import Latents

CLIENTS = 4096
"""Clients whose latents a worker remembers."""
ALIKE = 1e-4
"""Odds that a latent of the prior is taken for a neighbour of any that are remembered."""
SAME = 3
"""Decimals in which two latents agree that are one: noise by the latent would begin anew behind them."""


def drawn(latent: Latent, n: int, secret: bytes) -> tuple[Tensor, Tensor | None]:
    """Latents (n, dim) and labels that nobody can foretell who lacks the secret; the same for the same secret."""
    stream = hashlib.shake_256(secret).digest(8 * n * (latent.dim + 1))
    numbers = np.frombuffer(stream, "<u8").reshape(n, latent.dim + 1)
    uniform = torch.from_numpy(((numbers[:, :-1] >> 11) + 0.5) / 2.0**53)
    z = uniform * 2 - 1 if latent.distribution == "uniform" else torch.special.ndtri(uniform)
    kinds = torch.from_numpy((numbers[:, -1] % max(latent.classes, 1)).astype(np.int64))
    return z.float(), torch.eye(latent.classes)[kinds] if latent.classes else None


class Typical:
    """Whether latents look like draws from the prior, at a stated share of false alarms.

    Three looks share the alarms: the length, the largest coordinate, and the distribution of all coordinates
    (Kolmogorov-Smirnov), which finds constant and patterned latents whose length is typical. On a sphere, the length
    says nothing: a latent is looked at as the network sees it.
    """

    def __init__(self, latent: Latent, false_alarms: float) -> None:
        self.latent, alpha = latent, false_alarms / 3
        d, self.sphere = latent.dim, latent.distribution == "sphere"
        self.uniform = latent.distribution == "uniform"
        if self.uniform:
            spread = math.sqrt((1 / 5 - 1 / 9) / d) * stats.norm.isf(alpha / 2)
            self.short, self.long, self.largest = max(1 / 3 - spread, 0) * d, (1 / 3 + spread) * d, 1.0
        else:
            self.short, self.long = (float(stats.chi2.ppf(p, d)) for p in (alpha / 2, 1 - alpha / 2))
            self.largest = float(stats.norm.isf(alpha / (2 * d)))
        self.far = float(stats.kstwo.isf(alpha, d))

    def __call__(self, z: Tensor) -> Tensor:
        """Of latents (n, dim), (n,) booleans."""
        z = z.double()
        finite = z.isfinite().all(1)
        z = self.latent.project(z.nan_to_num()) if self.sphere else z.nan_to_num()
        length = z.square().sum(1)
        fits = finite & (z.abs().amax(1) <= self.largest)
        if not self.sphere:
            fits &= (length >= self.short) & (length <= self.long)
        return fits & (self._distance(z) <= self.far)

    def _distance(self, z: Tensor) -> Tensor:
        """The largest gap between the coordinates' distribution and the prior's, (n,)."""
        d = z.shape[1]
        below = (z.sort(1).values.clamp(-1, 1) + 1) / 2 if self.uniform else torch.special.ndtr(z.sort(1).values)
        steps = torch.arange(d + 1, dtype=z.dtype) / d
        return torch.maximum((steps[1:] - below).amax(1), (below - steps[:-1]).amax(1))


class Seen:
    """What one client asked for lately: how often each latent, and how many that lay near earlier ones."""

    def __init__(self, latent: Latent, memory: int) -> None:
        d = latent.dim
        # (1 + cosine) / 2 of two directions drawn at random is Beta((d-1)/2, (d-1)/2).
        odds = ALIKE / memory
        self.near = float(2 * stats.beta.isf(odds, (d - 1) / 2, (d - 1) / 2) - 1) if d > 1 else 1.0
        self.memory, self.next, self.filled = memory, 0, 0
        self.directions = torch.zeros(memory, d)
        self.names: deque[bytes] = deque()
        self.times: Counter[bytes] = Counter()
        self.close: deque[bool] = deque(maxlen=memory)

    def take(self, z: Tensor, repeats: int | None, neighbours: int | None) -> Tensor:
        """Whether each of these may be answered, (n,); all of them are remembered."""
        fits = torch.ones(len(z), dtype=torch.bool)
        for i, row in enumerate(z):
            name = self._noted(row)
            direction = torch.nn.functional.normalize(row.float(), dim=0)
            close = bool(((self.directions[: self.filled] @ direction) > self.near).any()) and self.times[name] == 1
            self.close.append(close)
            self.directions[self.next] = direction
            self.next, self.filled = (self.next + 1) % self.memory, min(self.filled + 1, self.memory)
            again = repeats is not None and self.times[name] > repeats
            fits[i] = not again and not (close and neighbours is not None and sum(self.close) > neighbours)
        return fits

    def _noted(self, row: Tensor) -> bytes:
        if len(self.names) == self.memory:
            gone = self.names.popleft()
            self.times[gone] -= 1
            if not self.times[gone]:
                del self.times[gone]
        name = hashlib.sha256((row.double().round(decimals=SAME) + 0.0).numpy().tobytes()).digest()
        self.names.append(name)
        self.times[name] += 1
        return name


class Look:
    """All that a policy wants to know of the latents that clients send; safe to be asked by several threads."""

    def __init__(self, latent: Latent, how: Latents) -> None:
        self._how, self._latent = how, latent
        self._typical = Typical(latent, how.false_alarms) if how.typical else None
        self._seen: OrderedDict[int, Seen] = OrderedDict()
        self._lock = Lock()
        self.on_failed: Callable[[str, int], None] = lambda why, n: None
        """Told of each look that some latents failed, and how many."""

    def __call__(self, client: int, z: Tensor) -> Tensor:
        """Whether each latent (n, dim) may be answered, (n,)."""
        fits = torch.ones(len(z), dtype=torch.bool)
        if self._typical is not None:
            fits = self._typical(z)
            self.on_failed("typical", int((~fits).sum()))
        if self._how.repeats is not None or self._how.neighbours is not None:
            with self._lock:
                known = self._of(client).take(z, self._how.repeats, self._how.neighbours)
            self.on_failed("seen", int((~known).sum()))
            fits &= known
        return fits

    def _of(self, client: int) -> Seen:
        seen = self._seen.pop(client, None) or Seen(self._latent, self._how.memory)
        self._seen[client] = seen
        while len(self._seen) > CLIENTS:
            self._seen.popitem(last=False)
        return seen
