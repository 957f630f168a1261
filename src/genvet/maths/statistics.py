"""Intervals and p-values: small, exact where it is cheap, and never in favour of a claim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Interval(NamedTuple):
    """The lower and the upper end."""

    low: float
    high: float


def rule_of_three(n: int) -> float:
    """Upper end of the 95 % interval of a probability, when n independent trials gave no hit.

    >>> rule_of_three(1000)
    0.003
    """
    return min(1.0, 3 / n) if n else 1.0


def clopper_pearson(hits: int, n: int, level: float = 0.95) -> Interval:
    """The exact interval of a rate: covers the true one in at least `level` of all cases."""
    from scipy.special import betaincinv  # here, so that --help need not wait for it

    if not n:
        return Interval(0.0, 1.0)
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, n - hits + 1, tail))
    high = 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, 1 - tail))
    return Interval(low, high)


def above_chance(hits: int, n: int, chance: float) -> float:
    """The exact one-sided p-value of so many hits, or more, in n independent tries that succeed by chance.

    >>> round(above_chance(3, 3, 0.5), 6), above_chance(0, 3, 0.5)
    (0.125, 1.0)
    """
    from scipy.special import betainc

    return 1.0 if hits <= 0 else float(betainc(hits, n - hits + 1, chance))


def rank_p_value(value: float, controls: Sequence[float]) -> float:
    """How often one of the controls, or the value itself, is as small as the value: ties count against the claim.

    Where value and controls are exchangeable, P(p <= a) <= a for every a.

    >>> rank_p_value(0.5, [1.0] * 99)
    0.01
    """
    return (1 + sum(c <= value for c in controls)) / (1 + len(controls))
