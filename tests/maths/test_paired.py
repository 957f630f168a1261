"""Paired hypotheses: exact tests against enumeration, intervals that cover, and no claim without what it needs."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, rankdata, wilcoxon

from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.maths.paired import Comparison, bootstrapped, holm, judged, signed_ranks, table


def draws(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=Rng(seed, "paired").block(), dtype=torch.float64)


def comparison(ours: torch.Tensor, theirs: torch.Tensor, blocks: int = 1, **more: Any) -> Comparison:
    """Rows (blocks, labels) of labels that all blocks share."""
    label = torch.arange(ours.numel() // blocks).repeat(blocks)
    block = torch.arange(blocks).repeat_interleave(ours.numel() // blocks)
    words = {"id": "H1", "words": "ours is better"} | more
    return Comparison(ours=ours.flatten(), theirs=theirs.flatten(), label=label, block=block, **words)


def slow(d: np.ndarray) -> float:
    """Every way to put signs before the ranks."""
    d = d[d != 0]
    ranks = rankdata(abs(d))
    mine = ranks[d > 0].sum()
    sums = np.array([np.dot(signs, ranks) for signs in itertools.product([0, 1], repeat=len(d))])
    return float(min(1, 2 * min((sums <= mine + 1e-9).mean(), (sums >= mine - 1e-9).mean())))


def test_signed_ranks_are_exact_with_ties_and_without() -> None:
    for seed in range(4):
        tied = (2 * draws(11, seed=seed) + 0.7).round().numpy()
        assert signed_ranks(tied) == pytest.approx(slow(tied))
        free = draws(40, seed=seed).numpy() + 0.3
        assert signed_ranks(free) == pytest.approx(wilcoxon(free, method="exact").pvalue)
    signs = np.array([1.0] * 9 + [-1.0] * 2 + [0.0] * 39)
    assert signed_ranks(signs) == pytest.approx(binomtest(9, 11).pvalue)
    assert signed_ranks(np.array([0.1 + 0.2, 0.3, -0.3])) == signed_ranks(np.array([1.0, 1, -1]))
    many = draws(400).numpy() + 0.1
    assert signed_ranks(many) == pytest.approx(wilcoxon(many, method="approx").pvalue)


def test_holm_is_the_textbook() -> None:
    ps = [0.001, 0.2, 0.012, 0.6, 0.012]
    ordered = sorted(ps)
    slow = [min(1, max((len(ps) - j) * ordered[j] for j in range(i + 1))) for i in range(len(ps))]
    assert holm(ps) == pytest.approx([slow[ordered.index(p)] for p in ps])
    assert holm([]) == []


def test_intervals_cover_whether_blocks_share_their_labels_or_not() -> None:
    for shared in (True, False):
        covered = 0
        for seed in range(150):
            hard = draws(20, seed=seed).repeat(3) if shared else draws(60, seed=seed)
            label = torch.arange(20).repeat(3) if shared else torch.arange(60)
            ours, block = 0.5 + hard + 0.3 * draws(60, seed=1000 + seed), torch.arange(3).repeat_interleave(20)
            c = Comparison(id="H", words="", ours=ours, theirs=torch.zeros(60), label=label, block=block)
            mean, labels, kind, blocks = c.differences()
            assert len(labels) == (20 if shared else 60) and set(kind) == ({0} if shared else {0, 1, 2})
            assert blocks[1] == pytest.approx(float(ours[20:40].mean()))
            low, high = bootstrapped(mean, kind, Rng(seed), 500)
            covered += low <= 0.5 <= high
        assert 0.88 <= covered / 150 <= 0.99, shared


def test_a_claim_holds_only_with_a_small_p_an_interval_and_every_block() -> None:
    theirs = draws(3, 40)
    better = theirs + 1 + 0.1 * draws(3, 40, seed=1)
    (holds,) = judged([comparison(better, theirs, 3)], Rng(0))
    assert holds.status == "holds" and holds.low < holds.difference < holds.high and holds.labels == 40
    assert judged([comparison(theirs, better, 3)], Rng(0))[0].status == "not"
    assert judged([comparison(better, theirs, 3, expected="smaller")], Rng(0))[0].status == "not"
    assert judged([comparison(theirs, better, 3, expected="different")], Rng(0))[0].status == "holds"
    assert judged([comparison(draws(3, 40, seed=8), theirs, 3)], Rng(0))[0].status == "undecided"
    torn = better.clone()
    torn[2] = theirs[2] - 0.2  # one training of three says the contrary
    (one,) = judged([comparison(torn, theirs, 3)], Rng(0))
    assert one.p_holm < 0.001 < one.low and one.status == "undecided" and "in blocks" in one.evidence
    assert judged([comparison(better[0, :5], theirs[0, :5])], Rng(0))[0].status == "undecided"  # 2 of 32 is no 5 %


def test_a_difference_too_small_to_matter_refutes() -> None:
    theirs = draws(60)
    close = theirs + 0.01 * draws(60, seed=1)
    for expected in ("greater", "different"):
        assert judged([comparison(close, theirs, least=0.1, expected=expected)], Rng(0))[0].status == "not"
        assert judged([comparison(close, theirs, expected=expected)], Rng(0))[0].status == "undecided"
    assert judged([comparison(theirs + 1 + close, theirs, least=5.0)], Rng(0))[0].status == "not"


def test_the_family_is_corrected_together_and_false_claims_are_rare() -> None:
    theirs = draws(30)
    weak = theirs + 0.25 + draws(30, seed=3)
    (alone,) = judged([comparison(weak, theirs)], Rng(0))
    family = judged([comparison(weak, theirs, id=f"H{i}") for i in range(11)], Rng(0))
    assert alone.p <= 0.05 < family[0].p_holm == pytest.approx(min(1, 11 * alone.p))
    wrong = 0
    for seed in range(60):
        nulls = [comparison(draws(30, seed=9 * seed + i), theirs * 0, id=f"H{i}") for i in range(8)]
        wrong += any(h.status != "undecided" for h in judged(nulls, Rng(seed), rounds=100))
    assert wrong <= 8  # 5 % of 60 is 3
    shown = table(family)
    assert len(shown.rows) == 11 and shown.rows[0][:3] == ("H0", "ours is better", "undecided")
    assert family[0].claim().status == "undecided" and "after Holm" in family[0].claim().evidence


def test_unreached_labels_are_not_left_out() -> None:
    theirs = draws(10)
    with pytest.raises(BadInput, match="1 without a value"):
        judged([comparison(theirs.where(torch.arange(10) != 3, torch.nan), theirs)], Rng(0))
