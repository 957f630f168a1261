"""k-means on a generator's own samples: what is far from every centre is unusual for this generator."""

from __future__ import annotations

import torch
from torch import Tensor

from genvet.maths.distances import squared_distances


def k_means(x: Tensor, k: int, rng: torch.Generator, rounds: int = 20) -> Tensor:  # noqa: TID251 - the type alone
    """Centres (k, d) of rows x (n, d): k-means++ starts, then Lloyd's steps. With n <= k, the rows themselves."""
    x = x.float()
    if len(x) <= k:
        return x.clone()
    centres = _spread(x, k, rng)
    for _ in range(rounds):
        nearest = squared_distances(x, centres).argmin(1)
        size = torch.bincount(nearest, minlength=k).clamp_min(1)[:, None]
        moved = torch.zeros_like(centres).index_add_(0, nearest, x) / size
        # A centre that lost all its rows stays where it was.
        empty = torch.bincount(nearest, minlength=k) == 0
        centres = torch.where(empty[:, None], centres, moved)
    return centres


def _spread(x: Tensor, k: int, rng: torch.Generator) -> Tensor:  # noqa: TID251 - the type alone
    """Each next start is drawn with probability in proportion to its squared distance from those before."""
    chosen = [int(torch.randint(len(x), (1,), generator=rng))]
    nearest = squared_distances(x, x[chosen]).squeeze(1)
    while len(chosen) < k:
        weight = nearest.cpu().double()
        weight = weight if float(weight.sum()) > 0 else torch.ones_like(weight)
        chosen.append(int(torch.multinomial(weight, 1, generator=rng)))
        nearest = torch.minimum(nearest, squared_distances(x, x[chosen[-1:]]).squeeze(1))
    return x[chosen]
