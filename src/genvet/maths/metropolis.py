"""Out of what a generator draws, samples that are distributed as the real ones: by chains, or by rejection.

Both take log density ratios, p_real / p_generated, which come from a calibrated critic.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.rng import Rng

MARGIN = 1e-6
"""Keeps rejection's logarithm off 0."""
QUANTILE = 0.95
"""Of the pilot's scores, at which rejection takes half of what it sees."""


@dataclass(frozen=True, eq=False)
class Walk:
    """Where chains stand after so many steps."""

    x: Tensor
    """(chains, *shape)."""
    moves: Tensor
    """Of each chain, (chains,): proposals that it took. With none, it still stands where it began."""
    steps: int

    @property
    def acceptance(self) -> float | None:
        """The share of proposals that were taken; None where there were none."""
        return float(self.moves.double().mean()) / self.steps if self.steps else None

    @property
    def kept(self) -> Tensor:
        """Where those stand that have left their start."""
        return self.x[self.moves > 0]


def walk(x: Tensor, log_odds: Tensor, proposals: Iterable[tuple[Tensor, Tensor]], rng: Rng) -> Walk:
    """Independence Metropolis-Hastings for all chains at once, from x (chains, *shape) with log-odds (chains,).

    Each proposal is a sample for every chain, and their log-odds. It is taken with probability min(1, r' / r): a chain
    that stands at infinite odds stays there, unless what is proposed has them too (Turner et al. 2019, Algorithm 1).
    """
    x, here = x.clone(), log_odds.double().clone()
    moves, steps = torch.zeros(len(x), dtype=torch.long), 0
    for proposed, there in proposals:
        there = there.double()
        gain = torch.where(there == here, 0.0, there - here)  # infinity less infinity is no number
        taken = torch.rand(len(x), generator=rng.block(steps), dtype=torch.float64).log() <= gain
        x[taken], here = proposed[taken], torch.where(taken, there, here)
        moves, steps = moves + taken, steps + 1
    return Walk(x, moves, steps)


@dataclass(frozen=True)
class Rejection:
    """Discriminator rejection sampling, its bound and its shift set by a pilot (Azadi et al. 2019, eq. 8).

    Without a shift it is exact below the bound. The pilot's takes more where hardly anything would be taken, and less
    where many are near the bound: those alone, then.
    """

    most: float
    """The largest log-odds that were seen."""
    shift: float

    @classmethod
    def of(cls, pilot: Tensor, shifted: bool = True) -> Rejection:
        """From the log-odds (n,) of some samples."""
        most = float(pilot.max())
        return cls(most, float(torch.quantile(_strength(pilot.double(), most), QUANTILE)) if shifted else 0.0)

    def taken(self, log_odds: Tensor, rng: Rng) -> Tensor:
        """Which samples are kept, (n,) bool."""
        chance = torch.sigmoid(_strength(log_odds.double(), self.most) - self.shift)
        return torch.rand(len(chance), generator=rng.block(), dtype=torch.float64) < chance


def _strength(log_odds: Tensor, most: float) -> Tensor:
    """F of the paper: infinite near the bound, about the log-odds less the bound far below it."""
    below = (log_odds - most).clamp_max(0)
    return below - torch.log(-torch.expm1(below - MARGIN))
