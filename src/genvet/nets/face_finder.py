"""Where a picture shows a face from the front: a cascade of local binary patterns that comes with scikit-image."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from genvet.core.errors import Unsupported

NAME = "scikit-image's LBP cascade of frontal faces"
MODULE, EXTRA = "skimage", "audit"
AGREEING, EAGER = 3, 1
"""Windows that agree on a place: usually, and where a face that is missed is worse than one that is none."""
FOUND, ALARMS = (338, 380), (14, 1000)
"""Of ORL's faces, and of CIFAR-10's pictures, of which few show one: with three windows agreeing, as
benchmarks/audit_detectors.py measures it."""
SHORTEST, LONGEST = 64, 480
"""Pixels that the longer side has at least and at most while faces are looked for."""
WINDOW = 24
"""Of the cascade: a face that is smaller is not found."""


class Box(NamedTuple):
    """Part of a picture, in its own pixels."""

    left: int
    top: int
    right: int
    bottom: int


def faces(x: Tensor, agreeing: int = AGREEING) -> list[Box]:
    """The faces in one picture (c, h, w) in [-1, 1]; windows `agreeing` on a place make one.

    Raises Unsupported where the extra is not installed.
    """
    height, width = x.shape[1:]
    scale = min(max(SHORTEST, max(height, width)), LONGEST) / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    if min(size) < WINDOW:
        return []
    grey = x.float().mean(0).clamp(-1, 1).add(1).mul(127.5)
    sized = F.interpolate(grey[None, None], size, mode="bilinear", antialias=True)[0, 0].round()
    found = _cascade().detect_multi_scale(
        img=np.ascontiguousarray(sized.numpy().astype(np.uint8)),
        scale_factor=1.1,
        step_ratio=1,
        min_size=(WINDOW, WINDOW),
        max_size=size,
        min_neighbor_number=agreeing,
    )
    return [_box(one, scale, height, width) for one in found]


def _box(found: dict[str, int], scale: float, height: int, width: int) -> Box:
    top, left = found["r"] / scale, found["c"] / scale
    bottom, right = top + found["height"] / scale, left + found["width"] / scale
    return Box(max(0, int(left)), max(0, int(top)), min(width, round(right)), min(height, round(bottom)))


@cache
def _cascade() -> Any:
    try:
        import skimage.data
        from skimage.feature import Cascade
    except ImportError:
        raise Unsupported("faces are not looked for", hint=f"pip install 'genvet[{EXTRA}]'") from None
    # The file lies in the package: nothing is fetched.
    return Cascade(str(Path(skimage.data.__file__).parent / "lbpcascade_frontalface_opencv.xml"))
