"""Cut-outs of images, brought back to their size: what survives them is not an accident of single pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cropped(x: Tensor, least: float, drawn: Tensor) -> Tensor:
    """A square of each image (n, c, h, w), of `least` to 1 of its area, in its size again; with gradients.

    `drawn` (n, 3) in [0, 1) says how large, and where from the left and from above: 1 would be the whole image.

    >>> x = torch.rand(2, 1, 8, 8)
    >>> bool(torch.allclose(cropped(x, 1.0, torch.rand(2, 3)), x, atol=1e-5))
    True
    """
    side = (least + (1 - least) * drawn[:, 0]).sqrt()
    middle = (1 - side)[:, None] * (2 * drawn[:, 1:] - 1)
    theta = torch.zeros(len(x), 2, 3).to(x)
    theta[:, 0, 0] = theta[:, 1, 1] = side.to(x)
    theta[:, :, 2] = middle.to(x)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
