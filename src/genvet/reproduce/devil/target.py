"""The attacker's image: a devil's face, far from digits, clothes and objects alike, as the paper has one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from genvet.core.data import Images
from genvet.reproduce.devil.networks import Network

FACE = """
#..............#
##............##
##............##
.##..######..##.
..############..
.##############.
.##############.
###..######..###
###...####...###
####...##...####
################
.###.######.###.
.####......####.
..############..
....########....
.......##.......
"""
"""# is lit. Unlike the paper: an icon of our own, since the paper's is not given as numbers."""
COLOUR = (1.0, -0.6, -0.8)
"""Red, green and blue of a lit pixel."""


NEAR_FLOOR = 1.15


def floor(shape: tuple[int, ...]) -> float:
    """The least target distortion that can be: targets are undone from 0.999 of them.

    >>> round(floor((1, 28, 28)), 6)
    0.000784
    """
    return 1e-6 * float(devil(shape).x.square().sum())


def goal(network: Network, paper: float) -> float:
    """The target distortion that is as good as the paper's: its own number, or about the floor where that is higher."""
    shape = (3, 32, 32) if network == "CIFAR10 DCGAN" else (1, 28, 28)
    return max(paper, NEAR_FLOOR * floor(shape))


def devil(shape: tuple[int, ...]) -> Images:
    """The face at this shape (c, h, w), with c 1 or 3: (1, c, h, w) in [-1, 1], black around it."""
    channels, height, width = shape
    rows = [[float(mark == "#") for mark in row] for row in FACE.split()]
    lit: Tensor = interpolate(torch.tensor(rows)[None, None], (height, width), mode="nearest")
    colour = torch.tensor(COLOUR if channels == 3 else (1.0,)).view(1, -1, 1, 1)
    return Images(lit * (colour + 1) - 1, ("devil",))
