"""Which of several inversions of one label agree: the largest set whose likeliest labels have enough in common."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

TOP = 5
"""Labels of each result that are compared."""


def consistent(top: Tensor, confidence: Tensor, k: int = 2) -> Tensor:
    """Of n results with their likeliest labels, top (n, 5), the largest set that shares k of them: (n,) bool.

    All where no two results share k. Of sets as large, the one with the largest confidence (n,). Whoever shares k
    labels shares a set of exactly k, and every result has but ten of those (k = 2): counting them is exact, and takes
    no power set of the results.

    >>> consistent(torch.tensor([[1, 2, 3, 4, 5], [1, 2, 6, 7, 8], [9, 0, 3, 6, 7]]), torch.ones(3)).tolist()
    [True, True, False]
    """
    owners: dict[tuple[int, ...], list[int]] = {}
    for row, labels in enumerate(top.tolist()):
        for shared in combinations(sorted(labels), k):
            owners.setdefault(shared, []).append(row)
    most = max(owners.values(), key=lambda rows: (len(rows), float(confidence[rows].max())), default=[])
    chosen = torch.zeros(len(top), dtype=torch.bool)
    chosen[most if len(most) > 1 else slice(None)] = True
    return chosen


def selected(top: Tensor, confidence: Tensor, k: int = 2) -> int:
    """The number of the most confident result (n,) among those that agree."""
    agree = consistent(top, confidence, k)
    return int(torch.where(agree, confidence, -torch.inf).argmax())
