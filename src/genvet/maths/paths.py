"""Ways through a point: great circles around the origin, and straight lines."""

from __future__ import annotations

from torch import Tensor


def great_circle(z: Tensor, towards: Tensor, angles: Tensor) -> Tensor:
    """Points of the great circle through z (dim,) at these angles (k,) from it: (ways, k, dim).

    It runs in the plane of the origin, z, and one of the points `towards` (ways, dim), and begins in their direction.

    >>> import torch
    >>> z, other = torch.tensor([2.0, 0.0]), torch.tensor([[1.0, 1.0]])
    >>> great_circle(z, other, torch.tensor([0.0, torch.pi / 2])).round(decimals=4)[0].tolist()
    [[2.0, 0.0], [-0.0, 2.0]]
    """
    radius = z.norm()
    ahead = z / radius
    aside = towards - (towards @ ahead)[:, None] * ahead
    aside = aside / aside.norm(dim=1, keepdim=True)
    on_it: Tensor = radius * (angles.cos()[:, None] * ahead + angles.sin()[:, None] * aside[:, None])
    return on_it


def line(z: Tensor, towards: Tensor, shares: Tensor) -> Tensor:
    """Points at these shares (k,) of the straight way from z (dim,) to each of some others: (ways, k, dim)."""
    return z + shares[:, None] * (towards - z)[:, None]
