"""Mean effects over samples with their intervals, and whether directions do more than random ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.maths.statistics import rank_p_value


@dataclass(frozen=True, eq=False)
class Effects:
    """Means and the ends of their 95 % intervals, (directions, readings) each."""

    value: Tensor
    low: Tensor
    high: Tensor

    def __getitem__(self, rows: slice) -> Effects:
        return Effects(self.value[rows], self.low[rows], self.high[rows])


def standardised(changes: Tensor, spread: Tensor) -> Effects:
    """Mean changes (directions, n, readings), in units of the readings' own spread (readings,), by Student's t.

    >>> standardised(torch.tensor([[[2.0], [4.0]]]), torch.tensor([2.0])).value
    tensor([[1.5000]])
    """
    from scipy.special import stdtrit  # here, so that --help need not wait for it

    scaled = (changes / spread).double()
    n, mean = changes.shape[1], scaled.mean(1)
    error = scaled.std(1) / n**0.5 if n > 1 else torch.zeros_like(mean)
    reach = float(stdtrit(n - 1, 0.975)) * error if n > 1 else error
    return Effects(mean.float(), (mean - reach).float(), (mean + reach).float())


def beyond(effects: Effects, controls: Effects) -> list[float]:
    """Of each direction: how often a random one, or itself, has as strong a strongest effect.

    The strongest over all readings is compared with the strongest over all readings, so that looking at many costs
    nothing in favour of the claim.
    """
    reached = (-controls.value.abs().amax(1)).tolist()
    return [rank_p_value(-top, reached) for top in effects.value.abs().amax(1).tolist()]


def lead_p_value(ahead: int, n: int, controls: int) -> float:
    """How likely the `ahead` strongest of `n` directions and of controls that are like them are all of the former.

    >>> lead_p_value(0, 5, 9), round(lead_p_value(2, 2, 2), 6)
    (1.0, 0.166667)
    """
    return math.prod(((n - i) / (n + controls - i) for i in range(ahead)), start=1.0)
