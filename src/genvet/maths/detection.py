"""How well a detector tells generated from real: area, true alarms at few false ones, and whether to believe it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from genvet.maths.quality import Estimate
from genvet.maths.statistics import clopper_pearson

Array = NDArray[np.float64]


def area(real: Array, fake: Array) -> Estimate:
    """The chance that a generated image has the higher score than a real one, ties half; 95 % by DeLong et al. 1988.

    >>> area(np.array([0.0, 1.0]), np.array([2.0, 3.0])).value
    1.0
    """
    order, n, m = np.sort(real), len(real), len(fake)
    placed = (np.searchsorted(order, fake, "left") + np.searchsorted(order, fake, "right")) / (2 * n)
    above = np.sort(fake)
    passed = 1 - (np.searchsorted(above, real, "left") + np.searchsorted(above, real, "right")) / (2 * m)
    value = float(placed.mean())
    spread = [float(v.var(ddof=1)) / len(v) if len(v) > 1 else math.inf for v in (placed, passed)]
    # Where nothing overlaps the variance is 0, and no interval: at least one pair in each of n and m might.
    reach = max(1.96 * math.sqrt(sum(spread)), 3 / min(n, m) if value in (0.0, 1.0) else 0.0)
    return Estimate(value, max(value - reach, 0.0), min(value + reach, 1.0))


def alarms(real: Array, fake: Array, share: float = 0.01) -> Estimate:
    """True alarms where at most this share of real images raises a false one; the exact interval of that rate.

    >>> alarms(np.arange(100.0), np.arange(100.0) + 99.5).value
    1.0
    """
    allowed = int(share * len(real))
    limit = np.sort(real)[len(real) - 1 - allowed]
    hits = int((fake > limit).sum())
    return Estimate(hits / len(fake), *clopper_pearson(hits, len(fake)))


def miscalibration(real: Array, fake: Array, bins: int = 10) -> float:
    """The mean distance between a probability and how often it comes true, over bins of equal width (Guo et al. 2017).

    >>> miscalibration(np.zeros(9), np.ones(9))
    0.0
    """
    told = np.concatenate([real, fake])
    true = np.concatenate([np.zeros(len(real)), np.ones(len(fake))])
    place = np.minimum((told * bins).astype(int), bins - 1)
    return float(sum(abs((told - true)[place == b].sum()) for b in range(bins)) / len(told))
