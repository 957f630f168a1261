"""What guesses about who took part prove of an epsilon: Steinke, Nasr and Jagielski's bound, from a single run.

Each canary took part with probability 1/2, and the auditor guesses for some of them. Under (epsilon, delta)
differential privacy with respect to adding or removing one record, the number of right guesses is no better than that
of a biased coin, right with probability e^epsilon / (1 + e^epsilon) each, but for a term in delta (their theorem 5.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genvet.core.rng import Rng

LEVEL = 0.05
MOST = 60.0
"""Epsilon beyond which nobody asks."""


@dataclass(frozen=True)
class Guesses:
    """The outcome of one way to guess."""

    right: int
    guessed: int
    epsilon: float
    """At least, at the level that it was worked out for; 0 where nothing is shown."""
    ceiling: float
    """What it would be were all of them right: more than that, these guesses cannot show."""


def p_value(right: int, guessed: int, canaries: int, epsilon: float, delta: float = 0.0) -> float:
    """The chance, at most, of as many right guesses under this epsilon and delta.

    >>> p_value(10, 10, 10, 0.0)
    0.0009765625
    """
    from scipy.stats import binom  # here, so that --help need not wait for it

    coin = 1 / (1 + np.exp(-epsilon))
    plain = float(binom.sf(right - 1, guessed, coin))
    if not delta or not right:
        return min(plain, 1.0)
    behind = binom.pmf(np.arange(right - 1, -1, -1), guessed, coin).cumsum() / np.arange(1, right + 1)
    return min(plain + 2 * canaries * delta * float(behind.max()), 1.0)


def least_epsilon(right: int, guessed: int, canaries: int, delta: float = 0.0, level: float = LEVEL) -> float:
    """The largest epsilon that so many right guesses refute at this level; 0 where they refute none.

    >>> round(least_epsilon(100, 100, 1000), 2), least_epsilon(50, 100, 1000)
    (3.49, 0.0)
    """
    low, high = 0.0, MOST
    if p_value(right, guessed, canaries, low, delta) > level:
        return 0.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(right, guessed, canaries, middle, delta) <= level else (low, middle)
    return low


def guesses(score: Tensor, inside: Tensor, guessed: int, delta: float, level: float, rng: Rng) -> Guesses:
    """Guess that the highest took part, and that as many of the lowest did not; tied ones are in an order by chance."""
    n = len(score)
    shuffled = torch.randperm(n, generator=rng.fork("ties").block())  # members may come first as they are
    score, inside = score.double()[shuffled], inside[shuffled]
    order, top = score.argsort(descending=True), (guessed + 1) // 2
    right = int(inside[order[:top]].sum()) + int((~inside[order[n - guessed + top :]]).sum())
    bound = least_epsilon(right, guessed, n, delta, level)
    return Guesses(right, guessed, bound, least_epsilon(guessed, guessed, n, delta, level))


def chosen(n: int, rng: Rng) -> Tensor:
    """Which of `n` canaries take part: each by a coin of its own, (n,)."""
    return torch.rand(n, generator=rng.fork("coins").block()) < 0.5


def canaries(n: int, shape: tuple[int, ...], rng: Rng) -> Tensor:
    """Images that no data set has: each pixel black or white by chance, (n, *shape)."""
    return (torch.rand(n, *shape, generator=rng.fork("canaries").block()) < 0.5).float() * 2 - 1
