"""Ranks of the right one among others: the share within the first k, its exact interval, and what chance gives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.report import Measure
from genvet.maths.quality import Estimate
from genvet.maths.statistics import clopper_pearson


@dataclass(frozen=True, eq=False)
class Ranks:
    """At which place the right one came among how many; ties count against it."""

    rank: Tensor
    """(n,), 1 is the first."""
    among: Tensor
    """(n,): the right one and all others."""
    label: Tensor
    """(n,): the unit of intervals. Several rows of one label are averaged, and count as one."""

    def __len__(self) -> int:
        return len(self.rank)

    @property
    def labels(self) -> int:
        """How many different ones."""
        return len(self.label.unique())

    def share(self, k: int = 1) -> Estimate:
        """The share of labels that came within the first k, with its exact 95 % interval.

        >>> ten = torch.arange(10)
        >>> Ranks(ten // 5 + 1, torch.full((10,), 100), ten).share(1).value
        0.5
        """
        return share_by_label(self.rank <= k, self.label)

    def chance(self, k: int = 1) -> float:
        """The share that guessing has."""
        return float(by_label((k / self.among.double()).clamp_max(1), self.label).mean())

    def median(self) -> Estimate:
        """The rank that half of the labels reach, with the exact 95 % interval by order statistics."""
        return median_of(by_label(self.rank, self.label), 1.0, float(self.among.max()))

    def measure(self, name: str, k: int = 1, note: str = "") -> Measure:
        """For a report."""
        value, low, high = self.share(k)
        return Measure(name=name, value=value, low=low, high=high, chance=self.chance(k), n=self.labels, note=note)


def by_label(values: Tensor, label: Tensor) -> Tensor:
    """The mean of each label's values (n,), in the order of the labels."""
    _, place, count = label.unique(return_inverse=True, return_counts=True)
    total = torch.zeros(len(count), dtype=torch.float64).index_add_(0, place.cpu(), values.double().cpu())
    mean: Tensor = total / count.cpu()
    return mean


def share_by_label(hits: Tensor, label: Tensor) -> Estimate:
    """The share of labels that are hit; where a label has several rows, it is hit in part.

    The exact interval is that of so many labels: rows of one label are no trials apart. Hits in part are rounded
    down for its lower end, and up for its upper one.
    """
    of_label = by_label(hits, label)
    n, total = len(of_label), float(of_label.sum())
    down, up = math.floor(total + 1e-9), math.ceil(total - 1e-9)
    return Estimate(total / n if n else math.nan, clopper_pearson(down, n).low, clopper_pearson(up, n).high)


def median_of(values: Tensor, low: float = -math.inf, high: float = math.inf) -> Estimate:
    """The median of (n,), and its exact interval whatever the distribution: 95 % at least, within what values can be.

    >>> median_of(torch.arange(1.0, 22.0))
    Estimate(value=11.0, low=6.0, high=16.0)
    """
    from scipy.special import bdtr  # here, so that --help need not wait for it

    ordered, n = values.double().sort().values, len(values)
    # As many values may lie outside on either side as a fair coin stays under in 2.5 % of all cases.
    outside = sum(float(bdtr(k, n, 0.5)) <= 0.025 for k in range(n // 2))
    ends = (float(ordered[outside - 1]), float(ordered[n - outside])) if outside else (low, high)
    return Estimate(float((ordered[(n - 1) // 2] + ordered[n // 2]) / 2), *ends)


def ranked(right: Tensor, others: Tensor, label: Tensor) -> Ranks:
    """Of distances: of the right one (n,) among those of the others (n, m). NaN counts as farthest."""
    far = right.nan_to_num(math.inf)
    rank = 1 + (others.nan_to_num(math.inf) <= far[:, None]).sum(1)
    return Ranks(rank.cpu(), torch.full((len(rank),), others.shape[1] + 1), label.cpu())


def of_scores(scores: Tensor, labels: Tensor) -> Ranks:
    """Of the label's score among those of all classes (n, classes), the higher the better.

    >>> of_scores(torch.tensor([[0.1, 0.9], [0.5, 0.5]]), torch.tensor([1, 1])).rank.tolist()
    [1, 2]
    """
    if len(scores) != len(labels) or (
        len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < scores.shape[1]
    ):
        expected = f"a label from 0 to {scores.shape[1] - 1} for each of {len(scores)} rows"
        got = f"{len(labels)} from {int(labels.min())} to {int(labels.max())}" if len(labels) else "none"
        raise BadInput("the labels do not fit the scores", expected=expected, got=got)
    right = scores.gather(1, labels.to(scores.device)[:, None])
    rank = (scores >= right).sum(1).where(right[:, 0].isfinite(), torch.tensor(scores.shape[1], device=scores.device))
    return Ranks(rank.cpu(), torch.full((len(rank),), scores.shape[1]), labels.cpu())
