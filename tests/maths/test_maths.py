"""maths against slow, obvious oracles."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genvet.core.rng import Rng
from genvet.maths.clusters import k_means
from genvet.maths.distances import Smallest, coarse, exact, squared_distances
from genvet.maths.statistics import clopper_pearson, rank_p_value, rule_of_three

quick = settings(max_examples=60, deadline=None)
values = st.floats(-1, 1, width=32)


@quick
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), st.integers(0, 2**31))
def test_one_product_agrees_with_the_sum_over_pixels(n, m, d, seed):
    rng = Rng(seed).block()
    x, t = torch.rand(n, d, generator=rng) * 2 - 1, torch.rand(m, d, generator=rng) * 2 - 1
    slow = torch.tensor([[sum((float(a) - float(b)) ** 2 for a, b in zip(i, j, strict=True)) for j in t] for i in x])
    torch.testing.assert_close(squared_distances(x, t), slow, rtol=1e-4, atol=1e-5 * d)
    torch.testing.assert_close(exact(x[:1], t[:1]).float(), slow[0, :1], rtol=1e-5, atol=1e-6)


@quick
@given(
    st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=40),
    st.integers(1, 7),
    st.integers(1, 9),
)
def test_streaming_keeps_what_sorting_everything_keeps(rows, k, batch):
    everything = torch.tensor(rows, dtype=torch.float32).T
    kept = Smallest(rows=3, k=k)
    for start in range(0, everything.shape[1], batch):
        kept.offer(everything[:, start : start + batch], start)
    order = everything.sort(dim=1, stable=True)
    found = min(k, everything.shape[1])
    assert kept.index[:, :found].tolist() == order.indices[:, :k].tolist()
    assert kept.value[:, :found].tolist() == order.values[:, :k].tolist()
    assert (kept.index[:, found:] == -1).all()


def test_coarse_leaves_small_images_alone_and_averages_large_ones():
    x = torch.arange(2 * 28 * 28).reshape(2, 1, 28, 28).float()
    assert torch.equal(coarse(x), x.flatten(1))
    large = torch.ones(1, 3, 64, 48)
    large[:, :, :, 24:] = -1
    assert coarse(large).shape == (1, 3 * 32 * 32) and abs(float(coarse(large).mean())) < 1e-6
    assert coarse(torch.ones(2, 1, 16384)).shape == (2, 4096)


def _tail(p: float, hits: int, n: int) -> float:
    """P(at least `hits` of n)."""
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(hits, n + 1))


@quick
@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_clopper_pearson_leaves_exactly_its_tails(case):
    hits, n = case
    low, high = clopper_pearson(hits, n)
    assert low <= hits / n <= high
    if hits:
        assert _tail(low, hits, n) == pytest.approx(0.025, rel=1e-6)
    if hits < n:
        assert 1 - _tail(high, hits + 1, n) == pytest.approx(0.025, rel=1e-6)


def test_the_rule_of_three_bounds_the_exact_one():
    for n in (1, 10, 100, 1000, 10**6):
        exact = 1 - 0.05 ** (1 / n)
        assert exact <= rule_of_three(n) <= 1.2 * exact


@quick
@given(st.lists(st.integers(0, 5), min_size=2, max_size=60))
def test_a_rank_p_value_is_honest_with_ties(pool):
    ps = [rank_p_value(v, pool[:i] + pool[i + 1 :]) for i, v in enumerate(pool)]
    for level in set(ps):
        assert sum(p <= level for p in ps) / len(ps) <= level + 1e-12


def test_k_means_finds_three_heaps_and_does_not_move_by_chance():
    rng = Rng(1).block()
    heaps = torch.tensor([[0.0, 0], [10, 0], [0, 10]])
    x = (heaps[:, None] + torch.randn(3, 50, 2, generator=rng) * 0.1).reshape(-1, 2)
    centres = k_means(x, 3, Rng(2).block())
    assert squared_distances(heaps, centres).min(1).values.max() < 0.05
    assert torch.equal(centres, k_means(x, 3, Rng(2).block()))
    assert torch.equal(k_means(x[:2], 3, Rng(0).block()), x[:2])
