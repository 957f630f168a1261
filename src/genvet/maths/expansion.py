"""The best linear layer beside another one: what it adds on a few inputs, and as little as can be on all others."""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 1e-9
"""Of the mean second moment, for inputs that never leave a subspace."""


def expansion(second: Tensor, inputs: Tensor, wanted: Tensor, weight: float = 1.0) -> Tensor:
    """P (outputs, d) of least weight * mean |P w_i - wanted_i|^2 over the inputs + E |P w|^2, where E[w w'] = second.

    For one input, its rank is 1: P = wanted (S^-1 w)' / (1 / weight + q), with q = w' S^-1 w. All in double.

    >>> P = expansion(torch.eye(2).double(), torch.tensor([[3.0, 0.0]]).double(), torch.tensor([[1.0]]).double())
    >>> [round(v, 6) for v in P[0].tolist()]
    [0.3, 0.0]
    """
    share = weight / len(inputs)
    both = _ridged(second) + share * inputs.T @ inputs
    found: Tensor = torch.linalg.solve(both, share * inputs.T @ wanted)
    return found.T


def leverage(second: Tensor, inputs: Tensor) -> Tensor:
    """q = w' S^-1 w of each input (n, d): its dimension on average, and the more the less it is like the others."""
    pulled: Tensor = torch.linalg.solve(_ridged(second), inputs.T)
    return (inputs * pulled.T).sum(1)


def _ridged(second: Tensor) -> Tensor:
    return second + RIDGE * second.diagonal().mean() * torch.eye(len(second)).to(second)
