"""Parts of pictures made unreadable: blurred, or pixelated; and how often a picture is found again all the same."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from genvet.maths.duplicates import nearest

Part = tuple[int, int, int, int]
"""Left, top, right, bottom: pixels."""
MARGIN = 0.15
"""Of a part's side, to each side of it: hair and chin lie outside of what a detector marks."""


def widened(part: tuple[int, ...], height: int, width: int) -> Part:
    """With a margin, inside the picture.

    >>> widened((10, 10, 30, 30), 32, 100)
    (7, 7, 33, 32)
    """
    left, top, right, bottom = part
    x, y = round(MARGIN * (right - left)), round(MARGIN * (bottom - top))
    return max(0, left - x), max(0, top - y), min(width, right + x), min(height, bottom + y)


def blurred(x: Tensor, part: Part, strength: float) -> Tensor:
    """The picture (c, h, w) with that part under a Gaussian whose spread is `strength` of the part's shorter side."""
    left, top, right, bottom = part
    inside = x[:, top:bottom, left:right]
    sigma = max(1.0, strength * min(inside.shape[1:]))
    soft = inside
    for dim in (1, 2):
        radius = min(round(3 * sigma), inside.shape[dim] - 1)
        row = torch.arange(-radius, radius + 1, dtype=torch.float64)
        kernel = (-row.square() / (2 * sigma**2)).exp()
        soft = _along(soft, (kernel / kernel.sum()).to(x), dim)
    return _replaced(x, soft, part)


def _along(x: Tensor, kernel: Tensor, dim: int) -> Tensor:
    """Filtered along one side; what lies outside is taken to be as the border is."""
    radius = len(kernel) // 2
    padding = (0, 0, radius, radius) if dim == 1 else (radius, radius, 0, 0)
    shape = (1, 1, -1, 1) if dim == 1 else (1, 1, 1, -1)
    return F.conv2d(F.pad(x[:, None], padding, mode="replicate"), kernel.view(shape))[:, 0]


def pixelated(x: Tensor, part: Part, cells: int) -> Tensor:
    """The picture (c, h, w) with that part as so many cells along its shorter side."""
    left, top, right, bottom = part
    inside = x[:, top:bottom, left:right]
    height, width = inside.shape[1:]
    side = max(1, min(height, width) // cells)
    coarse = F.adaptive_avg_pool2d(inside[None], (max(1, height // side), max(1, width // side)))
    return _replaced(x, F.interpolate(coarse, (height, width), mode="nearest")[0], part)


def _replaced(x: Tensor, inside: Tensor, part: Part) -> Tensor:
    left, top, right, bottom = part
    made = x.clone()
    made[:, top:bottom, left:right] = inside
    return made


def found_again(rows: Tensor, originals: Tensor) -> Tensor:
    """Which rows (n, d) have their own original as their nearest one, (n,) bool: by chance, one in n."""
    return nearest(rows, originals)[1] == torch.arange(len(rows))


def told_apart(rows: Tensor, gallery: Tensor, person: Tensor) -> Tensor:
    """Whether each row's nearest in the gallery, but for the one of its own number, is of its own person: (n,) bool."""
    apart = torch.cdist(rows.double(), gallery.double()).fill_diagonal_(torch.inf)
    return person[apart.argmin(1)] == person


def by_guess(person: Tensor) -> float:
    """How often another picture at random is of the same person."""
    counts = person.bincount().double()
    n = float(counts.sum())
    return float((counts * (counts - 1)).sum() / (n * (n - 1))) if n > 1 else 0.0
