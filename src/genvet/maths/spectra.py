"""Spectral partition: whether the units of several layers in a row fall into two parts that hardly feed each other.

A chain of non-negative matrices joins neighbouring layers: entry (i, j) of each says how strongly unit i of the later
layer listens to unit j of the earlier one. Nothing here depends on the order or the scale of units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ROUNDS = 5
"""Of scaling rows and columns in turn. Few: blocks of unlike shape can have no equal sums, and leaks would grow."""
STEPS, TURNS, WIDTH = 25, 6, 6
"""Of the subspace iteration, its products between two orthogonalisations, and how many vectors it carries."""


@dataclass(frozen=True, eq=False)
class Cut:
    """Two parts of the units of every layer."""

    eigenvalue: float
    """Of the chain, without what every chain has: 1 for two parts with nothing between them."""
    side: tuple[Tensor, ...]
    """For each layer, whether a unit is in the second part, (units,) bool."""
    values: tuple[Tensor, ...]
    """For each layer, the coordinates by which units were told apart, (units,)."""
    leak: float
    """The normalised cut: weight between the parts over the weight of each, 0 to 2."""


def balanced(weights: Tensor) -> Tensor:
    """Rows and columns scaled to near-equal sums, then by the roots of what is left: the first singular value is 1."""
    a = weights.double().clamp_min(0) + 1e-12 * weights.double().mean().clamp_min(1e-30)
    for _ in range(ROUNDS):
        a = a / a.sum(1, keepdim=True)
        a = a / a.sum(0, keepdim=True)
    return a / (a.sum(1, keepdim=True) * a.sum(0, keepdim=True)).sqrt()


def cut(matrices: Sequence[Tensor]) -> Cut:
    """The best partition of a chain of layers, matrix k being (units of layer k + 1, units of layer k)."""
    joined = [balanced(m) for m in matrices]
    eigenvalue, values = _second(joined)
    side, leak = _sweep(joined, values)
    return Cut(eigenvalue, side, values, leak)


def second(matrices: Sequence[Tensor]) -> float:
    """The eigenvalue alone."""
    return _second([balanced(m) for m in matrices])[0]


def _second(joined: Sequence[Tensor]) -> tuple[float, tuple[Tensor, ...]]:
    """The largest eigenvalue of the chain beside those in which whole layers take part, and its vector by layer.

    A layer between two others has two matrices: each counts half there, so that an undisturbed partition has 1.
    """
    ends = len(joined)
    sizes = [joined[0].shape[1], *(m.shape[0] for m in joined)]
    parts = [_inner(m) / (2.0 if 0 < k < ends - 1 else (2.0**0.5 if ends > 1 else 1.0)) for k, m in enumerate(joined)]
    x = [torch.cos(torch.outer(torch.arange(1.0, n + 1).double(), torch.arange(1.0, WIDTH + 1))) for n in sizes]
    x = _orthonormal(x)
    for _ in range(STEPS):
        for _ in range(TURNS):  # the spectrum is symmetric: adding the identity makes its upper end the largest
            x = [a + b for a, b in zip(x, _times(parts, x), strict=True)]
        x = _orthonormal(x)
    seen = torch.cat(x).T @ torch.cat(_times(parts, x))
    found, vectors = torch.linalg.eigh((seen + seen.T) / 2)
    best = [part @ vectors[:, -1] for part in x]
    halves = [1.0 if k in (0, ends) else 2.0 for k in range(ends + 1)]
    values = [v * (len(v) / h) ** 0.5 for v, h in zip(best, halves, strict=True)]
    return float(found[-1].clamp(0, 1)), tuple(values)


def _inner(m: Tensor) -> Tensor:
    """Without the first singular value, which is 1, and whose vectors are the roots of the sums."""
    rows, columns = m.sum(1, keepdim=True), m.sum(0, keepdim=True)
    u, v = torch.ones_like(rows), torch.ones_like(columns)
    for _ in range(30):
        u = m @ v.T
        u = u / u.norm()
        v = u.T @ m
        v = v / v.norm()
    return m - (u.T @ m @ v.T) * (u @ v)


def _times(parts: Sequence[Tensor], x: Sequence[Tensor]) -> list[Tensor]:
    """The chain's matrix, whose blocks lie beside the diagonal, times vectors given by layer."""
    made = [torch.zeros_like(part) for part in x]
    for k, m in enumerate(parts):
        made[k + 1] += m @ x[k]
        made[k] += m.T @ x[k + 1]
    return made


def _orthonormal(x: Sequence[Tensor]) -> list[Tensor]:
    q = torch.linalg.qr(torch.cat(list(x)))[0]
    return list(q.split([len(part) for part in x]))


def _sweep(joined: Sequence[Tensor], values: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], float]:
    """Of all thresholds on the values that leave units of every layer on both sides, the one that cuts least."""
    sizes = [len(v) for v in values]
    order = torch.cat(list(values)).argsort(stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    ranks = rank.split(sizes)
    within, volume = torch.zeros(len(order)).double(), torch.zeros(len(order)).double()
    for k, m in enumerate(joined):
        later = torch.maximum(ranks[k + 1][:, None], ranks[k][None])
        within += torch.bincount(later.flatten(), m.flatten(), len(order))
        volume += torch.bincount(ranks[k + 1], m.sum(1), len(order)) + torch.bincount(ranks[k], m.sum(0), len(order))
    within, volume = within.cumsum(0), volume.cumsum(0)
    across, total = volume - 2 * within, volume[-1]
    leak = across / volume + across / (total - volume).clamp_min(1e-12)
    first, last = max(int(r.min()) for r in ranks), min(int(r.max()) for r in ranks)
    if first >= last:  # no threshold splits every layer
        first, last = len(order) // 2 - 1, len(order) // 2
    best = first + int(leak[first:last].argmin())
    return tuple(r > best for r in ranks), float(leak[best].clamp(0, 2))


@dataclass(frozen=True, eq=False)
class Spike:
    """The direction whose gain changed most."""

    strength: float
    """Its eigenvalue over the edge of the others: about 1 where nothing stands out."""
    direction: Tensor
    """Of unit length, (dim,)."""
    eigenvalues: Tensor
    """All of them, the largest without sign first, (dim,)."""

    @property
    def gap(self) -> float:
        """The largest factor between two eigenvalues in a row, of the first ten: one to ten directions stand out."""
        sizes = self.eigenvalues.abs()[:11].clamp_min(1e-12)
        return float((sizes[:-1] / sizes[1:]).max()) if len(sizes) > 1 else 1.0


FAR = 15.0
"""Median deviations beyond which a unit counts as this far."""
SEMICIRCLE = 0.404
"""Of numbers by Wigner's semicircle law: the median of their values without sign, over the largest."""


def changed_direction(rows: Tensor, change: Tensor) -> Spike:
    """Of linear units: along which input their squared gain changed, when all that is known is how much each changed.

    rows (n, dim) are the weights of the units, change (n,) the growth of each unit's variance as a share of it. Where
    u is a unit's weights in whitened coordinates, the mean of change times (u u' - 1) / 2 estimates the change as a
    quadratic form (Stein's identity, exact for normal u): one changed direction is an eigenvalue outside the bulk.
    """
    rows, change = rows.double(), change.double() - change.double().median()
    # Single units that changed beyond all measure would drown what all have in common.
    reach = FAR * change.abs().median().clamp_min(1e-12)
    change = change.clamp(-reach, reach)
    change = change - change.mean()
    units = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-30) * rows.shape[1] ** 0.5
    sizes, axes = torch.linalg.eigh(units.T @ units / len(units))
    sizes = sizes.clamp_min(1e-9 * float(sizes[-1]))
    white = units @ (axes / sizes.sqrt()) @ axes.T
    form = white.T @ (change[:, None] * white) / (2 * len(white))
    values, vectors = torch.linalg.eigh(form)
    order = values.abs().argsort(descending=True)
    direction = (axes * sizes.sqrt()) @ axes.T @ vectors[:, order[0]]
    edge = values.abs().median() / SEMICIRCLE
    strength = float(values[order[0]].abs() / edge.clamp_min(1e-12))
    return Spike(strength, direction / direction.norm().clamp_min(1e-30), values[order])
