"""How well a score tells members from non-members: the area, rates at few false alarms, and what was chosen elsewhere.

Scores rise with membership. Exact intervals are Clopper and Pearson's; that of the area is Newcombe's (2006, method 5),
which holds where one set lies above the other as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.maths import ranking
from genvet.maths.statistics import Interval, clopper_pearson

Z = 1.959964
ALARMS = 10
"""Non-members that a rate of false alarms must stand for, or it rests on a handful of records."""
JOINT = 0.975
"""The level of each of two exact intervals, so that both hold at once in 95 % of all cases."""
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Told:
    """The scores of members and of non-members, and whom each record shows, where somebody knows."""

    members: Tensor
    """(n,)."""
    non_members: Tensor
    """(m,)."""
    people: tuple[Tensor, Tensor] | None = None
    """A number for each record's person, (n,) and (m,)."""

    @property
    def n(self) -> int:
        return len(self.members) + len(self.non_members)

    @property
    def people_of_all(self) -> Tensor:
        """(n + m,): where nobody knows, every record is somebody else."""
        return torch.arange(self.n) if self.people is None else torch.cat(self.people)


def auc(members: Tensor, non_members: Tensor) -> float:
    """The chance that a member scores higher than a non-member; ties count half.

    >>> auc(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0]))
    0.875
    """
    from scipy.stats import rankdata  # here, so that --help need not wait for it

    n, m = len(members), len(non_members)
    ranks = rankdata(torch.cat([members, non_members]).double().numpy())
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def auc_interval(area: float, n: int, m: int) -> Interval:
    """The 95 % interval of the area of n members and m non-members.

    >>> low, high = auc_interval(1.0, 64, 64)
    >>> 0.9 < low < 1.0, high
    (True, 1.0)
    """
    return Interval(_end(area, n, m, 0.0), _end(area, n, m, 1.0))


def _end(area: float, n: int, m: int, side: float) -> float:
    """The area furthest towards `side` from which the one that was found is no more than 1.96 errors away."""
    near, far = area, side
    for _ in range(60):
        middle = (near + far) / 2
        if abs(middle - area) <= Z * _error(middle, n, m):
            near = middle
        else:
            far = middle
    return near


def _error(area: float, n: int, m: int) -> float:
    """The standard error of the area, with one effective size for both sets."""
    size = (n + m) / 2 - 1
    return math.sqrt(area * (1 - area) * (1 + size * (1 - area) / (2 - area) + size * area / (1 + area)) / (n * m))


def interval(told: Told, rng: Rng) -> Interval:
    """Of the area: by records, or, where they show people, by drawing people again."""
    area = auc(told.members, told.non_members)
    if told.people is None:
        return auc_interval(area, len(told.members), len(told.non_members))
    value = torch.cat([told.members, told.non_members]).double().numpy()
    inside = np.arange(len(value)) < len(told.members)
    drawn = ranking.Scores(value, inside, told.people_of_all.numpy().astype(str))
    low, high = ranking.by_parent(drawn, ranking.auc, rng)
    return Interval(low, high)


@dataclass(frozen=True)
class Band:
    """Where the mean of several areas lies beside a band about 0.5."""

    mean: float
    error: float
    inside: float
    """The p-value of lying inside: that of two one-sided tests against its borders (Schuirmann 1987)."""
    outside: float
    """The p-value of lying outside, against the nearer border."""

    @classmethod
    def of(cls, areas: Sequence[float], intervals: Sequence[Interval], width: float) -> Band:
        """Of independent areas with their 95 % intervals; the band reaches `width` to either side of 0.5.

        >>> few, many = (Band.of([0.51], [Interval(0.51 - e, 0.51 + e)], 0.03) for e in (0.06, 0.015))
        >>> few.inside > 0.05 > many.inside
        True
        """
        from scipy.special import ndtr  # here, so that --help need not wait for it

        mean, k = sum(areas) / len(areas), len(areas)
        error = math.sqrt(sum(((high - low) / (2 * Z)) ** 2 for low, high in intervals)) / k
        beyond = (abs(mean - 0.5) - width) / max(error, 1e-12)
        return cls(mean, error, float(ndtr(beyond)), float(ndtr(-beyond)))


def above_half(told: Told) -> float:
    """The one-sided p-value of Mann and Whitney: members score no higher; exact for a few records without ties."""
    from scipy.stats import mannwhitneyu

    members, others = told.members.double().numpy(), told.non_members.double().numpy()
    if np.ptp(np.concatenate([members, others])) == 0:
        return 1.0
    return float(mannwhitneyu(members, others, alternative="greater").pvalue)


def least_found(n: int, m: int, signals: int = 1) -> float:
    """The area that such a test would have found in four of five cases, at 5 % shared out among so many signals.

    >>> round(least_found(1000, 1000), 3), round(least_found(64, 1000), 3)
    (0.532, 0.593)
    """
    from scipy.special import ndtri

    error = math.sqrt((n + m + 1) / (12 * n * m))
    return min(1.0, 0.5 + float(ndtri(1 - 0.05 / signals) + ndtri(0.8)) * error)


def permuted(told: Told, rng: Rng, rounds: int = 200) -> tuple[float, Interval]:
    """The mean area, and the middle 95 %, when it is drawn anew who is a member: chance, by the same computation."""
    people, place = told.people_of_all.unique(return_inverse=True)
    value = torch.cat([told.members, told.non_members])
    share, areas = len(place[: len(told.members)].unique()), []
    for number in range(rounds):
        chosen = torch.zeros(len(people), dtype=torch.bool)
        chosen[torch.randperm(len(people), generator=rng.block(number))[:share]] = True
        inside = chosen[place]
        if 0 < int(inside.sum()) < len(inside):
            areas.append(auc(value[inside], value[~inside]))
    if not areas:
        return math.nan, Interval(math.nan, math.nan)
    low, high = np.quantile(areas, [0.025, 0.975])
    return float(np.mean(areas)), Interval(float(low), float(high))


def _inside(told: Told) -> Tensor:
    return torch.arange(told.n) < len(told.members)


# Few false alarms


def needed(rate: float) -> int:
    """Non-members that it takes to tell what is caught at this rate of false alarms.

    >>> needed(0.01), needed(0.001)
    (1000, 10000)
    """
    return math.ceil(round(ALARMS / rate, 6))


def caught_at(told: Told, rate: float) -> tuple[float, Interval]:
    """The share of members above all but this share of the non-members, with its exact interval at that threshold.

    Raises BadInput where there are too few non-members to tell.
    """
    m = len(told.non_members)
    if m < needed(rate):
        raise BadInput(
            f"too few non-members for a false-positive rate of {rate:g}", expected=f"{needed(rate)} or more", got=str(m)
        )
    threshold = told.non_members.sort(descending=True).values[int(rate * m)]
    hits, n = int((told.members > threshold).sum()), len(told.members)
    return hits / n, clopper_pearson(hits, n)


# Decisions


@dataclass(frozen=True)
class Decisions:
    """What came of calling records members by thresholds that were chosen on other records."""

    true: int
    """Members that were called so."""
    members: int
    false: int
    """Non-members that were called members."""
    non_members: int

    @property
    def recall(self) -> float:
        return self.true / self.members

    @property
    def accuracy(self) -> float:
        """The mean share of right answers in both sets: 0.5 by chance, whatever their sizes."""
        return (self.recall + 1 - self.false / self.non_members) / 2

    @property
    def accuracy_interval(self) -> Interval:
        """From the exact ones of both shares at once: it holds in 95 % of all cases, or more."""
        right = clopper_pearson(self.true, self.members, JOINT)
        wrong = clopper_pearson(self.false, self.non_members, JOINT)
        return Interval((right.low + 1 - wrong.high) / 2, (right.high + 1 - wrong.low) / 2)

    @property
    def called(self) -> int:
        """Records that were called members."""
        return self.true + self.false

    @property
    def precision(self) -> float | None:
        return self.true / self.called if self.called else None


def decided(told: Told, rng: Rng) -> Decisions:
    """Every record by the threshold that is best on the other half of the records, or people."""
    value, inside = torch.cat([told.members, told.non_members]), _inside(told)
    half = halves(told.people_of_all, rng, inside)
    true = false = 0
    for mine in (half, ~half):
        called = value[mine] > best_threshold(value[~mine], inside[~mine])
        true += int((called & inside[mine]).sum())
        false += int((called & ~inside[mine]).sum())
    return Decisions(true, len(told.members), false, len(told.non_members))


def best_threshold(value: Tensor, inside: Tensor) -> float:
    """Above it, members are caught by the most more often than non-members; infinite where one set is missing.

    >>> best_threshold(torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([False, False, True, True]))
    1.5
    """
    n, m = int(inside.sum()), int((~inside).sum())
    if not n or not m:
        return math.inf
    order = value.argsort(descending=True)
    gain = torch.where(inside[order], 1 / n, -1 / m).double().cumsum(0)
    level = value[order].double()
    last = torch.cat([level[1:] < level[:-1], torch.tensor([True])])  # a threshold cannot part equal ones
    best = int(torch.where(last, gain, -torch.inf).argmax())
    return float(level[best] + level[best + 1]) / 2 if best + 1 < len(level) else -math.inf


def halves(people: Tensor, rng: Rng, kind: Tensor | None = None) -> Tensor:
    """Which records (n,) are of one half: whole people, and about half of each kind (n,), such as members.

    >>> chosen = halves(torch.tensor([0, 0, 1, 1]), Rng(0))
    >>> bool(chosen[0] == chosen[1]), int(chosen.sum())
    (True, 2)
    """
    who, place = people.unique(return_inverse=True)
    of = torch.zeros(len(who), dtype=torch.long)
    if kind is not None:
        of[place] = kind.long()
    drawn = torch.randperm(len(who), generator=rng.block())
    chosen = torch.zeros(len(who), dtype=torch.bool)
    for value in of.unique():
        mine = drawn[of[drawn] == value]
        chosen[mine[: (len(mine) + 1) // 2]] = True
    return chosen[place]
