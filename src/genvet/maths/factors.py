"""What an image shows that can be measured without trained weights: light, colour, sharpness, symmetry, place, size."""

from __future__ import annotations

import torch
from torch import Tensor

from genvet.core.errors import BadInput

GREY = ("brightness", "contrast", "sharpness", "fine detail", "symmetry", "centroid x", "centroid y", "area")
COLOUR = ("saturation", "hue cosine", "hue sine")
MEANING = {
    "brightness": "mean luminance, from 0 (black) to 1 (white)",
    "contrast": "standard deviation of the luminance",
    "sharpness": "root mean square step between neighbouring pixels, over the contrast",
    "fine detail": "share of the spectrum's energy beyond half the highest frequency, the mean left out",
    "symmetry": "correlation of the luminance with its mirror image, left for right",
    "centroid x": "centre of what differs from the border, from -1 (left) to 1 (right)",
    "centroid y": "the same, from -1 (top) to 1 (bottom)",
    "area": "share of the pixels whose luminance differs from the border's by more than a tenth",
    "saturation": "mean difference between the largest and the smallest of red, green and blue",
    "hue cosine": "mean hue, weighted by its strength: 1 is red, -1 is cyan",
    "hue sine": "the same: 1 lies between yellow and green, -1 between blue and violet",
}
"""In words, for a reader of a table."""
SMALLEST = 4
"""Pixels a side: below, there are neither steps nor frequencies to speak of."""
_DIFFERS = 0.1
_NOTHING = 1e-6
"""Below this, there is nothing to divide by: a flat image is perfectly symmetric, and has no sharpness."""


def names(channels: int) -> tuple[str, ...]:
    """Of the columns that `factors` gives for images of so many channels.

    >>> "saturation" in names(3), "saturation" in names(1)
    (True, False)
    """
    return GREY + COLOUR if channels == 3 else GREY


def factors(x: Tensor) -> Tensor:
    """Images (n, c, h, w) in [-1, 1], clipped as a viewer would -> (n, factors), named by `names`; on their device.

    What each factor means is told by `MEANING`. Without three channels there is no colour, and the luminance is the
    mean of the channels. Raises BadInput for what is no image.
    """
    if x.ndim != 4 or min(x.shape[2:]) < SMALLEST:
        side = f"images (n, channels, height, width) of {SMALLEST} pixels a side or more"
        raise BadInput("factors are those of images", expected=side, got=str(tuple(x.shape)))
    if not len(x):  # which the Fourier transform does not take
        return x.new_empty((0, len(names(x.shape[1]))), dtype=torch.float32)
    light = x.float().clamp(-1, 1).add(1).div(2)
    red_green_blue = light.new_tensor([0.299, 0.587, 0.114])
    grey = (light * red_green_blue[:, None, None]).sum(1) if x.shape[1] == 3 else light.mean(1)
    columns = [*_of_light(grey), *_of_place(grey), *(_of_colour(light) if x.shape[1] == 3 else ())]
    return torch.stack(columns, dim=1)


def _of_light(grey: Tensor) -> tuple[Tensor, ...]:
    """Brightness, contrast, sharpness, fine detail, symmetry of a luminance (n, h, w)."""
    mean = grey.mean((1, 2))
    apart = grey - mean[:, None, None]
    variance = apart.square().mean((1, 2))
    contrast = variance.sqrt()
    steps = grey.diff(dim=1).square().mean((1, 2)) + grey.diff(dim=2).square().mean((1, 2))
    mirrored = (apart * apart.flip(2)).mean((1, 2))
    symmetry = torch.where(variance > _NOTHING**2, mirrored / variance.clamp_min(_NOTHING**2), 1.0)
    return mean, contrast, _share(steps.sqrt(), contrast), _fine(apart), symmetry


def _fine(apart: Tensor) -> Tensor:
    """Energy beyond half the highest frequency along a side, as a share of all; of a luminance without its mean."""
    height, width = apart.shape[1:]
    energy = torch.fft.fft2(apart).abs().square()
    down, across = (torch.fft.fftfreq(size, device=apart.device) for size in (height, width))
    high = torch.hypot(down[:, None], across[None, :]) > 0.25
    return _share((energy * high).sum((1, 2)), energy.sum((1, 2)))


def _of_place(grey: Tensor) -> tuple[Tensor, ...]:
    """Centroid x and y, and area, of what differs from the median of the border."""
    border = torch.cat([grey[:, 0], grey[:, -1], grey[:, 1:-1, 0], grey[:, 1:-1, -1]], dim=1)
    mass = (grey - border.median(1).values[:, None, None]).abs()
    whole = mass.sum((1, 2))
    down, across = (torch.linspace(-1, 1, size, device=grey.device) for size in grey.shape[1:])
    x, y = (mass * across).sum((1, 2)), (mass * down[:, None]).sum((1, 2))
    return _share(x, whole), _share(y, whole), (mass > _DIFFERS).float().mean((1, 2))


def _of_colour(light: Tensor) -> tuple[Tensor, ...]:
    """Saturation, and the mean hue as a point in the disc: an angle would jump where red meets red again."""
    red, green, blue = light.unbind(1)
    saturation = (light.amax(1) - light.amin(1)).mean((1, 2))
    towards, across = red - (green + blue) / 2, (green - blue) * 3**0.5 / 2
    strength = torch.hypot(towards, across).sum((1, 2))
    return saturation, _share(towards.sum((1, 2)), strength), _share(across.sum((1, 2)), strength)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole; 0 where there is nothing."""
    return torch.where(whole > _NOTHING, part / whole.clamp_min(_NOTHING), 0.0)
