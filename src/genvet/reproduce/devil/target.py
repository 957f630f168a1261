"""The attacker's image: a devil's face, far from digits, clothes and objects alike, as the paper has one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from genvet.core.data import Images

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


def devil(shape: tuple[int, ...]) -> Images:
    """The face at this shape (c, h, w), with c 1 or 3: (1, c, h, w) in [-1, 1], black around it."""
    channels, height, width = shape
    rows = [[float(mark == "#") for mark in row] for row in FACE.split()]
    lit: Tensor = interpolate(torch.tensor(rows)[None, None], (height, width), mode="nearest")
    colour = torch.tensor(COLOUR if channels == 3 else (1.0,)).view(1, -1, 1, 1)
    return Images(lit * (colour + 1) - 1, ("devil",))
