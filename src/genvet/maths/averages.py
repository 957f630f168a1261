"""A mean with its interval, and the normal distribution that fresh weights have."""

from __future__ import annotations

import math

from torch import Tensor

from genvet.maths.quality import Estimate


def mean_of(values: Tensor, low: float = -math.inf, high: float = math.inf) -> Estimate:
    """The mean of (n,) and its 95 % interval by Student's t, within what the values can be.

    >>> import torch
    >>> mean_of(torch.ones(9))
    Estimate(value=1.0, low=1.0, high=1.0)
    """
    from scipy.special import stdtrit  # here, so that --help need not wait for it

    x = values.double().flatten()
    if len(x) < 2:
        return Estimate(float(x.mean()), low, high)
    reach = float(stdtrit(len(x) - 1, 0.975)) * float(x.std()) / math.sqrt(len(x))
    return Estimate(float(x.mean()), max(float(x.mean()) - reach, low), min(float(x.mean()) + reach, high))


def normal_within(threshold: float) -> float:
    """The share of a standard normal that lies nearer to 0 than this.

    >>> round(normal_within(1.0), 4)
    0.6827
    """
    return math.erf(threshold / math.sqrt(2))
