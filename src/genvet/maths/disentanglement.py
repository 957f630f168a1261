"""How far single coordinates of a code account for single factors: DCI, MIG and SAP, from pairs of both."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 20
"""Of the histograms behind mutual information, as the papers have them."""
PENALTY = 0.02
"""Of the lasso, on standardised codes and factors."""
STEPS, ENOUGH = 5000, 1e-6
"""Of the lasso, at most; and the change of a coefficient at which it stops."""
Fit = Literal["l1", "boosted"]
Predict = Callable[[Tensor], Tensor]


class Modularity(NamedTuple):
    """DCI: Eastwood, Williams 2018."""

    disentanglement: float
    """1 where each coordinate matters for one factor alone."""
    completeness: float
    """1 where each factor hangs on one coordinate alone."""
    informativeness: float
    """How much of the factors' variance the codes explain, on pairs held back; below 0, worse than nothing does."""


def dci(codes: Tensor, factors: Tensor, fit: Fit = "l1") -> Modularity:
    """Of codes (n, d) and factors (n, f), by the importance of each coordinate for each factor."""
    importance, explained = importances(codes, factors, fit)
    return Modularity(disentanglement(importance), disentanglement(importance.T), explained)


def disentanglement(importance: Tensor) -> float:
    """Mean over rows of 1 - entropy of the row's shares, rows weighted by their sums: of importances (d, f).

    Of the transposed matrix, it is the completeness.

    >>> disentanglement(torch.eye(4)), disentanglement(torch.ones(4, 4))
    (1.0, 0.0)
    """
    importance = importance.double()
    rows = importance.sum(1)
    if rows.sum() <= 0 or importance.shape[1] < 2:
        return 0.0
    shares = importance / rows[:, None].clamp_min(1e-300)
    entropy = torch.special.entr(shares).sum(1) / torch.tensor(float(importance.shape[1])).double().log()
    return float(((1 - entropy) * rows).sum() / rows.sum())


def importances(codes: Tensor, factors: Tensor, fit: Fit = "l1") -> tuple[Tensor, float]:
    """How much each coordinate matters for each factor (d, f), and how much of the factors all of them explain.

    `l1` takes the sizes of a lasso's coefficients, `boosted` those that boosted trees give. Every fourth pair is held
    back for what is explained.
    """
    held = torch.arange(len(codes)) % 4 == 3
    x, y = _standard(codes, ~held).double(), _standard(factors, ~held).double()
    fitted = lasso if fit == "l1" else _boosted
    sizes, predict = fitted(x[~held], y[~held])
    truth = y[held]
    rest, whole = (truth - predict(x[held])).square().sum(0), (truth - truth.mean(0)).square().sum(0)
    return sizes, float(torch.where(whole > 0, 1 - rest / whole.clamp_min(1e-300), 0.0).mean())


def lasso(x: Tensor, y: Tensor, penalty: float = PENALTY) -> tuple[Tensor, Predict]:
    """Sizes (d, f) of the coefficients that minimise |y - x b|^2 / 2n + penalty |b|_1, and what they predict.

    All columns of y (n, f) at once, by accelerated steps on the Gram matrix of x (n, d), which begin anew where they
    overshoot (Beck, Teboulle 2009; O'Donoghue, Candes 2015).
    """
    gram, pull = x.T @ x / len(x), x.T @ y / len(x)
    rate = 1 / float(torch.linalg.eigvalsh(gram)[-1].clamp_min(1e-12))
    b = ahead = torch.zeros_like(pull)
    momentum = 1.0
    for _ in range(STEPS):
        new = F.softshrink(ahead - rate * (gram @ ahead - pull), rate * penalty)
        move, overshot = new - b, float(((ahead - new) * (new - b)).sum()) > 0
        b = new
        if float(move.abs().max()) < ENOUGH:
            break
        faster = 1.0 if overshot else (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new if overshot else new + (momentum - 1) / faster * move
        momentum = faster
    return b.abs(), lambda rows: rows @ b


def _boosted(x: Tensor, y: Tensor) -> tuple[Tensor, Predict]:
    """Importances of boosted trees (d, f), one model for each factor, and what they predict."""
    from sklearn.ensemble import GradientBoostingRegressor  # here, so that --help need not wait for it

    knobs = {"n_estimators": 50, "max_depth": 3, "subsample": 0.5, "random_state": 0}
    models = [GradientBoostingRegressor(**knobs).fit(x.numpy(), column.numpy()) for column in y.T]
    sizes = torch.stack([torch.from_numpy(model.feature_importances_) for model in models], dim=1)
    return sizes, lambda rows: torch.stack([torch.from_numpy(m.predict(rows.numpy())) for m in models], dim=1)


def _standard(rows: Tensor, seen: Tensor) -> Tensor:
    """Mean 0 and deviation 1 on the rows that are seen; a column that does not vary becomes 0."""
    deviation = rows[seen].std(0)
    scale = torch.where(deviation > 1e-8, deviation, torch.inf)
    return (rows - rows[seen].mean(0)) / scale


def mig(codes: Tensor, factors: Tensor) -> float:
    """Mutual information gap (Chen et al. 2018): of each factor, that of the best coordinate less that of the next.

    In units of the factor's entropy, by histograms of 20 bins of equal width; the mean over factors that vary.
    """
    information, entropy = mutual_information(codes, factors)
    top = information.topk(2, dim=0).values
    varies = entropy > 1e-6
    return float(((top[0] - top[1])[varies] / entropy[varies]).mean()) if bool(varies.any()) else 0.0


def mutual_information(codes: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
    """Of each coordinate and factor (d, f), and the entropies of the factors (f,), in nats, by histograms."""
    ones, others = _binned(codes), _binned(factors)
    joint = (ones.flatten(1).T @ others.flatten(1)) / len(codes)
    joint = joint.view(codes.shape[1], BINS, factors.shape[1], BINS).double()
    of_code, of_factor = (torch.special.entr(t).sum(1) for t in (joint[:, :, 0].sum(2), joint[0].sum(0)))
    both = torch.special.entr(joint).sum((1, 3))
    return of_code[:, None] + of_factor - both, of_factor


def sap(codes: Tensor, factors: Tensor) -> float:
    """Separated attribute predictability (Kumar et al. 2018): best less second best squared correlation, on average."""
    top = squared_correlations(codes, factors).topk(2, dim=0).values
    return float((top[0] - top[1]).mean())


def squared_correlations(codes: Tensor, factors: Tensor) -> Tensor:
    """Of every coordinate with every factor, (d, f); 0 where one does not vary."""
    every = torch.ones(len(codes), dtype=torch.bool)
    x, y = _standard(codes, every).double(), _standard(factors, every).double()
    correlations: Tensor = x.T @ y / (len(codes) - 1)
    return correlations.square()


def _binned(rows: Tensor) -> Tensor:
    """Which of 20 bins of equal width each value is in: (n, columns, bins), ones and zeros."""
    low, high = rows.amin(0), rows.amax(0)
    places = ((rows - low) / (high - low).clamp_min(1e-12) * BINS).long().clamp(0, BINS - 1)
    binned: Tensor = F.one_hot(places, BINS)
    return binned.float()


def random_turn(dim: int, rng: torch.Generator) -> Tensor:  # noqa: TID251 - the type alone
    """An orthonormal basis (dim, dim), each as likely as any other (Haar)."""
    q, r = torch.linalg.qr(torch.randn(dim, dim, generator=rng, dtype=torch.float64))
    turn: Tensor = q * r.diagonal().sign()
    return turn.float()
