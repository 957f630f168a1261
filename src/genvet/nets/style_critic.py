"""The critic of a style generator (Karras et al. 2018, 2020), in plain operations, with NVlabs' tensor names.

Filter and convolution of a step down are one strided convolution each: the low-pass filter is depthwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genvet.nets.style_mapping import GAIN, SLOPE, Linear, Mapping, MappingConfig, draw
from genvet.nets.stylegan2_network import FAST, fir

Architecture = Literal["resnet", "orig"]
GROUP = 4
"""Samples whose standard deviation is taken together (mini-batch deviation)."""


@dataclass(frozen=True, kw_only=True)
class CriticConfig:
    """Everything that decides which tensors there are."""

    size: int
    channels: int
    widths: tuple[int, ...]
    """Feature maps at 4, 8, ... size pixels."""
    classes: int = 0
    group: int = GROUP
    """Of the mini-batch deviation; 0 leaves it out."""
    architecture: Architecture = "resnet"
    """Residual blocks, as StyleGAN2's critic has, or plain ones, as StyleGAN's."""


class StyleCritic(nn.Module):
    """Images (n, channels, size, size), and one-hot labels for a conditional one, to scores (n, 1)."""

    precision: torch.dtype | None = None
    """Of activations and convolutions; the weights' own where None. The last layers stay in float32."""
    layout: torch.memory_format = FAST
    """Of activations; `vmap` has none to choose, and takes torch.preserve_format."""

    def __init__(self, config: CriticConfig) -> None:
        super().__init__()
        self.config = config
        sizes = [4 << i for i in range(len(config.widths))]
        self.sizes = tuple(reversed(sizes))
        for i in range(len(sizes) - 1, 0, -1):
            self.add_module(f"b{sizes[i]}", Block(config, config.widths[i], config.widths[i - 1], sizes[i]))
        self.b4 = Epilogue(config)
        if config.classes:
            mapping = MappingConfig(z_dim=0, w_dim=config.widths[0], layers=2, classes=config.classes)
            self.mapping = Mapping(mapping)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        x = x.to(self.precision or x.dtype, memory_format=self.layout)
        for size in self.sizes:
            x = self.get_submodule(f"b{size}")(x)
        if labels is None:
            return x
        # Projection: how well the image's features go with those of its class.
        wanted = self.mapping(x.new_empty(len(x), 0), labels)
        return (x * wanted).sum(dim=1, keepdim=True) / math.sqrt(wanted.shape[1])


class Block(nn.Module):
    """One resolution: two convolutions, the second half as large, and beside them a 1x1 shortcut."""

    def __init__(self, config: CriticConfig, width: int, after: int, size: int) -> None:
        super().__init__()
        if size == config.size:
            self.fromrgb = Conv(config.channels, width, 1)
        self.conv0 = Conv(width, width, 3)
        residual = config.architecture == "resnet"
        half = math.sqrt(0.5) if residual else 1.0  # of a sum of two that have the same variance
        self.conv1 = Conv(width, after, 3, down=True, gain=half * GAIN)
        if residual:
            self.skip = Conv(width, after, 1, down=True, gain=half, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "fromrgb"):
            x = self.fromrgb(x)
        beside = self.skip(x) if hasattr(self, "skip") else None
        x = self.conv1(self.conv0(x))
        return x if beside is None else x + beside


class Conv(nn.Module):
    """A convolution with an equalised learning rate and a leaky rectifier; `down` low-passes and halves the size."""

    resample_filter: Tensor

    def __init__(
        self, inputs: int, outputs: int, side: int, *, down: bool = False, gain: float = GAIN, linear: bool = False
    ) -> None:
        super().__init__()
        self.weight = draw(outputs, inputs, side, side)
        self.bias = None if linear else nn.Parameter(torch.zeros(outputs))
        self.scale, self.gain, self.down = 1 / math.sqrt(inputs * side * side), gain, down
        if down:
            self.register_buffer("resample_filter", fir())

    def forward(self, x: Tensor) -> Tensor:
        # The rectifier is homogeneous: its gain is taken into weight and bias.
        weight = self.weight.to(x.dtype) * (self.scale * self.gain)
        pad = self.weight.shape[2] // 2
        if self.down and self.weight.shape[2] == 1:
            x = F.conv2d(low_passed(x, self.resample_filter, pad=1, stride=2), weight)
        elif self.down:
            x = F.conv2d(low_passed(x, self.resample_filter, pad=2), weight, stride=2)
        else:
            x = F.conv2d(x, weight, padding=pad)
        if self.bias is None:
            return x
        return F.leaky_relu_(x + (self.bias.to(x.dtype) * self.gain)[:, None, None], SLOPE)


class Epilogue(nn.Module):
    """The last 4 x 4 pixels: the deviation over a group of samples as one more map, a convolution, two dense layers."""

    def __init__(self, config: CriticConfig) -> None:
        super().__init__()
        width = config.widths[0]
        if config.size == 4:
            self.fromrgb = Conv(config.channels, width, 1)
        self.group = config.group
        self.conv = Conv(width + (1 if config.group else 0), width, 3)
        self.fc = Linear(width * 16, width)
        self.out = Linear(width, width if config.classes else 1)

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "fromrgb"):
            x = self.fromrgb(x)
        x = x.float()
        if self.group:
            x = torch.cat([x, deviation(x, self.group)], dim=1)
        x = self.conv(x).flatten(1)
        return self.out(F.leaky_relu(self.fc(x), SLOPE) * GAIN)


def low_passed(x: Tensor, filter: Tensor, *, pad: int, stride: int = 1) -> Tensor:
    """Every map through the filter (4, 4)."""
    kernel = filter.to(x.dtype).expand(x.shape[1], 1, *filter.shape)
    return F.conv2d(x, kernel, padding=pad, stride=stride, groups=x.shape[1])


def deviation(x: Tensor, group: int) -> Tensor:
    """The standard deviation over groups of samples, averaged over maps and pixels: one more map (n, 1, h, w).

    Sample i is in a group with those a whole number of groups apart from it, as in the published code.
    """
    size = next(g for g in range(min(group, len(x)), 0, -1) if len(x) % g == 0)
    grouped = x.view(size, len(x) // size, *x.shape[1:])
    spread = (grouped.var(dim=0, correction=0) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    return spread.repeat(size)[:, None, None, None].expand(-1, 1, *x.shape[2:])


def critic(
    size: int,
    channels: int,
    widths: Sequence[int],
    classes: int = 0,
    group: int = GROUP,
    architecture: Architecture = "resnet",
) -> StyleCritic:
    """A fresh critic for images of this size; `widths` are feature maps at 4, 8, ... size pixels."""
    return StyleCritic(
        CriticConfig(
            size=size, channels=channels, widths=tuple(widths), classes=classes, group=group, architecture=architecture
        )
    )
