"""Records that are in two sets at once, exactly or nearly: what is said of the one is then said of the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from genvet.maths.distances import coarse, exact, squared_distances

NEIGHBOUR = 5
"""The k-th nearest record tells how far apart records are in that place."""
ROWS = 1024


@dataclass(frozen=True)
class Pair:
    """A record of the first set, and the one of the second that it is, or nearly is."""

    first: int
    second: int
    kind: Literal["exact", "near"]
    share: float
    """Of the distance from the second to the fifth nearest record of the first set."""


def overlap(first: Tensor, second: Tensor, near: float) -> list[Pair]:
    """Records x (n, *shape) and (m, *shape) that are one: of each of the second set, at most one pair.

    Near ones are nearer than `near` times what the fifth nearest is; 0 finds equal ones alone.

    >>> x = torch.eye(8)[:, None]
    >>> [(p.first, p.second, p.kind) for p in overlap(x, x[2:3] + 0.01, 0.15)]
    [(2, 0, 'near')]
    """
    if not len(first) or not len(second):
        return []
    rows, k, pairs = coarse(first), min(NEIGHBOUR, len(first)), []
    for start in range(0, len(second), ROWS):
        some = second[start : start + ROWS]
        apart = squared_distances(coarse(some), rows).topk(k, largest=False)
        index = apart.indices[:, 0].cpu()
        own, far = exact(some, first[index.to(first.device)]).cpu(), apart.values[:, -1].double().cpu()
        share = (own / far.clamp_min(1e-12)).sqrt()
        for i in ((own == 0) | (share < near)).nonzero().flatten().tolist():
            same = float(own[i]) == 0
            pairs.append(Pair(int(index[i]), start + i, "exact" if same else "near", 0.0 if same else float(share[i])))
    return pairs


def remoteness(x: Tensor) -> Tensor:
    """How far each of the records x (n, *shape) is from its fifth nearest fellow, (n,): outliers are far."""
    rows, k = coarse(x), min(NEIGHBOUR, len(x) - 1)
    found = [squared_distances(some, rows).kthvalue(k + 1, dim=1).values for some in rows.split(ROWS)]
    return torch.cat(found).sqrt().cpu()
