"""What generated images give away without any trained weights: spectra, residues and how neighbours go together.

Each takes images (n, c, h, w) in [-1, 1] and gives a row of numbers for each, (n, d).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

FLOOR = 1e-8
"""Of powers, before their logarithm: what eight bits cannot tell from nothing."""
BLOCK = 32
"""Pixels of the largest transform; larger images are cut into blocks, whose logarithms are averaged."""
STEP, CUT = 0.02, 2
"""Quantisation of residues, of the range of the image; and from where on they count alike."""


def radial_spectrum(x: Tensor) -> Tensor:
    """The logarithm of the power at each spatial frequency, whatever its direction (Durall et al. 2020).

    >>> x = torch.zeros(1, 1, 8, 8)
    >>> radial_spectrum(x).shape
    torch.Size([1, 5])
    """
    x = x.float().mean(1)
    power = torch.fft.rfft2(x - x.mean((1, 2), keepdim=True), norm="ortho").abs().square()
    h, w = x.shape[1:]
    down, across = torch.fft.fftfreq(h)[:, None] * min(h, w), torch.fft.rfftfreq(w) * min(h, w)
    ring = (down.square() + across.square()).sqrt().round().long().clamp_max(min(h, w) // 2).flatten()
    total = torch.zeros(len(x), min(h, w) // 2 + 1).index_add_(1, ring, power.flatten(1).cpu())
    count = torch.bincount(ring, minlength=total.shape[1]).clamp_min(1)
    return (total / count + FLOOR).log()


def cosine_spectrum(x: Tensor) -> Tensor:
    """The logarithm of the size of every coefficient of the discrete cosine transform (Frank et al. 2020)."""
    x = x.float().mean(1)
    side = min(BLOCK, *x.shape[1:])
    blocks = x.unfold(1, side, side).unfold(2, side, side)
    basis = cosines(side).to(x)
    sizes = ((basis @ blocks @ basis.T).abs() + math.sqrt(FLOOR)).log()
    return sizes.mean((1, 2)).flatten(1)


def cosines(n: int) -> Tensor:
    """The orthonormal matrix (n, n) of the second cosine transform."""
    k, i = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    basis = torch.cos(math.pi * (i + 0.5) * k / n) * math.sqrt(2 / n)
    basis[0] /= math.sqrt(2)
    return basis.float()


def co_occurrences(x: Tensor) -> Tensor:
    """How often each triple of residues stands in a row, across and down (Fridrich and Kodovsky 2012).

    Residues are differences of the first and of the second order, in steps of 0.02 of the range, cut off at 2 steps.
    """
    x = x.float().mean(1)
    found = []
    for turned in (x, x.transpose(1, 2)):
        first = turned[:, :, 1:] - turned[:, :, :-1]
        for residue in (first, first[:, :, 1:] - first[:, :, :-1]):
            levels = (residue / (2 * STEP)).round().clamp(-CUT, CUT).long() + CUT
            found.append(_triples(levels))
    across, down = torch.cat(found[:2], 1), torch.cat(found[2:], 1)
    return ((across + down) / 2).sqrt()


def _triples(levels: Tensor) -> Tensor:
    """The share of each triple of neighbours in a row, (n, 125)."""
    base = 2 * CUT + 1
    code = levels[:, :, :-2] * base * base + levels[:, :, 1:-1] * base + levels[:, :, 2:]
    code = code.flatten(1) + base**3 * torch.arange(len(levels), device=levels.device)[:, None]
    counts = torch.bincount(code.flatten(), minlength=len(levels) * base**3).view(len(levels), -1)
    return counts.float() / max(code.shape[1], 1)


def residual(x: Tensor) -> Tensor:
    """What a 3 x 3 median takes away: noise, and the traces that a generator leaves in the same place."""
    x = x.float()
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    around = padded.unfold(2, 3, 1).unfold(3, 3, 1).flatten(4)
    return (x - around.median(dim=4).values).flatten(1)


def correlation(rows: Tensor, pattern: Tensor) -> Tensor:
    """Of each row (n, d) with one pattern (d,), from -1 to 1: (n,)."""
    rows, pattern = rows - rows.mean(1, keepdim=True), pattern - pattern.mean()
    found: Tensor = (rows @ pattern) / (rows.norm(dim=1) * pattern.norm()).clamp_min(1e-12)
    return found
