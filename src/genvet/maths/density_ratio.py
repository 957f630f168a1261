"""From a critic's scores to density ratios p_real / p_generated: calibrated where real samples are at hand.

All in logarithms: the ratio is the odds that a sample is real, where as many are real as generated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Method = Literal["isotonic", "logistic", "identity"]
METHODS: tuple[Method, ...] = get_args(Method)
ROUNDS = 50
"""Of Newton's method at most."""


@dataclass(frozen=True)
class Calibration:
    """Scores (n,) -> log-odds (n,), and how it was found."""

    method: Method
    log_odds: Callable[[Tensor], Tensor]

    def __call__(self, scores: Tensor) -> Tensor:
        return self.log_odds(scores.double())

    def z(self, real: Tensor, fake: Tensor) -> float | None:
        """How far the outcomes of held-out scores are from what it says, in standard errors.

        Z = sum(y - p) / sqrt(sum p (1 - p)): standard normal where it is calibrated. None where p is 0 or 1 throughout.
        """
        prior = math.log(len(real) / len(fake))
        p = torch.sigmoid(torch.cat([self(real), self(fake)]) + prior)
        spread = float((p * (1 - p)).sum())
        return (len(real) - float(p.sum())) / math.sqrt(spread) if spread > 0 else None


def calibrated(method: Method, real: Tensor, fake: Tensor) -> Calibration:
    """Fitted to scores of real (n,) and of generated samples (m,).

    `identity` takes scores for log-odds, as a critic of the standard loss gives them; `logistic` fits a line to that
    end; `isotonic` any curve that does not fall, kept off 0 and 1 by as much as one sample counts.
    """
    real, fake = real.double(), fake.double()
    if method == "identity":
        return Calibration(method, lambda scores: scores)
    return Calibration(method, _line(real, fake) if method == "logistic" else _steps(real, fake))


def _line(real: Tensor, fake: Tensor) -> Callable[[Tensor], Tensor]:
    """a score + b, by penalised maximum likelihood: without a penalty, scores that part the two would have no end."""
    scores = torch.cat([real, fake])
    middle, spread = scores.mean(), scores.std().clamp_min(1e-12)
    rows = torch.stack([(scores - middle) / spread, torch.ones_like(scores)], 1)
    y = torch.cat([torch.ones_like(real), torch.zeros_like(fake)])
    weight = torch.where(y > 0, 0.5 / len(real), 0.5 / len(fake))
    found, ridge = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64) / len(scores)
    for _ in range(ROUNDS):
        p = torch.sigmoid(rows @ found)
        slope = rows.T @ (weight * (p - y)) + ridge @ found
        bend = (rows * (weight * p * (1 - p))[:, None]).T @ rows + ridge
        step = torch.linalg.solve(bend, slope)
        found = found - step
        if float(step.abs().max()) < 1e-10:
            break
    a, b = found.tolist()
    return lambda scores: (scores - middle) / spread * a + b


def _steps(real: Tensor, fake: Tensor) -> Callable[[Tensor], Tensor]:
    """The isotonic regression of "is real" on the score, both kinds weighing as much."""
    from sklearn.isotonic import IsotonicRegression  # here, so that --help need not wait for it

    least = 1 / (len(real) + len(fake) + 2)
    fit = IsotonicRegression(out_of_bounds="clip", y_min=least, y_max=1 - least)
    y = [1.0] * len(real) + [0.0] * len(fake)
    fit.fit(torch.cat([real, fake]).numpy(), y, [0.5 / len(real)] * len(real) + [0.5 / len(fake)] * len(fake))

    def log_odds(scores: Tensor) -> Tensor:
        return torch.logit(torch.from_numpy(fit.predict(scores.numpy())).double())

    return log_odds
