"""Copies that somebody has changed a little, so that a filter may not know them: each by a name that says how."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from genvet.core.rng import Rng
from genvet.maths.delivery import blurred, eight_bit, greyed, jpeg, resized


def retouched(x: Tensor, rng: Rng) -> dict[str, Tensor]:
    """Images (n, 1 or 3, h, w) in [-1, 1] as they are, and by each of the usual changes."""
    side = min(x.shape[2:])
    noise = torch.randn(x.shape, generator=rng.block())
    found = {
        "as it is": x,
        "shifted by 1 pixel": _warped(x, across=2 / x.shape[3]),
        "shifted by an eighth": _warped(x, across=2 * round(side / 8) / x.shape[3]),
        "cropped to nine tenths": _warped(x, scale=0.9),
        "cropped to three quarters": _warped(x, scale=0.75),
        "mirrored": x.flip(3),
        "turned by 5 degrees": _warped(x, degrees=5.0),
        "turned by 15 degrees": _warped(x, degrees=15.0),
        "brighter by a tenth": (x + 0.2).clamp(-1, 1),
        "half the contrast": x * 0.5,
        "inverted": -x,
        "noise of 0.05": (x + 0.05 * noise).clamp(-1, 1),
        "noise of 0.2": (x + 0.2 * noise).clamp(-1, 1),
        "blur of 1 pixel": blurred(x, 1.0),
        "JPEG of quality 50": jpeg(x, 50),
        "half the size and back": resized(x, 0.5),
    }
    if x.shape[1] == 3:
        found |= {"without colour": greyed(x), "colours exchanged": x.roll(1, 1)}
    return {name: eight_bit(images) for name, images in found.items()}


def _warped(x: Tensor, *, across: float = 0.0, scale: float = 1.0, degrees: float = 0.0) -> Tensor:
    """Moved, zoomed or turned about the middle; what comes in at the border is a copy of it."""
    angle, aspect = math.radians(degrees), x.shape[2] / x.shape[3]
    matrix = torch.tensor(
        [
            [scale * math.cos(angle), -scale * math.sin(angle) * aspect, -across],
            [scale * math.sin(angle) / aspect, scale * math.cos(angle), 0.0],
        ]
    )
    grid = F.affine_grid(matrix.expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
