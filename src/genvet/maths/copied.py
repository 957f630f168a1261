"""Near copies by rank: nearer to a picture than any of many others of its kind, which calibrates itself."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from genvet.maths.distances import Smallest, exact, squared_distances

ROWS = 4096


@dataclass(frozen=True, eq=False)
class Copies:
    """Which images are near copies."""

    which: Tensor
    """The nearest of the originals, (n,)."""
    copied: Tensor
    """Whether an image is nearer to it than any of the others is, (n,)."""


def near_copies(x: Tensor, originals: Tensor, others: Tensor) -> Copies:
    """Hold images x (n, *shape) against originals (m, *shape): by chance, one in as many as there are others, plus one.

    >>> import torch
    >>> t = torch.eye(4)[:, None, None] * 2 - 1
    >>> near_copies(t[:2], t[:1], t[2:]).copied.tolist()
    [True, False]
    """
    which = nearest(x, originals)
    hit, place = which.unique(return_inverse=True)
    least = exact(originals[hit], others[nearest(originals[hit], others)])
    return Copies(which, exact(x, originals[which]) < least[place])


def nearest(x: Tensor, others: Tensor) -> Tensor:
    """The place of the nearest of others (m, *shape) to each of x (n, *shape), in pixels: (n,)."""
    best = Smallest(len(x), 1)
    for start in range(0, len(others), ROWS):
        best.offer(squared_distances(x.flatten(1), others[start : start + ROWS].flatten(1)), start)
    return best.index[:, 0]


def returned(x: Tensor, withheld: Tensor, others: Tensor) -> Tensor:
    """Whether images x (n, *shape) are nearer each to its own withheld one than any of the others is, (n,)."""
    return exact(x, withheld) < exact(withheld, others[nearest(withheld, others)])
