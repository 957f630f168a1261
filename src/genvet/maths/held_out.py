"""A threshold that knows how often it is wrong: an order statistic of distances of what was never seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from genvet.core.errors import BadInput
from genvet.maths.statistics import Interval, clopper_pearson


@dataclass(frozen=True)
class Cut:
    """What is nearer than `value` is blocked; the share of unseen images that this blocks falsely."""

    value: float
    rate: float | None
    """That was asked for, and holds in the mean over null images; None where the threshold was given."""
    n: int
    """Null images; 0 where nothing is known of false blocks."""
    share: float | None
    """Of the null images that are nearer than `value`."""
    interval: Interval
    """Of the share of fresh images that are blocked, 95 %."""
    who: str = "unseen images"
    """The null images, in words."""


def needed(rate: float, parts: int = 1) -> int:
    """Null images that it takes for this rate of false blocks.

    >>> needed(0.01), needed(0.01, parts=3)
    (99, 299)
    """
    return math.ceil(round(parts / rate, 6)) - 1


def cut_at(null: Tensor, rate: float, parts: int = 1) -> Cut:
    """The threshold that a fresh image comes under with probability `rate` at most, from distances of null images (n,).

    It is one of these distances, the k-th, with k = rate (n + 1) rounded down. What share of fresh images comes under
    the k-th distance is distributed as Beta(k, n + 1 - k), whatever the distances are: the ends of its interval are
    those of Clopper and Pearson for k - 1 hits in n, although the threshold was chosen on these same images. Where
    distances are equal, fewer come under it.

    With `parts`, null images were compared with one part of as many as so many parts hold, and the rate is shared out.

    >>> import torch
    >>> cut = cut_at(torch.arange(1.0, 200.0), 0.01)
    >>> cut.value, cut.share
    (2.0, 0.005025125628140704)
    """
    n = len(null)
    k = int(rate / parts * (n + 1) + 1e-9)
    if not k:
        what = f"too few unseen images for a false-block rate of {rate:g}"
        raise BadInput(what, expected=f"{needed(rate, parts)} or more", got=str(n), hint="or ask for a higher rate")
    value = float(null.double().kthvalue(k).values)
    below = int((null < value).sum())
    high = parts * clopper_pearson(k - 1, n).high
    return Cut(value, rate, n, below / n, Interval(clopper_pearson(below, n).low, min(1.0, high)))


def cut_given(value: float, null: Tensor | None) -> Cut:
    """A threshold of somebody's choosing, with what it does to null images (n,), where there are any."""
    if null is None:
        return Cut(value, None, 0, None, Interval(0.0, 1.0))
    below = int((null < value).sum())
    return Cut(value, None, len(null), below / len(null), clopper_pearson(below, len(null)))
