"""PGGAN (Karras et al. 2017): networks that grow, with an equalised learning rate and pixel norm."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.modelfile import Part
from genvet.nets.candidate import Candidate
from genvet.nets.matching import built
from genvet.nets.sngan import sides
from genvet.nets.style_critic import GROUP, Conv, deviation
from genvet.nets.style_mapping import GAIN, SLOPE, Linear, unit_moment


class Growing(nn.Module):
    """A network that is used up to a level, whose newest block counts with weight `alpha`. Whole, and so saved."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.sides = sides(size)
        self.level, self.alpha = len(self.sides) - 1, 1.0

    def grow(self, level: int, alpha: float) -> None:
        """Use the first `level` + 1 resolutions from now on."""
        self.level, self.alpha = level, alpha


class Network(Growing):
    """Latents (n, latent) -> images (n, channels, side, side), about in [-1, 1] and not clipped."""

    def __init__(self, latent: int, widths: Sequence[int], size: int, channels: int) -> None:
        super().__init__(size)
        start = self.sides[0]
        # Unlike StyleGAN's, the gain of the first layer is a quarter of He's, as published: z comes normalised.
        self.dense = Linear(latent, widths[0] * start * start, gain=GAIN / 4)
        self.fold = nn.Unflatten(1, (widths[0], start, start))
        self.conv = Conv(widths[0], widths[0], 3)
        self.blocks = nn.ModuleList(Up(a, b) for a, b in pairwise(widths))
        self.torgb = nn.ModuleList(Conv(width, channels, 1, gain=1.0, linear=True) for width in widths)
        self.shift = nn.Parameter(torch.zeros(len(widths), channels, 1, 1))

    def forward(self, z: Tensor) -> Tensor:
        x = pixel_norm(F.leaky_relu(self.fold(self.dense(unit_moment(z))), SLOPE))
        x, before = pixel_norm(self.conv(x)), None
        for i in range(self.level):
            before, x = x, self.blocks[i](x)
        image = self._image(x, self.level)
        if before is None or self.alpha == 1:
            return image
        return torch.lerp(doubled(self._image(before, self.level - 1)), image, self.alpha)

    def _image(self, x: Tensor, level: int) -> Tensor:
        image: Tensor = self.torgb[level](x) + self.shift[level]
        return image


class Up(nn.Module):
    """One resolution more: doubled, and two convolutions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv0, self.conv1 = Conv(inputs, outputs, 3), Conv(outputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        return pixel_norm(self.conv1(pixel_norm(self.conv0(doubled(x)))))


class Critic(Growing):
    """Images (n, channels, side, side) of the level at hand -> one score each, (n, 1)."""

    def __init__(self, widths: Sequence[int], size: int, channels: int) -> None:
        super().__init__(size)
        self.fromrgb = nn.ModuleList(Conv(channels, width, 1) for width in widths)
        self.blocks = nn.ModuleList(Down(b, a) for a, b in pairwise(widths))
        self.conv = Conv(widths[0] + 1, widths[0], 3)
        self.dense = Linear(widths[0] * self.sides[0] ** 2, widths[0])
        self.score = Linear(widths[0], 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.fromrgb[self.level](x)
        for i in reversed(range(self.level)):
            h = self.blocks[i](h)
            if i == self.level - 1 and self.alpha < 1:
                h = torch.lerp(self.fromrgb[i](F.avg_pool2d(x, 2)), h, self.alpha)
        h = self.conv(torch.cat([h, deviation(h, GROUP)], 1))
        scores: Tensor = self.score(F.leaky_relu(self.dense(h.flatten(1)), SLOPE) * GAIN)
        return scores


class Down(nn.Module):
    """One resolution less: two convolutions, and the mean of four pixels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv0, self.conv1 = Conv(inputs, inputs, 3), Conv(inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv1(self.conv0(x)), 2)


def pixel_norm(x: Tensor) -> Tensor:
    """The features of each pixel, scaled so that the mean of their squares is 1."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def doubled(x: Tensor) -> Tensor:
    """Twice the sides, by nearest neighbours."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def widths_of(capacity: int, size: int) -> list[int]:
    """Feature maps at each resolution from the smallest: half as many each time, from 4 times the capacity on.

    >>> widths_of(16, 32)
    [64, 64, 32, 16]
    """
    levels = len(sides(size))
    return [max(capacity << min(levels - 1 - i, 2), 1) for i in range(levels)]


def build(
    latent: int = 128, capacity: int = 16, size: int = 28, channels: int = 1, widths: Sequence[int] | None = None
) -> Generator:
    """A fresh PGGAN, all grown; `capacity` is the width of its largest maps."""
    hidden = widths_of(capacity, size) if widths is None else list(widths)
    if min(latent, capacity, size, channels, *hidden) < 1 or len(hidden) != len(sides(size)):
        raise BadInput("no such pggan", expected="positive numbers", got=f"{latent=}, {size=}, widths {hidden}")
    config: dict[str, Any] = {"latent": latent, "capacity": capacity, "size": size, "channels": channels}
    if widths is not None:
        config["widths"] = hidden
    return Generator(
        module=Network(latent, hidden, size, channels),
        latent=Latent(latent, "sphere"),
        shape=(channels, size, size),
        name="pggan",
        metadata={"genvet.net": "pggan", "genvet.config": json.dumps(config)},
    )


def critic(capacity: int = 16, size: int = 28, channels: int = 1) -> Critic:
    """Its opponent, with as many maps at each resolution."""
    return Critic(widths_of(capacity, size), size, channels)


def hypotheses(part: Part, options: Mapping[str, str] | None = None) -> Iterator[Candidate]:
    """Our own network by its names; its sizes follow from the shapes."""
    shapes = {key: tuple(spec.shape) for key, spec in part.tensors.items()}
    levels = len({key.split(".")[1] for key in shapes if key.startswith("torgb.")})
    rgb = [shapes.get(f"torgb.{i}.weight", ()) for i in range(levels)]
    dense = shapes.get("dense.weight", ())
    if options or len(dense) != 2 or not 1 < levels < 12 or any(len(s) != 4 or min(s) < 1 for s in rgb):
        return
    widths, start = [s[1] for s in rgb], round((dense[0] / rgb[0][1]) ** 0.5)
    config = {"latent": dense[1], "capacity": widths[-1], "size": start << (levels - 1), "channels": rgb[0][0]}
    try:
        if widths != widths_of(widths[-1], config["size"]):
            config["widths"] = widths  # type: ignore[assignment]
        with torch.device("meta"):
            expected = build(**config).module.state_dict()  # type: ignore[arg-type]
    except BadInput:
        return
    if {key: tuple(t.shape) for key, t in expected.items()} == shapes:
        explanation = "GenVet's own PGGAN, by its names"
        yield Candidate(
            net="pggan", layout="genvet", score=1.0, explanation=explanation, build=partial(built, build, config)
        )
