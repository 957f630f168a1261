"""How well a score tells attacked from clean: ROC, the area under it, and intervals that respect families."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from genvet.core.rng import Rng
from genvet.maths.statistics import Interval

Array = NDArray[np.float64]
ROUNDS = 2000


@dataclass(frozen=True, eq=False)
class Scores:
    """One score for each generator, clean or attacked, and the parent that it grew from. Missing ones are -inf."""

    value: Array
    attacked: NDArray[np.bool_]
    parent: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.value)

    def only(self, chosen: NDArray[np.bool_]) -> Scores:
        """These alone."""
        return Scores(self.value[chosen], self.attacked[chosen], self.parent[chosen])

    @property
    def clean(self) -> Array:
        return self.value[~self.attacked]

    @property
    def planted(self) -> Array:
        return self.value[self.attacked]


def auc(scores: Scores) -> float:
    """The chance that an attacked one has the higher score than a clean one; ties count half. NaN where one is missing.

    >>> auc(Scores(np.array([0.0, 1, 1, 2]), np.array([0, 0, 1, 1], bool), np.array(["a"] * 4)))
    0.875
    """
    if not len(scores.clean) or not len(scores.planted):
        return float("nan")
    return float(_wins(scores.clean, scores.planted).mean())


def _wins(clean: Array, planted: Array) -> Array:
    """1 where the attacked one is higher, a half at a tie: (clean, attacked)."""
    higher = (planted > clean[:, None]).astype(np.float64)
    wins: Array = higher + (planted == clean[:, None]) / 2
    return wins


def roc(scores: Scores) -> tuple[list[float], list[float]]:
    """False and true alarms, as shares, at every threshold from the highest down; begins at (0, 0), ends at (1, 1)."""
    levels = np.unique(scores.value)[::-1]
    false = [0.0, *(float((scores.clean >= level).mean()) for level in levels)]
    true = [0.0, *(float((scores.planted >= level).mean()) for level in levels)]
    return false, true


def caught(scores: Scores) -> int:
    """How many attacked ones lie above every clean one."""
    top = scores.clean.max() if len(scores.clean) else -np.inf
    return int((scores.planted > top).sum())


def caught_share(scores: Scores) -> float:
    """Their share; NaN where there are no attacked ones."""
    return caught(scores) / len(scores.planted) if len(scores.planted) else float("nan")


def by_parent(scores: Scores, statistic: Callable[[Scores], float], rng: Rng, rounds: int = ROUNDS) -> Interval:
    """The 95 % interval of a statistic, by drawing whole parents with replacement: siblings are no witnesses apart.

    Draws in which it is not defined, as where no attacked one is among them, are left out; NaN where all are.
    """
    groups = [np.flatnonzero(scores.parent == name) for name in np.unique(scores.parent)]
    if not groups:
        return Interval(float("nan"), float("nan"))
    drawn = torch.randint(len(groups), (rounds, len(groups)), generator=rng.fork("parents").block()).numpy()
    if statistic is auc:
        values = _aucs(scores, groups, drawn)
    else:
        values = np.array([statistic(_taken(scores, [groups[i] for i in row])) for row in drawn])
    values = values[~np.isnan(values)]
    if not len(values):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(low), float(high))


def _taken(scores: Scores, groups: Sequence[NDArray[np.int64]]) -> Scores:
    rows = np.concatenate(groups)
    return Scores(scores.value[rows], scores.attacked[rows], scores.parent[rows])


def _aucs(scores: Scores, groups: Sequence[NDArray[np.int64]], drawn: NDArray[np.int64]) -> Array:
    """The area for every draw at once: sums of wins between parents, weighted by how often each was drawn."""
    n = len(groups)
    weights = np.stack([np.bincount(row, minlength=n) for row in drawn]).astype(np.float64)
    wins, clean, planted = np.zeros((n, n)), np.zeros(n), np.zeros(n)
    sides = [(scores.value[g][~scores.attacked[g]], scores.value[g][scores.attacked[g]]) for g in groups]
    for i, (c, _) in enumerate(sides):
        clean[i] = len(c)
        for j, (_, p) in enumerate(sides):
            planted[j] = len(p)
            wins[i, j] = _wins(c, p).sum() if len(c) and len(p) else 0.0
    pairs = (weights @ clean) * (weights @ planted)
    with np.errstate(invalid="ignore", divide="ignore"):
        areas: Array = np.einsum("ri,ij,rj->r", weights, wins, weights) / pairs
    return areas
