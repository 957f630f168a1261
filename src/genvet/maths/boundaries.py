"""Directions that part two kinds of points, and what is left of one after others are taken out of it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Boundary(NamedTuple):
    """A plane between two kinds of points."""

    normal: Tensor
    """Of unit length, towards the positive ones: (dim,)."""
    accuracy: float
    """On points that it was not fitted to; both kinds count the same."""
    n: int
    """How many those are."""
    open_bits: float
    """What the side of the plane leaves open of the kind, on the same points: conditional entropy, 0 to 1 bit."""


def boundary(points: Tensor, positive: Tensor) -> Boundary:
    """The plane of a linear support vector machine between points (n, dim); every fourth point is held back.

    `positive` (n,) is true of one kind. Coordinates are standardised for the fit: w has some that hardly move.
    """
    from sklearn.svm import LinearSVC  # here, so that --help need not wait for it

    held = torch.arange(len(points)) % 4 == 3
    centre, scale = points.mean(0), points.std(0).clamp_min(1e-8)
    x, y = ((points - centre) / scale).double().numpy(), positive.numpy()
    machine = LinearSVC(C=0.1, dual=False, class_weight="balanced").fit(x[~held], y[~held])
    normal = torch.from_numpy(machine.coef_[0]).float() / scale
    side, kind = torch.from_numpy(machine.predict(x[held])), positive[held]
    accuracy = sum((side[kind == k] == k).double().mean() for k in (True, False)) / 2
    return Boundary(normal / normal.norm(), float(accuracy), int(held.sum()), _left_open(side, kind))


def between_ends(points: Tensor, values: Tensor, count: int, mixed: Tensor) -> Boundary | None:
    """The plane between the `count` points (n, dim) with the highest values (n,) and as many with the lowest.

    `mixed` is the order in which these 2 `count` are taken. None where highest and lowest do not differ.
    """
    order = values.argsort(stable=True)
    if values[order[count - 1]] >= values[order[-count]]:
        return None
    ends = torch.cat([order[:count], order[-count:]])
    return boundary(points[ends][mixed], (torch.arange(2 * count) >= count)[mixed])


def _left_open(side: Tensor, kind: Tensor) -> float:
    """H(kind | side) in bits."""
    joint = torch.stack([((side == a) & (kind == b)).double().mean() for a in (True, False) for b in (True, False)])
    both, of_side = torch.special.entr(joint).sum(), torch.special.entr(joint.view(2, 2).sum(1)).sum()
    return float((both - of_side) / math.log(2))


def conditional(direction: Tensor, others: Tensor) -> Tensor:
    """The direction (dim,) without its part in the span of others (k, dim), again of unit length.

    Where nothing is left, it is zero.

    >>> conditional(torch.tensor([1.0, 1.0]), torch.tensor([[0.0, 3.0]]))
    tensor([1., 0.])
    """
    if not len(others):
        return F.normalize(direction, dim=0)
    q, r = torch.linalg.qr(others.double().T)
    q = q[:, r.diagonal().abs() > 1e-9]
    left = direction.double() - q @ (q.T @ direction.double())
    norm = left.norm()
    kept: Tensor = left / norm if norm > 1e-6 * direction.norm() else torch.zeros_like(left)
    return kept.float()
