"""A feature space that needs no trained weights: convolutions drawn once and for all from a fixed seed."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from genvet.core.rng import Rng

NAME = "random-conv-1"
"""Of this space; another number would be another space, and its distances would not compare."""
CHANNELS = (24, 48, 32)
WINDOW = 256
"""Of the spectrogram by which sounds are looked at."""


@torch.inference_mode()
def random_features(x: Tensor, batch: int = 500) -> Tensor:
    """Images (n, c, h, w) or sounds (n, 1, t) in [-1, 1] -> (n, 128), on the CPU in float32."""
    return torch.cat([features(part) for part in x.float().cpu().split(batch)])


def features(x: Tensor, rng: Rng = Rng(0, NAME)) -> Tensor:  # noqa: B008 - it is frozen
    """The same with gradients, where x lies: float32, all at once; with another stream it is another space."""
    if x.ndim == 3:
        x = _spectrogram(x)
    for i, channels in enumerate(CHANNELS):
        shape = (channels, x.shape[1], 3, 3)
        weight = torch.randn(shape, generator=rng.fork(str(x.shape[1])).block(i)) * math.sqrt(2 / (9 * x.shape[1]))
        x = F.relu(F.conv2d(x, weight.to(x.device), padding=1))
        x = F.avg_pool2d(x, 2) if i < 2 and min(x.shape[2:]) > 3 else x
    return F.adaptive_avg_pool2d(x, 2).flatten(1)


def _spectrogram(x: Tensor) -> Tensor:
    """Log magnitudes (n, 1, frequency, time), about in [-1, 1]."""
    spectrum = torch.stft(x[:, 0], WINDOW, WINDOW // 2, window=torch.hann_window(WINDOW), return_complex=True)
    return spectrum.abs().clamp_min(1e-4).log10().div(2)[:, None]
