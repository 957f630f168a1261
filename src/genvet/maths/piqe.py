"""PIQE: how large a share of an image's busy blocks shows artefacts or noise; no reference, nothing fitted.

Venkatanath et al. 2015, "Blind image quality evaluation using perception based features". From 0, the best, to 100.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from genvet.core.errors import Unsupported
from genvet.maths.natural import grey, normalised

SMALLEST = 64
"""Images must be larger than this: below, a score rests on 16 blocks or fewer."""
BLOCK, SEGMENT = 16, 6
BUSY = 0.1
"""The variance of a block's normalised values from which on it is looked at."""
FLAT = 0.1
"""The deviation of a segment of a block's edge under which the block shows an artefact: a border, or a blur."""


def piqe(x: Tensor) -> Tensor:
    """Scores (n,) of images (n, 1 or 3, h, w) in [-1, 1]: 0 best, 100 worst; of their luminance (BT.601).

    Images without a busy block have 100. Raises Unsupported for images of 64 pixels a side or less.
    """
    if min(x.shape[2:]) <= SMALLEST:
        size = "x".join(map(str, x.shape[2:]))
        raise Unsupported(f"PIQE is for images larger than {SMALLEST} pixels a side, not {size}", hint="refit NIQE")
    light = grey(x)
    down, right = (-side % BLOCK for side in light.shape[1:])
    light = F.pad(light[:, None], (0, right, 0, down), mode="reflect")[:, 0]
    blocks = normalised(light)[0].unfold(1, BLOCK, BLOCK).unfold(2, BLOCK, BLOCK).flatten(1, 2)
    spread = blocks.flatten(2).var(2)
    busy = spread > BUSY
    # A block that shows both is counted as wholly distorted.
    distortion = _artefact(blocks) * (1 - spread) + _noise(blocks, spread) * spread
    return 100 * ((distortion * busy).sum(1) + 1) / (busy.sum(1) + 1)


def _artefact(blocks: Tensor) -> Tensor:
    """Whether 6 neighbouring values somewhere along a block's four edges hardly differ (n, blocks)."""
    edges = torch.stack([blocks[..., 0, :], blocks[..., -1, :], blocks[..., 0], blocks[..., -1]], -2)
    return (edges.unfold(-1, SEGMENT, 1).std(-1) < FLAT).flatten(2).any(2)


def _noise(blocks: Tensor, spread: Tensor) -> Tensor:
    """Whether the two columns in a block's middle vary as much as those around them, for noise alone does (n, blocks).

    Unlike MATLAB's program, which leaves one column of the middle among those around it.
    """
    half = BLOCK // 2
    middle = blocks[..., half - 1 : half + 1].flatten(2).std(2)
    around = torch.cat([blocks[..., : half - 1], blocks[..., half + 1 :]], -1).flatten(2).std(2)
    deviation, ratio = spread.sqrt(), middle / around.clamp_min(1e-12)
    beta = (deviation - ratio).abs() / torch.maximum(deviation, ratio).clamp_min(1e-12)
    return deviation > 2 * beta
