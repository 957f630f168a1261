"""What model inversion counts with: numbers drawn by row and step, losses, and results that agree."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from genvet.core.rng import Rng
from genvet.maths.consistency import consistent, selected
from genvet.maths.counted import uniform
from genvet.maths.identity_losses import LOSSES


def test_counted_numbers_are_uniform_and_independent_of_the_batch() -> None:
    rows = torch.arange(1000)
    x = uniform(3, rows, 5, 50)
    assert x.min() >= 0 and x.max() < 1
    assert abs(float(x.mean()) - 0.5) < 0.005 and abs(float(x.var()) - 1 / 12) < 0.002
    counts = torch.histc(x, 20, 0, 1)
    assert float(((counts - 2500).square() / 2500).sum()) < 43.8, "chi-square with 19 degrees of freedom, p 0.001"
    assert torch.equal(uniform(3, rows[[7, 2]], 5, 50), x[[7, 2]])
    steps = torch.tensor([4, 5])
    assert torch.equal(uniform(3, rows[[9, 9]], steps, 50)[1:], x[9:10])
    others = [uniform(4, rows, 5, 50), uniform(3, rows, 6, 50), uniform(3, rows + 1000, 5, 50), x.roll(1, 1)]
    for other in others:
        assert abs(float(torch.corrcoef(torch.stack([x.flatten(), other.flatten()]))[0, 1])) < 0.02


@pytest.mark.parametrize("name", LOSSES)
def test_losses_fall_towards_the_class(name: str) -> None:
    loss, labels = LOSSES[name], torch.tensor([1, 1, 1])  # type: ignore[index]
    logits = torch.tensor([[0.0, 4.0, 0.0], [0.0, 0.0, 0.0], [4.0, 0.0, 0.0]])
    value = loss(logits, labels)
    assert value.shape == (3,) and value[0] < value[1] <= value[2]
    free = torch.randn(4, 5, generator=Rng(0).block()).requires_grad_()
    loss(free, torch.tensor([0, 1, 2, 3])).sum().backward()
    assert free.grad is not None and free.grad.isfinite().all()
    assert (free.grad.diagonal() < 0).all(), "more of the class's own logit"


def brute_force(top: torch.Tensor, k: int) -> int:
    """The size of the largest set of results that share k labels, by all sets."""
    rows = [set(labels) for labels in top.tolist()]
    sizes = [
        size
        for size in range(2, len(rows) + 1)
        for some in combinations(rows, size)
        if len(set.intersection(*some)) >= k
    ]
    return max(sizes, default=len(rows))


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("k", [1, 2, 3])
def test_selection_is_that_of_all_subsets(seed: int, k: int) -> None:
    rng = Rng(seed).block()
    top = torch.stack([torch.randperm(9, generator=rng)[:5] for _ in range(7)])
    confidence = torch.rand(7, generator=rng)
    chosen = consistent(top, confidence, k)
    assert int(chosen.sum()) == brute_force(top, k)
    shared = set.intersection(*({*labels} for labels in top[chosen].tolist()))
    assert len(shared) >= k or chosen.all()
    assert chosen[selected(top, confidence, k)]


def test_selection_prefers_agreement_to_confidence() -> None:
    top = torch.tensor([[0, 1, 2, 3, 4], [0, 1, 5, 6, 7], [0, 8, 9, 10, 11]])
    assert selected(top, torch.tensor([0.5, 0.6, 0.9])) == 1
    assert consistent(top[[0, 2]], torch.tensor([0.1, 0.2])).all(), "one label in common is not two"
