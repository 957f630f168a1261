"""ROC, area and intervals against scikit-learn and a slow bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from genvet.core.rng import Rng
from genvet.maths.ranking import Scores, auc, by_parent, caught, caught_share, roc

VALUES = st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.sampled_from("abc")), min_size=2, max_size=30)


def scores(rows: list[tuple[int, bool, str]]) -> Scores:
    value, attacked, parent = zip(*rows, strict=True)
    return Scores(np.array(value, float), np.array(attacked, bool), np.array(parent, str))


@given(VALUES)
def test_the_area_is_scikit_learns(rows: list[tuple[int, bool, str]]) -> None:
    s = scores(rows)
    if s.attacked.all() or not s.attacked.any():
        assert np.isnan(auc(s))
        return
    assert auc(s) == pytest.approx(roc_auc_score(s.attacked, s.value))
    false, true = roc(s)
    theirs = roc_curve(s.attacked, s.value, drop_intermediate=False)
    assert false == pytest.approx(theirs[0]) and true == pytest.approx(theirs[1])
    assert caught(s) == sum(v > s.clean.max() for v in s.planted)


def test_missing_scores_are_the_lowest() -> None:
    s = Scores(np.array([-np.inf, 0, -np.inf, 1]), np.array([0, 0, 1, 1], bool), np.array(list("aabb")))
    assert auc(s) == pytest.approx((0.5 + 0 + 1 + 1) / 4) and caught(s) == 1


def test_the_fast_bootstrap_is_the_slow_one() -> None:
    """The area of each draw at once is the area of each draw, and parents are drawn whole."""
    drawn = np.random.default_rng(0)
    rows = [(int(drawn.integers(0, 9)) + 2 * (i % 2), bool(i % 2), "abcdefgh"[i % 7]) for i in range(60)]
    s = scores(rows)
    fast = by_parent(s, auc, Rng(1), 300)
    slow = by_parent(s, lambda part: auc(part), Rng(1), 300)
    assert fast == pytest.approx(slow)
    assert fast.low <= auc(s) <= fast.high


def test_the_bootstrap_is_by_parent() -> None:
    """Forty siblings are one witness: as wide as one of each, and wider than forty strangers."""
    one = [(3, True, "a"), (0, False, "a"), (0, True, "b"), (1, False, "b"), (2, True, "c"), (1, False, "c")]
    many = [row for row in one for _ in range(40)]
    apart = [(v, a, f"{p}{i}") for i, (v, a, p) in enumerate(many)]
    ends = [by_parent(scores(rows), auc, Rng(0), 500) for rows in (one, many, apart)]
    assert ends[0] == pytest.approx(ends[1])
    assert ends[2].high - ends[2].low < 0.5 * (ends[1].high - ends[1].low)


def test_nothing_to_compare_is_no_number() -> None:
    s = scores([(1, False, "a"), (2, False, "b")])
    assert np.isnan(caught_share(s)) and np.isnan(by_parent(s, auc, Rng(0), 10).low)
    empty = Scores(np.zeros(0), np.zeros(0, bool), np.zeros(0, str))
    assert np.isnan(by_parent(empty, auc, Rng(0), 10).low)
