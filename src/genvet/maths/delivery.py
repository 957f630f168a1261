"""What happens to images on their way: eight bits, JPEG, another size and back, no colour. All in [-1, 1]."""

from __future__ import annotations

import io

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor


def eight_bit(x: Tensor) -> Tensor:
    """As a file keeps them: cut to the range, in 256 steps. Where real and generated differ here, nothing is learned.

    >>> float(eight_bit(torch.tensor(1.7)))
    1.0
    """
    return x.float().clamp(-1, 1).add(1).mul(127.5).round().div(127.5).sub(1)


def jpeg(x: Tensor, quality: int) -> Tensor:
    """Images (n, 1 or 3, h, w) written as JPEG and read again."""
    return torch.stack([_once(image, quality) for image in x]) if len(x) else x


def _once(image: Tensor, quality: int) -> Tensor:
    levels = image.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    mode = "L" if levels.shape[2] == 1 else "RGB"
    file = io.BytesIO()
    Image.frombytes(mode, (levels.shape[1], levels.shape[0]), levels.numpy().tobytes()).save(
        file, "JPEG", quality=quality
    )
    with Image.open(file) as read:
        data = torch.frombuffer(bytearray(read.convert(mode).tobytes()), dtype=torch.uint8)
    return data.view(levels.shape).permute(2, 0, 1).float().div(127.5).sub(1)


def resized(x: Tensor, share: float) -> Tensor:
    """To this share of the size, and back, with smoothing on the way down."""
    size = [max(1, round(s * share)) for s in x.shape[2:]]
    small = F.interpolate(x.float(), size, mode="bilinear", antialias=True, align_corners=False)
    return eight_bit(F.interpolate(small, x.shape[2:], mode="bilinear", align_corners=False))


def greyed(x: Tensor) -> Tensor:
    """Without colour, in as many channels as before."""
    weights = x.new_tensor([0.299, 0.587, 0.114]) if x.shape[1] == 3 else x.new_full((x.shape[1],), 1 / x.shape[1])
    return eight_bit((x.float() * weights[:, None, None]).sum(1, keepdim=True).expand_as(x))


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Through a Gaussian of so many pixels; 0 leaves it as it is."""
    if sigma <= 0:
        return x
    reach = max(1, round(3 * sigma))
    taps = (-torch.arange(-reach, reach + 1, dtype=torch.float32).square() / (2 * sigma**2)).exp()
    taps = (taps / taps.sum()).to(x)
    n, c, h, w = x.shape
    flat = F.pad(x.reshape(n * c, 1, h, w), (reach,) * 4, mode="replicate")
    soft = F.conv2d(F.conv2d(flat, taps[None, None, None]), taps[None, None, :, None])
    return soft.view(n, c, h, w)
