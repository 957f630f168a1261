"""How well a row of a table hides among others: k-anonymity, l-diversity, t-closeness.

Columns are coded as whole numbers, (n,) each. Sweeney 2002; Machanavajjhala et al. 2007; Li et al. 2007.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Groups:
    """Rows that nobody can tell apart by what he knows of a person."""

    group: Tensor
    """(n,): the number of each row's group."""
    size: Tensor
    """(g,): rows in each group."""

    @property
    def k(self) -> int:
        """The smallest group: a table is k-anonymous for this k."""
        return int(self.size.min()) if len(self.size) else 0

    @property
    def sizes(self) -> Tensor:
        """Of each row's group, (n,)."""
        return self.size[self.group]

    @property
    def risk(self) -> float:
        """How likely somebody who knows that a person is in the table picks the right row, over all rows."""
        return len(self.size) / len(self.group) if len(self.group) else 0.0

    def below(self, k: int) -> Tensor:
        """Rows whose group is smaller than k, by number."""
        return (self.sizes < k).nonzero().flatten()


def grouped(columns: Sequence[Tensor]) -> Groups:
    """Rows with the same values in all columns; all rows in one group where there are no columns.

    >>> grouped([torch.tensor([1, 1, 2]), torch.tensor([0, 0, 5])]).size.tolist()
    [2, 1]
    """
    _, group, size = torch.stack(list(columns), 1).unique(dim=0, return_inverse=True, return_counts=True)
    return Groups(group, size)


@dataclass(frozen=True, eq=False)
class Sensitive:
    """What the groups give away of one sensitive column, each (g,)."""

    distinct: Tensor
    """Different values: l-diversity in its plainest form."""
    entropy: Tensor
    """Of the values, as a number of equally likely ones: entropy l-diversity."""
    distance: Tensor
    """To the values of the whole table, 0 to 1: t-closeness."""

    @property
    def least(self) -> int:
        """The l of the worst group."""
        return int(self.distinct.min())

    @property
    def farthest(self) -> float:
        """The t of the worst group."""
        return float(self.distance.max())


def told(groups: Groups, values: Tensor, ordered: bool) -> Sensitive:
    """What groups tell of `values` (n,): numbers whose order means something, or names.

    The distance is the earth mover's: between ordered values by how many ranks lie between them, between names 1.

    >>> told(grouped([torch.tensor([0, 0, 1, 1])]), torch.tensor([3, 3, 3, 7]), False).distinct.tolist()
    [1, 2]
    """
    value, place = values.unique(return_inverse=True)
    counts = torch.zeros(len(groups.size), len(value), dtype=torch.float64)
    counts.index_put_((groups.group, place), torch.ones(len(place), dtype=torch.float64), accumulate=True)
    share = counts / counts.sum(1, keepdim=True)
    apart = share - counts.sum(0) / counts.sum()
    if ordered and len(value) > 1:
        distance = apart.cumsum(1).abs().sum(1) / (len(value) - 1)
    else:
        distance = apart.abs().sum(1) / 2
    entropy = -(share * share.clamp_min(1e-300).log()).sum(1)
    return Sensitive((counts > 0).sum(1), entropy.exp(), distance)


def closeness_by_chance(groups: Groups, values: Tensor, ordered: bool, rng: torch.Generator) -> float:  # noqa: TID251
    """The t of the worst group when the same values are dealt out anew: small groups differ much by chance alone."""
    return told(groups, values[torch.randperm(len(values), generator=rng)], ordered).farthest


def bits(columns: Sequence[Tensor]) -> float:
    """What all columns together tell of a row, in bits: the entropy of the groups that they make."""
    share = grouped(columns).size.double()
    share = share / share.sum()
    return float(-(share * share.log2()).sum()) + 0.0
