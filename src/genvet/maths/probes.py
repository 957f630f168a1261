"""Images that know nothing of any data set: smooth random shapes of several sizes and contrasts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def smooth_shapes(n: int, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:  # noqa: TID251 - the type alone
    """n samples (n, *shape) in [-1, 1]: noise on grids of 2 to 9 cells a side, enlarged and more or less saturated."""
    images = []
    for i in range(n):
        cells, contrast = 2 + i % 8, (0.5, 1.0, 3.0)[i % 3]
        coarse = torch.randn(1, shape[0], *(cells,) * (len(shape) - 1), generator=rng)
        mode = "bicubic" if len(shape) == 3 else "linear"
        images.append(F.interpolate(coarse, size=shape[1:], mode=mode, align_corners=False).mul(contrast).tanh())
    return torch.cat(images)
