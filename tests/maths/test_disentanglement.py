"""DCI, MIG and SAP against slow oracles, and at their ends: one coordinate a factor, and no relation at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from sklearn.metrics import mutual_info_score

from genvet.core.rng import Rng
from genvet.maths.disentanglement import (
    BINS,
    PENALTY,
    dci,
    disentanglement,
    importances,
    lasso,
    mig,
    mutual_information,
    random_turn,
    sap,
    squared_correlations,
)


def codes(n: int = 1200, d: int = 6) -> torch.Tensor:
    return torch.randn(n, d, generator=Rng(1).block())


def one_each(x: torch.Tensor) -> torch.Tensor:
    """Factors that are one coordinate each, bent, and with some noise."""
    noise = 0.1 * torch.randn(len(x), 4, generator=Rng(2).block())
    return torch.stack([x[:, 0], x[:, 2].tanh(), -x[:, 3] * 9, x[:, 5] + 4], dim=1) + noise


def test_mutual_information_is_that_of_a_histogram() -> None:
    x, y = codes(), one_each(codes())
    information, entropy = mutual_information(x, y)
    for i, j in ((0, 0), (2, 1), (5, 0)):
        bins = [
            np.digitize(t, np.linspace(t.min(), t.max(), BINS + 1)[1:-1]) for t in (x[:, i].numpy(), y[:, j].numpy())
        ]
        assert float(information[i, j]) == pytest.approx(mutual_info_score(*bins), abs=0.02)
        assert float(entropy[j]) == pytest.approx(mutual_info_score(bins[1], bins[1]), abs=0.02)


def test_correlations_are_numpys() -> None:
    x, y = codes(), one_each(codes())
    told = np.corrcoef(x.numpy().T, y.numpy().T)[:6, 6:] ** 2
    assert np.allclose(squared_correlations(x, y).numpy(), told, atol=1e-6)
    assert not squared_correlations(torch.ones(9, 2), torch.arange(9.0)[:, None]).any(), (
        "what does not vary explains nothing"
    )


def test_one_coordinate_a_factor_scores_high_and_a_turned_basis_low() -> None:
    x, y = codes(), one_each(codes())
    straight, other = dci(x, y), dci(x @ random_turn(6, Rng(3).block()), y)
    assert straight.disentanglement > 0.95 and straight.completeness > 0.95 and straight.informativeness > 0.9
    assert other.disentanglement < 0.5 and other.completeness < 0.5
    assert other.informativeness == pytest.approx(straight.informativeness, abs=0.05), "a turn loses nothing"
    turn = random_turn(6, Rng(3).block())
    assert torch.allclose(turn @ turn.T, torch.eye(6), atol=1e-5)
    for score in (mig, sap):
        assert score(x, y) > 0.3 and score(x @ turn, y) < score(x, y) / 2


def test_the_lasso_is_that_of_scikit_learn_where_codes_are_tangled_too() -> None:
    x = codes(d=12) @ torch.randn(12, 12, generator=Rng(5).block())
    y = one_each(x)
    x, y = ((t - t.mean(0)) / t.std(0) for t in (x.double(), y.double()))
    sizes, predict = lasso(x, y)
    for j in range(y.shape[1]):
        theirs = Lasso(alpha=PENALTY, fit_intercept=False, max_iter=100_000, tol=1e-10).fit(x.numpy(), y[:, j].numpy())
        assert np.allclose(sizes[:, j].numpy(), np.abs(theirs.coef_), atol=1e-4)
        assert np.allclose(predict(x)[:, j].numpy(), theirs.predict(x.numpy()), atol=1e-3)


def test_boosted_trees_see_what_is_not_linear() -> None:
    x = codes(600)
    y = torch.stack([x[:, 1].square(), x[:, 4]], dim=1)
    (linear, _), (boosted, explained) = importances(x, y, "l1"), importances(x, y, "boosted")
    assert int(boosted[:, 0].argmax()) == 1 and float(boosted[1, 0]) > 0.8 and explained > 0.7
    assert float(linear[1, 0]) < 0.2


def test_no_relation_scores_nothing() -> None:
    x = codes()
    nothing = torch.randn(len(x), 4, generator=Rng(9).block())
    assert mig(x, nothing) < 0.02 and sap(x, nothing) < 0.02 and dci(x, nothing).informativeness < 0.05
    assert disentanglement(torch.zeros(3, 3)) == 0 and mig(x, torch.ones(len(x), 2)) == 0
    assert disentanglement(torch.tensor([[1.0, 1.0], [0.0, 0.0]])) == 0
