"""Augmentation that gradients pass through: both networks of a GAN see images changed at random, in the same way.

Karras et al. 2020 (StyleGAN2-ADA): every change is made to a share of the samples. Zhao et al. 2020 (DiffAugment): all
changes, to all samples. Draws come from torch's own stream.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Changes:
    """How far each change goes at most; 0 leaves it out."""

    brightness: float = 0.0
    """Added to all values of a sample, which lie in [-1, 1]."""
    contrast: float = 0.0
    """Factor about the mean of a sample: 1 - contrast to 1 + contrast."""
    saturation: float = 0.0
    """The same about the mean over channels."""
    shift: float = 0.0
    """Share of the side, in whole pixels."""
    zoom: float = 0.0
    """In octaves: 0.3 is 0.81 to 1.23 times."""
    turn: float = 0.0
    """In degrees."""
    cut: float = 0.0
    """Side of a square that is left out, as a share of the image's."""


DIFFERENTIABLE = Changes(brightness=0.5, contrast=0.5, saturation=1.0, shift=0.125, cut=0.5)
"""Those of DiffAugment."""
ADAPTIVE = Changes(brightness=0.4, contrast=0.4, saturation=0.7, shift=0.125, zoom=0.3, turn=20.0)
"""Unlike StyleGAN2-ADA's: fewer kinds, and smaller turns, for images of digits and garments that must stand upright."""


def augmented(x: Tensor, changes: Changes, share: float | Tensor = 1.0) -> Tensor:
    """Images (n, c, h, w) with each kind of change made to this share of them, drawn anew for every sample."""
    if not share:
        return x

    def amount(most: float) -> Tensor:
        """Uniform in [-most, most] for the samples that are changed, 0 for the others: (n, 1, 1, 1)."""
        drawn = (torch.rand(len(x), 1, 1, 1, device=x.device) * 2 - 1) * most
        return torch.where(torch.rand_like(drawn) < share, drawn, 0.0)

    if changes.brightness:
        x = x + amount(changes.brightness)
    if changes.saturation and x.shape[1] == 3:
        grey = x.mean(dim=1, keepdim=True)
        x = grey + (x - grey) * (1 + amount(changes.saturation))
    if changes.contrast:
        middle = x.mean(dim=(1, 2, 3), keepdim=True)
        x = middle + (x - middle) * (1 + amount(changes.contrast))
    if changes.zoom or changes.turn:
        x = _turned(x, amount(changes.zoom).exp2().flatten(), torch.deg2rad(amount(changes.turn)).flatten())
    if changes.shift:
        x = _shifted(x, *(amount(changes.shift).flatten() * side for side in x.shape[2:]))
    if changes.cut:
        x = _cut(x, changes.cut, torch.rand(len(x), device=x.device) < share)
    return x


def _turned(x: Tensor, zoom: Tensor, angle: Tensor) -> Tensor:
    """Scaled and turned about the middle; what comes in from outside is mirrored."""
    cos, sin, zero = angle.cos() / zoom, angle.sin() / zoom, torch.zeros_like(zoom)
    rows = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = F.affine_grid(rows, list(x.shape), align_corners=False)
    # In float32: half precision has too few bits for the place of a pixel.
    return F.grid_sample(x.float(), grid, padding_mode="reflection", align_corners=False).to(x.dtype)


def _shifted(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Moved by whole pixels, which blurs nothing; what comes in from outside repeats the border."""
    n, _, h, w = x.shape
    rows = (torch.arange(h, device=x.device) - down.round().long()[:, None]).clamp(0, h - 1)
    columns = (torch.arange(w, device=x.device) - right.round().long()[:, None]).clamp(0, w - 1)
    samples = torch.arange(n, device=x.device)[:, None, None]
    return x.permute(0, 2, 3, 1)[samples, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _cut(x: Tensor, share: float, chosen: Tensor) -> Tensor:
    """A square set to the middle of the range, somewhere in each chosen sample."""
    kept = torch.ones(len(x), device=x.device, dtype=torch.bool)[:, None, None]
    inside = ~torch.zeros_like(kept)
    for axis, side in ((1, x.shape[2]), (2, x.shape[3])):
        middle = (torch.rand(len(x), 1, device=x.device) * side).floor()
        near = (torch.arange(side, device=x.device) + 0.5 - middle).abs() <= math.ceil(side * share) / 2
        inside = inside & near.unsqueeze(3 - axis)
    return x * (~(inside & chosen[:, None, None]))[:, None].to(x.dtype)
