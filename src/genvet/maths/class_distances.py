"""How near a picture is to the real ones of a class, in units of how near those are to each other.

MIRROR (An et al. 2022, sec. V-B) measures the distance to a class's centroid, others the distance to its nearest
picture; in bare numbers neither compares between networks, and the nearest falls with the number of pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.errors import BadInput
from genvet.maths.quality import Estimate
from genvet.maths.ranks import by_label


@dataclass(frozen=True, eq=False)
class ClassDistances:
    """Distances over those that the class's real pictures have in the mean: 1 is as near as real ones are."""

    centroid: Tensor
    """(n,): to the mean of the class's real pictures."""
    nearest: Tensor
    """(n,): to the nearest real picture of the class. A copy of one of m has about 1/m, since that one is left out."""
    centroid_unit: Tensor
    """(n,): what each was divided by, so that the product is the distance itself."""
    nearest_unit: Tensor


def class_distances(rows: Tensor, labels: Tensor, real: Tensor, of: Tensor) -> ClassDistances:
    """Of rows (n, d) with labels (n,) to the real rows (m, d) of the same class; `of` (m,) are their labels.

    A real picture is compared with the others of its class, so that rows are too: with each real one left out in
    turn, and averaged. A fresh real picture has thus the value 1 in the mean, however few there are. Raises BadInput
    where a class has fewer than two real pictures, or nothing but copies of one.
    """
    found = torch.full((4, len(rows)), torch.nan, dtype=torch.float64)
    rows, real, labels, of = rows.double().cpu(), real.double().cpu(), labels.cpu(), of.cpu()
    for label in labels.unique():
        own, mine = real[of == label], labels == label
        if len(own) < 2:
            expected = "two real pictures or more of each class"
            raise BadInput("no distances between real pictures", expected=expected, got=f"{len(own)} of {int(label)}")
        units = torch.stack([d.mean() for d in real_to_real(own)])
        if not units.min() > 0:
            raise BadInput(
                f"the real pictures of class {int(label)} are copies of each other", expected="different ones"
            )
        centroid = torch.cdist(rows[mine], _without_each(own)).mean(1)
        first, second = torch.cdist(rows[mine], own, compute_mode=_EXACTLY).topk(2, largest=False).values.T
        # Whichever real one is left out, the nearest stays so, but where it is itself left out.
        nearest = first + (second - first) / len(own)
        found[:, mine] = torch.stack([centroid / units[0], nearest / units[1], *units[:, None].expand(2, len(first))])
    return ClassDistances(*found)


def leave_one_out(real: Tensor, of: Tensor) -> ClassDistances:
    """Of the real rows (m, d) themselves, each to the others of its class: the row of a table that stands for real."""
    found = torch.full((4, len(real)), torch.nan, dtype=torch.float64)
    for label in of.unique():
        mine = (of == label).cpu()
        apart = torch.stack(real_to_real(real.double().cpu()[mine]))
        units = apart.mean(1, keepdim=True)
        found[:, mine] = torch.cat([apart / units, units.expand_as(apart)])
    return ClassDistances(*found)


_EXACTLY = "donot_use_mm_for_euclid_dist"


def real_to_real(real: Tensor) -> tuple[Tensor, Tensor]:
    """Of each real row of one class (m, d): the distances to the mean and to the nearest of the others, (m,) each.

    >>> [d.tolist() for d in real_to_real(torch.tensor([[0.0], [1.0], [5.0]]))]
    [[3.0, 1.5, 4.5], [1.0, 1.0, 4.0]]
    """
    centroid = (real - _without_each(real)).norm(dim=1)
    apart = torch.cdist(real, real, compute_mode=_EXACTLY)
    return centroid, apart.fill_diagonal_(torch.inf).min(1).values


def _without_each(real: Tensor) -> Tensor:
    """The means of all rows but one, (m, d)."""
    return (real.sum(0) - real) / (len(real) - 1)


def scaled_mean(scaled: Tensor, unit: Tensor, label: Tensor) -> Estimate:
    """The mean distance over the mean unit, over labels, with its 95 % interval (ratio estimator, Student's t).

    The mean of the ratios would be too large: of few real pictures, some are near to each other by chance.

    >>> scaled_mean(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 2.0]), torch.tensor([0, 1])).value
    1.5
    """
    from scipy.special import stdtrit  # here, so that --help need not wait for it

    distance, units = by_label(scaled * unit, label), by_label(unit, label)
    n, value = len(units), float(distance.sum() / units.sum())
    if n < 2:
        return Estimate(value, 0.0, math.inf)
    error = float((distance - value * units).square().sum().div(n - 1).mul(n).sqrt() / units.sum())
    reach = float(stdtrit(n - 1, 0.975)) * error
    return Estimate(value, max(value - reach, 0.0), value + reach)
