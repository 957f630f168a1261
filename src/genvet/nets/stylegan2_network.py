"""StyleGAN2 (Karras et al. 2020) and StyleGAN2-ADA generators, in plain operations, with NVlabs' tensor names.

Styles scale the activations, never the weights (section 2.2): conv(x * s, W) * d with d = 1 / |s W|, so that a batch
shares one weight and demodulation is one small product, s^2 @ sum_k W^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genvet.nets.style_mapping import GAIN, SLOPE, Linear, Mapping, MappingConfig, StyleNetwork, draw

Architecture = Literal["skip", "resnet", "orig"]
Noise = Literal["const", "none", "random"]
FAST = torch.channels_last
"""Of activations: from 16 pixels on, convolutions and filters run up to twice as fast on a CPU."""
_FIR = (1.0, 3.0, 3.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides which tensors there are, and which operations run on them."""

    mapping: MappingConfig
    size: int
    channels: int
    widths: tuple[int, ...]
    """Feature maps at 4, 8, ... size pixels."""
    architecture: Architecture = "skip"
    conv_clamp: float | None = None
    """Clamp of every layer's output, which NVlabs sets to 256 for half precision."""
    noise: bool = True
    """Whether the layers have noise inputs at all."""

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(4 << i for i in range(len(self.widths)))

    @property
    def num_ws(self) -> int:
        return 2 * len(self.widths)


class Network(StyleNetwork):
    """The mapping and the synthesis of one config."""

    def __init__(self, config: Config) -> None:
        super().__init__(Mapping(config.mapping), Synthesis(config), config.num_ws)


class Synthesis(nn.Module):
    """ws (n, num_ws, w_dim) -> images. A block's last w also serves the first layer of the next one."""

    noise: Noise = "const"
    """Where the layers' noise comes from: the stored maps, nowhere, or a new draw at every call."""
    precision: torch.dtype | None = None
    """Of activations and convolutions: float32, bfloat16 or float16; the weights' own where None. Styles and the
    image stay in float32."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.num_ws, self.sizes = config.num_ws, config.sizes
        for i, size in enumerate(config.sizes):
            self.add_module(f"b{size}", Block(config, i))

    def forward(self, ws: Tensor) -> Tensor:
        x, image = torch.empty(0, dtype=self.precision or self.get_submodule("b4.conv1").weight.dtype), None
        for i, size in enumerate(self.sizes):
            # b4 has one convolution, every other block two; each reads one w more, for its image.
            first = max(2 * i - 1, 0)
            x, image = self.get_submodule(f"b{size}")(x, image, ws[:, first : first + 3].float(), self.noise)
        assert image is not None
        return image


class Block(nn.Module):
    """One resolution: up by two, two convolutions, and an image beside them or at the very end."""

    resample_filter: Tensor

    def __init__(self, config: Config, index: int) -> None:
        super().__init__()
        size, width = config.sizes[index], config.widths[index]
        before, w_dim = config.widths[max(index - 1, 0)], config.mapping.w_dim
        self.architecture, self.first = config.architecture, index == 0
        self.register_buffer("resample_filter", fir())
        if self.first:
            self.const = draw(width, size, size)
        else:
            self.conv0 = Layer(before, width, size, config, up=True)
        self.conv1 = Layer(width, width, size, config, up=False)
        if config.architecture == "skip" or size == config.size:
            self.torgb = ToRGB(width, config.channels, w_dim, config.conv_clamp)
        if config.architecture == "resnet" and not self.first:
            self.skip = Skip(before, width)
            self.conv1.gain *= math.sqrt(0.5)

    def forward(self, x: Tensor, image: Tensor | None, ws: Tensor, noise: Noise) -> tuple[Tensor, Tensor | None]:
        used = 0
        if self.first:
            beside, x = None, self.const.to(x.dtype).expand(len(ws), -1, -1, -1).contiguous(memory_format=FAST)
        else:
            beside = self.skip(x) if hasattr(self, "skip") else None
            x, used = self.conv0(x, ws[:, 0], noise), 1
        x = self.conv1(x, ws[:, used], noise)
        if beside is not None:
            x = x + beside
        if image is not None:
            image = double(image, self.resample_filter)
        if hasattr(self, "torgb"):
            here = self.torgb(x, ws[:, used + 1])
            image = here if image is None else image + here
        return x, image


class Layer(nn.Module):
    """A modulated and demodulated convolution, noise, bias and leaky rectifier; `up` doubles the size first."""

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(self, inputs: int, outputs: int, size: int, config: Config, *, up: bool) -> None:
        super().__init__()
        self.affine = Linear(config.mapping.w_dim, inputs, bias=1.0)
        self.weight = draw(outputs, inputs, 3, 3)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("resample_filter", fir())
        if config.noise:
            self.register_buffer("noise_const", torch.randn(size, size))
            self.noise_strength = nn.Parameter(torch.zeros(()))
        self.up, self.size, self.clamp, self.gain = up, size, config.conv_clamp, GAIN

    def forward(self, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
        s, d = self.styles(w, half=x.dtype == torch.float16)
        x = x * s.to(x.dtype)[:, :, None, None]
        weight = self.weight.to(x.dtype)
        if self.up:
            x = smooth(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), self.resample_filter)
        else:
            x = F.conv2d(x, weight, padding=1)
        # The rectifier is homogeneous: its gain is taken into d and the offset, which saves one pass.
        offset = (self._noise(noise, len(x)) + self.bias.float()[:, None, None]) * self.gain
        offset = offset.to(x.dtype, memory_format=FAST)
        x = torch.addcmul(offset, x, (d * self.gain).to(x.dtype)[:, :, None, None])
        x = F.leaky_relu_(x, SLOPE)
        return x if self.clamp is None else x.clamp(-self.clamp * self.gain / GAIN, self.clamp * self.gain / GAIN)

    def styles(self, w: Tensor, *, half: bool = False) -> tuple[Tensor, Tensor]:
        """Scales of the inputs (n, inputs) and of the outputs (n, outputs)."""
        s = self.affine(w)
        if half:  # Demodulation takes any scale out again: this one keeps sums within the range of float16.
            s = s / (s.abs().amax(dim=1, keepdim=True).clamp_min(1e-8) * math.sqrt(self.weight[0].numel()))
        # On the fly, for weights may change between two calls and gradients must flow.
        squares = self.weight.float().square().sum(dim=(2, 3))
        return s, (s.square() @ squares.T + 1e-8).rsqrt()

    def _noise(self, kind: Noise, n: int) -> Tensor:
        """(1 or n, 1, size, size), or a zero."""
        if kind == "none" or not hasattr(self, "noise_strength"):
            return self.bias.new_zeros((1, 1, 1, 1), dtype=torch.float32)
        if kind == "random":
            noise = torch.randn(n, 1, self.size, self.size, device=self.bias.device)
        else:
            noise = self.noise_const.float()[None, None]
        return noise * self.noise_strength.float()


class ToRGB(nn.Module):
    """A modulated 1x1 convolution to the image, without demodulation."""

    def __init__(self, inputs: int, channels: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.weight = draw(channels, inputs, 1, 1)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        s = self.affine(w) / math.sqrt(x.shape[1])
        mixed = s[:, None] * self.weight.float()[None, :, :, 0, 0]  # small: (n, channels, inputs)
        image = (mixed.to(x.dtype) @ x.flatten(2)).float() + self.bias.float()[:, None]
        if self.clamp is not None:
            image = image.clamp(-self.clamp, self.clamp)
        return image.view(len(x), -1, *x.shape[2:])


class Skip(nn.Module):
    """The residual path of the resnet architecture: 1x1, then up by two."""

    resample_filter: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = draw(outputs, inputs, 1, 1)
        self.register_buffer("resample_filter", fir())

    def forward(self, x: Tensor) -> Tensor:
        scale = math.sqrt(0.5 / x.shape[1])
        return double(F.conv2d(x, self.weight.to(x.dtype) * scale), self.resample_filter)


def fir() -> Tensor:
    """The low-pass filter (4, 4) of every change of size; it sums to one."""
    taps = torch.tensor(_FIR) / sum(_FIR)
    return taps[:, None] * taps


def smooth(x: Tensor, filter: Tensor) -> Tensor:
    """What follows a transposed convolution: 2 h + 1 pixels a side to 2 h; gain 4 makes up for the zeros put in."""
    kernel = (filter.to(x.dtype) * 4).flip(0, 1).expand(x.shape[1], 1, *filter.shape)
    return F.conv2d(x, kernel, padding=1, groups=x.shape[1])


def double(x: Tensor, filter: Tensor) -> Tensor:
    """Twice the size, low-passed: every output pixel is a mean of four neighbours."""
    kernel = (filter.to(x.dtype) * 4).expand(x.shape[1], 1, *filter.shape)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])
