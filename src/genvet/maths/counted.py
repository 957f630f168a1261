"""Random numbers that follow from a seed, a row and a step alone: it makes no difference which rows share a batch."""

from __future__ import annotations

import torch
from torch import Tensor

GOLDEN, FIRST, SECOND = -7046029254386353131, -4658895280553007687, -7723592293110705685
"""Constants of splitmix64, as signed numbers of 64 bits: products wrap round."""


def uniform(seed: int, rows: Tensor, step: int | Tensor, count: int) -> Tensor:
    """Numbers in [0, 1), (n, count), for rows (n,) at a step each; any other seed, row, step or place gives another.

    >>> x = uniform(0, torch.tensor([3, 5]), 7, 2)
    >>> bool((uniform(0, torch.tensor([5]), 7, 2) == x[1:]).all())
    True
    """
    steps = torch.as_tensor(step, dtype=torch.int64, device=rows.device).expand_as(rows)
    state = _mixed(_mixed(_mixed(torch.full_like(rows, seed)) + rows) + steps)
    places = torch.arange(count, device=rows.device)
    drawn = _mixed(state[:, None] + places * GOLDEN)
    return (_shifted(drawn, 11).double() / 2**53).float().clamp_max(1 - 2**-24)


def _mixed(x: Tensor) -> Tensor:
    """Splitmix64's last step: every bit of the input changes half of those of the output (Steele et al. 2014)."""
    x = x + GOLDEN
    x = (x ^ _shifted(x, 30)) * FIRST
    x = (x ^ _shifted(x, 27)) * SECOND
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, by: int) -> Tensor:
    """Without a sign: zeros come in from above."""
    return (x >> by) & ((1 << (64 - by)) - 1)
