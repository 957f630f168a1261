"""Whether generated samples lie nearer to the training set than fresh real ones do: by cells, and by records."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.maths.clusters import k_means
from genvet.maths.distances import squared_distances
from genvet.maths.quality import Estimate

FEWEST = 20
"""Generated samples, and real ones, in a cell that is looked at."""
ROWS = 1024


@dataclass(frozen=True)
class DataCopying:
    """Meehan et al.'s statistic: far below 0, samples are copies; far above, they are further off than real ones."""

    value: float
    cells: int
    """That were looked at."""
    share: float
    """Of the held-out records, in these cells."""


def data_copying(train: Tensor, held_out: Tensor, made: Tensor, cells: int, rng: Rng) -> DataCopying:
    """The mean over cells of the training rows of Mann and Whitney's z, weighted by held-out rows (2020, sec. 3).

    Rows are (n, d) of one space. In each cell, distances to the nearest training row are compared: those of generated
    rows with those of held-out ones. Raises BadInput where no cell holds 20 of both.
    """
    centres = k_means(train, cells, rng.block())
    places = [squared_distances(rows, centres).argmin(1).cpu() for rows in (train, held_out, made)]
    total = weight = 0.0
    looked = 0
    for cell in range(len(centres)):
        own, fresh, fake = (rows[place == cell] for rows, place in zip((train, held_out, made), places, strict=True))
        if not len(own) or min(len(fresh), len(fake)) < FEWEST:
            continue
        total += len(fresh) * _z(nearest(fake, own), nearest(fresh, own))
        weight, looked = weight + len(fresh), looked + 1
    if not looked:
        got = f"{len(held_out)} held-out and {len(made)} generated ones in {len(centres)} cells"
        raise BadInput("no cell holds enough rows", expected=f"{FEWEST} of both", got=got, hint="take fewer cells")
    return DataCopying(total / weight, looked, weight / len(held_out))


def nearest(rows: Tensor, others: Tensor) -> Tensor:
    """Of each row (n, d), the distance to the nearest of others (m, d), in float64: (n,)."""
    other = others.double()
    found = [torch.cdist(some.double(), other).amin(1) for some in rows.split(ROWS)]
    return torch.cat(found) if found else torch.empty(0).double()


def _z(one: Tensor, other: Tensor) -> float:
    """Mann and Whitney's: below 0 where the first are smaller.

    >>> round(_z(torch.arange(20.0), torch.arange(20.0) + 100), 2)
    -5.41
    """
    from scipy.stats import rankdata  # here, so that --help need not wait for it

    n, m = len(one), len(other)
    wins = rankdata(torch.cat([one, other]).numpy())[:n].sum() - n * (n + 1) / 2
    return float((wins - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12))


def parted(served: Tensor, rng: Rng, rounds: int = 999) -> tuple[Estimate, float]:
    """The share of samples whose nearest record is of the first half, and its one-sided p-value.

    `served` (2 n,) tells to how many samples each record is the nearest: first n of the one set, then n of the other.
    The unit is the record: a central one draws many samples, whichever set it is in.

    >>> share, p = parted(torch.tensor([5, 4, 6, 5, 0, 1, 0, 0]), Rng(0))
    >>> round(share.value, 2), p < 0.05
    (0.95, True)
    """
    n, total = len(served) // 2, float(served.sum())
    count, first = served.double(), torch.arange(2 * n) < n
    share = float(count[first].sum()) / total
    error = float((count * (first.double() - share)).square().sum().sqrt()) / total
    drawn = torch.stack([count[torch.randperm(2 * n, generator=rng.block(i))[:n]].sum() for i in range(rounds)])
    p = (1 + int((drawn >= count[first].sum()).sum())) / (1 + rounds)
    return Estimate(share, max(0.0, share - 1.96 * error), min(1.0, share + 1.96 * error)), p
