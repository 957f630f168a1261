"""StyleGAN (Karras et al. 2019): adaptive instance normalisation, in plain operations.

A block doubles by nearest neighbours, convolves and blurs. Doubling and convolution are one transposed convolution with
a 4x4 kernel: 16 products where the textbook's form takes 36.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genvet.nets.style_mapping import GAIN, SLOPE, Linear, Mapping, MappingConfig, StyleNetwork, draw

Noise = Literal["const", "none", "random"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides which tensors there are, and which operations run on them."""

    mapping: MappingConfig
    size: int
    """Of the images: blocks beyond it belong to the file and are not run."""
    channels: int
    widths: tuple[int, ...]
    """Feature maps at 4, 8, ... pixels."""
    epsilon: float = 1e-8
    """Of the instance normalisation."""
    bias_first: bool = False
    """Whether the bias comes before the blur, which matters at the border."""

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(4 << i for i in range(len(self.widths)))

    @property
    def num_ws(self) -> int:
        return 2 * (self.size.bit_length() - 2)


class Network(StyleNetwork):
    """The mapping and the synthesis of one config."""

    def __init__(self, config: Config) -> None:
        super().__init__(Mapping(config.mapping, early=True), Synthesis(config), config.num_ws)


class Synthesis(nn.Module):
    """ws (n, num_ws, w_dim) -> images; two w for each resolution."""

    noise: Noise = "const"
    """Where the layers' noise comes from: the stored maps, nowhere, or a new draw at every call."""
    precision: torch.dtype | None = None
    """Of activations and convolutions; the weights' own where None. Styles and the image stay in float32."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.num_ws, self.size = config.num_ws, config.size
        for i, size in enumerate(config.sizes):
            self.add_module(f"b{size}", Block(config, i))

    def forward(self, ws: Tensor) -> Tensor:
        ws, size = ws.float(), 4
        x = self.get_submodule("b4").const.expand(len(ws), -1, -1, -1)
        x = x.to(self.precision or self.get_submodule("b4.conv1").weight.dtype)
        for i in range(self.num_ws // 2):
            size = 4 << i
            x = self.get_submodule(f"b{size}")(x, ws[:, 2 * i : 2 * i + 2], self.noise)
        image: Tensor = self.get_submodule(f"b{size}.torgb")(x)
        return image


class Block(nn.Module):
    """One resolution. Its image layer was used while the network grew, and is only at the very end afterwards."""

    def __init__(self, config: Config, index: int) -> None:
        super().__init__()
        size, width, before = config.sizes[index], config.widths[index], config.widths[max(index - 1, 0)]
        if index == 0:
            self.const = draw(width, size, size)
        self.conv0 = Layer(None if index == 0 else before, width, size, config)
        self.conv1 = Layer(width, width, size, config, up=False)
        self.torgb = ToRGB(width, config.channels)

    def forward(self, x: Tensor, ws: Tensor, noise: Noise) -> Tensor:
        x = self.conv0(x, ws[:, 0], noise)
        x = self.conv1(x, ws[:, 1], noise)
        return x


class Layer(nn.Module):
    """Convolution (none where `inputs` is None), noise, bias, leaky rectifier, instance normalisation, style."""

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(self, inputs: int | None, outputs: int, size: int, config: Config, *, up: bool = True) -> None:
        super().__init__()
        self.up, self.size = up and inputs is not None, size
        self.epsilon, self.bias_first = config.epsilon, config.bias_first
        self.weight = None if inputs is None else draw(outputs, inputs, 3, 3)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_weight = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise_const", torch.randn(size, size))
        self.style = Linear(config.mapping.w_dim, 2 * outputs)
        if self.up:
            self.register_buffer("resample_filter", blur())

    def forward(self, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
        x, bias = self._convolved(x), self.bias.to(x.dtype)[:, None, None]
        if self.bias_first:
            x = x + bias
        if self.up:
            kernel = self.resample_filter.to(x.dtype).expand(x.shape[1], 1, 3, 3)
            x = F.conv2d(x, kernel, padding=1, groups=x.shape[1])
        if noise != "none":
            x = x + (self.noise_weight[:, None, None] * self._noise(noise, len(x))).to(x.dtype)
        x = F.leaky_relu(x if self.bias_first else x + bias, SLOPE)
        return self._styled(x, w)

    def _convolved(self, x: Tensor) -> Tensor:
        if self.weight is None:
            return x
        weight = self.weight.to(x.dtype) * (GAIN / math.sqrt(self.weight[0].numel()))
        if not self.up:
            return F.conv2d(x, weight, padding=1)
        wide = F.pad(weight.flip(2, 3), (1, 1, 1, 1))
        wide = wide[..., 1:, :] + wide[..., :-1, :]
        wide = wide[..., 1:] + wide[..., :-1]
        return F.conv_transpose2d(x, wide.transpose(0, 1), stride=2, padding=1)

    def _noise(self, kind: Noise, n: int) -> Tensor:
        if kind == "random":
            return torch.randn(n, 1, self.size, self.size, device=self.bias.device)
        return self.noise_const[None, None]

    def _styled(self, x: Tensor, w: Tensor) -> Tensor:
        """Mean 0 and variance 1 for each map of each sample, then the scale and shift that w asks for: one pass."""
        scale, shift = self.style(w).chunk(2, dim=1)
        variance, mean = torch.var_mean(x.float(), dim=(2, 3), correction=0)
        factor = (scale + 1) * (variance + self.epsilon).rsqrt()
        offset = shift - factor * mean
        return torch.addcmul(offset.to(x.dtype)[:, :, None, None], x, factor.to(x.dtype)[:, :, None, None])


class ToRGB(nn.Module):
    """A plain 1x1 convolution to the image."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.weight = draw(channels, inputs, 1, 1)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight.to(x.dtype) / math.sqrt(x.shape[1])).float() + self.bias.float()[:, None, None]


def blur() -> Tensor:
    """The low-pass filter (3, 3) behind every doubling; it sums to one."""
    taps = torch.tensor([0.25, 0.5, 0.25])
    return taps[:, None] * taps


def plain() -> Tensor:
    """No filter, in the same shape: for networks that were trained without one."""
    return F.pad(torch.ones(1, 1), (1, 1, 1, 1))
