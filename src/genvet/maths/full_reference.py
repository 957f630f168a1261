"""How far an image is from its clean original, for who holds it: PSNR and SSIM."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW, SPREAD = 11, 1.5
"""Of SSIM's Gaussian window, in pixels; it shrinks with images that are smaller."""
C1, C2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
"""(K L)^2 for the range L = 2 of images from -1 to 1."""
LEAST = 1e-12
"""Mean square below which images are equal: 126 dB."""


def psnr(x: Tensor, clean: Tensor) -> Tensor:
    """Peak signal over noise, in dB, of images (n, *shape) in [-1, 1]: (n,).

    >>> psnr(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.2))
    tensor([20.])
    """
    noise = (x - clean).square().flatten(1).mean(1)
    return 10 * (4 / noise.clamp_min(LEAST)).log10()


def ssim(x: Tensor, clean: Tensor) -> Tensor:
    """Structural similarity of images (n, c, h, w) in [-1, 1], the mean over places and channels: (n,), 1 at most.

    Wang et al. 2004, eq. 13, with their window and constants; places whose window would leave the image are left out.
    """
    size = min(WINDOW, *(side - (side + 1) % 2 for side in x.shape[2:]))
    row = torch.arange(size, dtype=torch.float64, device=x.device) - size // 2
    row = (-row.square() / (2 * SPREAD**2)).exp()
    window = (row / row.sum())[:, None] * (row / row.sum())

    def local(values: Tensor) -> Tensor:
        weighted = F.conv2d(values.flatten(0, 1)[:, None], window[None, None])
        return weighted.view(*x.shape[:2], *weighted.shape[2:])

    a, b = x.double(), clean.double()
    mean_a, mean_b = local(a), local(b)
    var_a, var_b = local(a * a) - mean_a.square(), local(b * b) - mean_b.square()
    both = local(a * b) - mean_a * mean_b
    alike = (2 * mean_a * mean_b + C1) * (2 * both + C2)
    every = alike / ((mean_a.square() + mean_b.square() + C1) * (var_a + var_b + C2))
    mean: Tensor = every.flatten(1).mean(1)
    return mean
