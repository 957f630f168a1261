"""Which public pictures are copies of private ones: nearer to one than pictures of different people ever come.

An inversion that finds what the prior was shown is no leak of the target. So public and private pictures are compared
before the prior is trained, in several spaces, with a threshold that knows how often it is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.rng import Rng

ROWS = 2048
"""Compared at once."""


@dataclass(frozen=True, eq=False)
class Screening:
    """The public pictures (q,) that look like copies of private ones, and what was taken for a copy."""

    near: Tensor
    """(q,) bool: nearer to a private picture than the threshold, in one space or more."""
    private: Tensor
    """(q,): the nearest private picture, in the space that says so most clearly."""
    distance: dict[str, Tensor]
    """Of each space: to the nearest private picture, (q,)."""
    threshold: dict[str, float]
    """Of each space: below this, two pictures are taken for one."""
    rate: float
    """The share of public pictures that would be taken for copies if there were none."""
    null: int
    """Distances between pictures of different people that the thresholds rest on."""

    def __str__(self) -> str:
        """In a line.

        >>> str(Screening(torch.tensor([True, False]), torch.zeros(2), {}, {"pixels": 2.0}, 0.5, 99))
        '1 of 2 public pictures look like private ones (up to 1.0 would by chance, at a rate of 0.5)'
        """
        by_chance = self.rate * len(self.near)
        found = f"{int(self.near.sum())} of {len(self.near)} public pictures look like private ones"
        return f"{found} (up to {by_chance:.1f} would by chance, at a rate of {self.rate:g})"


def screened(
    private: Mapping[str, Tensor], public: Mapping[str, Tensor], person: Tensor, rng: Rng, rate: float = 0.01
) -> Screening:
    """Compare public (q, d) with private (m, d) pictures, given as rows in the same named spaces.

    `person` (q,) says whom or what each public picture shows: half of them against the other half is how near pictures
    of different people come. Of that null, the threshold is the quantile at which a fresh public picture is falsely
    taken for a copy with probability `rate` at most, over all spaces and all private pictures. Raises BadInput where
    the null is too small for that.
    """
    if not private or private.keys() != public.keys() or not 0 < rate < 1:
        got = f"{sorted(private)} and {sorted(public)}, rate {rate:g}"
        raise BadInput("nothing to compare", expected="the same spaces of both, and a rate between 0 and 1", got=got)
    held, against = _halves(person, rng)
    m, b = len(next(iter(private.values()))), len(against)
    # As many at a time as the null was compared with: a nearest one of more would be nearer.
    parts = -(-m // b)
    against = against[torch.randperm(b, generator=rng.fork("against").block())[: -(-m // parts)]]
    rank = int(rate / (parts * len(private)) * (len(held) + 1))
    if not rank:
        least = parts * len(private) / (len(held) + 1)
        raise BadInput(
            "too few public pictures for that rate", expected=f"a rate of {least:.3g} or more", got=f"{rate:g}"
        )
    distance, threshold, clearest, index = {}, {}, None, None
    for name, rows in public.items():
        null = nearest(rows[held], rows[against])[0]
        threshold[name] = float(null.kthvalue(rank).values)
        distance[name], which = nearest(rows, private[name])
        share = distance[name] / max(threshold[name], 1e-12)
        better = torch.ones(len(rows), dtype=torch.bool) if clearest is None else share < clearest
        clearest = share if clearest is None else share.minimum(clearest)
        index = which if index is None else which.where(better, index)
    assert clearest is not None and index is not None
    near = torch.stack([distance[name] < threshold[name] for name in public]).any(0)
    return Screening(near, index, distance, threshold, rate, len(held))


def nearest(rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row (n, d), the distance to the nearest of others (m, d), in float64, and which that is."""
    others = others.double().cpu()
    found = [
        torch.cdist(part.double().cpu(), others, compute_mode="use_mm_for_euclid_dist").min(1)
        for part in rows.split(ROWS)
    ]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def _halves(person: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
    """The pictures of one half of the people, and those of the other."""
    people, place = person.cpu().unique(return_inverse=True)
    if len(people) < 2:
        raise BadInput(
            "nothing tells different people apart", expected="public pictures of two people or more", got="1"
        )
    first = torch.zeros(len(people), dtype=torch.bool)
    first[torch.randperm(len(people), generator=rng.fork("halves").block())[: len(people) // 2]] = True
    return first[place].nonzero().flatten(), (~first[place]).nonzero().flatten()
