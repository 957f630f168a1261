"""How differently two sets of samples spread over the same cells: the Jensen-Shannon divergence, in nats.

Between 0 and log 2. The "distance" of some libraries is its square root.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genvet.core.rng import Rng
from genvet.maths.distances import squared_distances
from genvet.maths.quality import Estimate

ROUNDS = 500
"""Of the bootstrap."""


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Of distributions, or counts, over the same cells: (..., k) and (..., k) -> (...), in nats.

    >>> round(float(jensen_shannon(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))), 6)
    0.693147
    """
    p, q = (t.double() / t.double().sum(-1, keepdim=True) for t in (p, q))
    middle = (p + q) / 2
    # entr(x) = -x log x, and 0 at 0.
    entropy = torch.special.entr(middle) - (torch.special.entr(p) + torch.special.entr(q)) / 2
    divergence: Tensor = entropy.sum(-1).clamp_min(0)
    return divergence


def floor(cells: int, n: int, m: int) -> float:
    """What two samples of n and m of one distribution come to on average: 2 N JS is about chi-squared of k - 1.

    >>> floor(30, 50_000, 50_000)
    0.000145
    """
    return (cells - 1) * (1 / n + 1 / m) / 8


def assigned(rows: Tensor, centres: Tensor) -> Tensor:
    """How many rows (n, d) are nearest to each centre (k, d): counts (k,)."""
    nearest = torch.cat([squared_distances(part, centres).argmin(1) for part in rows.split(10_000)])
    return torch.bincount(nearest, minlength=len(centres))


def estimated(one: Tensor, other: Tensor, rng: Rng, rounds: int = ROUNDS) -> Estimate:
    """The divergence of two sets of counts (k,), and the 95 % interval of that of their distributions.

    The value is the plain one, which is too large by about `floor`. The interval is the basic bootstrap's, which takes
    that off: its draws stray from the counts as these do from the truth. So it may lie below the value, and ends at 0.
    """
    value = float(jensen_shannon(one, other))
    drawn = [multinomial(counts, rounds, rng.fork(name)) for name, counts in (("one", one), ("other", other))]
    low, high = torch.quantile(jensen_shannon(*drawn), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Estimate(value, max(2 * value - high, 0.0), max(2 * value - low, 0.0))


def multinomial(counts: Tensor, rounds: int, rng: Rng) -> Tensor:
    """So many draws of counts like these, (rounds, k): each as large in all."""
    left = torch.full((rounds,), float(counts.double().sum().round()), dtype=torch.float64)
    share = counts.double() / counts.double().flip(0).cumsum(0).flip(0).clamp_min(1)  # of what is left, cell by cell
    generator, drawn = rng.block(), []
    for chance in share:
        drawn.append(torch.binomial(left, chance.expand(rounds), generator=generator))
        left = left - drawn[-1]
    return torch.stack(drawn, 1)
