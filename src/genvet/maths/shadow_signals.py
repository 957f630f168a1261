"""What shadow models say of a record: how it looks to a model that learned from it, and to one that did not.

Signals are (records,) of the target and (shadows, records) of the shadow models; `inside` (shadows, records) tells
which shadow learned from which record. All are brought to one scale first: every model has its own.
"""

from __future__ import annotations

import torch
from torch import Tensor


def standardised(signal: Tensor) -> Tensor:
    """Each model's signals (..., records) about their median, in units of their middle half.

    >>> standardised(torch.tensor([0.0, 1.0, 2.0, 3.0, 40.0])).tolist()
    [-1.0, -0.5, 0.0, 0.5, 19.0]
    """
    signal = signal.double()
    ends = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    low, middle, high = signal.quantile(ends, dim=-1, keepdim=True)
    scaled: Tensor = (signal - middle) / (high - low).clamp_min(1e-12)
    return scaled


def likelihood_ratio(target: Tensor, shadows: Tensor, inside: Tensor) -> Tensor:
    """The logarithm of the normal densities' ratio, inside over outside, (records,) (Carlini et al. 2022, sec. V).

    Few shadows tell no variance: it is pooled over all records. Records that were never inside, or never outside, take
    the mean difference of all others.
    """
    (m_in, v_in), (m_out, v_out) = _moments(shadows, inside), _moments(shadows, ~inside)
    apart = (m_in - m_out).nanmean().nan_to_num(0.0)
    m_out = torch.where(m_out.isnan(), m_in - apart, m_out)
    m_in = torch.where(m_in.isnan(), m_out + apart, m_in)
    return _log_normal(target, m_in, v_in) - _log_normal(target, m_out, v_out)


def above_outside(target: Tensor, shadows: Tensor, inside: Tensor) -> Tensor:
    """How far the target's signal lies above those of models that did not learn from the record: (records,)."""
    mean, variance = _moments(shadows, ~inside)
    return (target - torch.where(mean.isnan(), mean.nanmean(), mean)) / variance.sqrt()


def relative(target: Tensor, shadows: Tensor, inside: Tensor, offline: float | None = None) -> Tensor:
    """The share of the other records that the target makes likelier by less than this one, (records,).

    RMIA (Zarifzadeh et al. 2024, eq. 3 and 10), with a logistic function of the signal in the place of a probability.
    Online, the mean over models that learned from the record and that did not; `offline` is its `a`, and takes the
    latter alone.
    """
    p, q = target.sigmoid(), shadows.sigmoid()
    outside = _mean(q, ~inside)
    outside = torch.where(outside.isnan(), outside.nanmean(), outside)
    within = _mean(q, inside)
    within = torch.where(within.isnan(), outside, within)
    world = (within + outside) / 2 if offline is None else ((1 + offline) * outside + 1 - offline) / 2
    ratio = p / world.clamp_min(1e-12)
    return (torch.searchsorted(ratio.sort().values, ratio, right=True).double() - 1) / max(len(ratio) - 1, 1)


def _mean(signal: Tensor, chosen: Tensor) -> Tensor:
    """Of each record over the chosen models; NaN where there are none."""
    return torch.where(chosen, signal.double(), 0.0).sum(0) / chosen.sum(0).double()


def _moments(signal: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of each record, and one variance for all: with few models, that of the records themselves."""
    mean = _mean(signal, chosen)
    off = torch.where(chosen, signal.double() - mean, 0.0).square().sum()
    free = int(chosen.sum()) - int((chosen.sum(0) > 0).sum())
    known = mean[~mean.isnan()]
    variance = off / free if free > 0 else known.var() if len(known) > 1 else torch.ones(()).double()
    return mean, variance.clamp_min(1e-12)


def _log_normal(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return -(x.double() - mean).square() / (2 * variance) - variance.log() / 2
