"""z -> w, the same in StyleGAN 1, 2 and 3: normalise, then fully connected layers with an equalised learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from genvet.core.generator import spread
from genvet.core.latent import Latent
from genvet.core.rng import Rng

HALF = (torch.bfloat16, torch.float16)
SLOPE = 0.2
"""Of the leaky rectifier in every style generator."""
GAIN = math.sqrt(2)
"""Keeps the variance behind that rectifier."""


def unit_moment(x: Tensor) -> Tensor:
    """Scale each row of (n, dim) so that the mean of its squares is 1. Zero stays zero."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def draw(*shape: int, scale: float = 1.0) -> nn.Parameter:
    """A normal parameter, from torch's own stream: see `seeded`."""
    return nn.Parameter(torch.randn(*shape) * scale)


def seeded(rng: Rng | None) -> AbstractContextManager[None]:
    """Let torch's own stream be that of `rng` for a while; as it is, where there is none."""
    return rng.seeded() if rng else nullcontext()


class Linear(nn.Module):
    """A fully connected layer that scales its weight at run time (equalised learning rate)."""

    def __init__(self, inputs: int, outputs: int, *, bias: float = 0.0, rate: float = 1.0, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = draw(outputs, inputs, scale=1 / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.scale = gain * rate / math.sqrt(inputs)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """In the input's own precision: scaling the small side is cheaper than scaling the weight."""
        return F.linear(x * self.scale, self.weight.to(x.dtype), self.bias.to(x.dtype) * self.rate)


@dataclass(frozen=True, kw_only=True)
class MappingConfig:
    """The sizes of a mapping network; `hidden` and `embed` are w_dim unless a file says otherwise."""

    z_dim: int = 512
    w_dim: int = 512
    layers: int = 8
    classes: int = 0
    hidden: int = 0
    embed: int = 0
    rate: float = 0.01
    """Learning-rate multiplier, which also scales the weights at run time."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Input and output of every layer: one number more than there are layers."""
        first = self.z_dim + (self.embed or self.w_dim if self.classes else 0)
        return (first, *[self.hidden or self.w_dim] * (self.layers - 1), self.w_dim)

    @property
    def latent(self) -> Latent:
        return Latent(self.z_dim, "sphere", self.classes)


class Mapping(nn.Module):
    """z (n, z_dim), and one-hot labels (n, classes) for a conditional network, to w (n, w_dim).

    The gain of sqrt 2 comes behind the rectifier, or `early`, as in the first StyleGAN, with the weights.
    """

    w_avg: Tensor

    def __init__(self, config: MappingConfig, *, early: bool = False) -> None:
        super().__init__()
        self.layers, self.w_dim = config.layers, config.w_dim
        gain, self.gain = (GAIN, 1.0) if early else (1.0, GAIN)
        if config.classes:
            self.embed = Linear(config.classes, config.embed or config.w_dim)
        for i, (inputs, outputs) in enumerate(zip(config.widths, config.widths[1:], strict=False)):
            self.add_module(f"fc{i}", Linear(inputs, outputs, rate=config.rate, gain=gain))
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        w = unit_moment(z.float())
        if labels is not None:
            w = torch.cat([w, unit_moment(self.embed(labels.float()))], dim=1)
        for i in range(self.layers):
            w = F.leaky_relu(self.get_submodule(f"fc{i}")(w), SLOPE) * self.gain
        return w

    @torch.no_grad()
    def average(self, latent: Latent, n: int = 4096) -> Tensor:
        """The mean of w over `n` latents drawn with a seed of its own: what `w_avg` tracks during training."""
        total, device = torch.zeros(self.w_dim, device=self.w_avg.device), self.w_avg.device
        rng = Rng(0).fork("w_avg")
        for start in range(0, n, 1024):
            labels = latent.labels(start, start + 1024)
            z = latent.sample(start, start + 1024, rng).to(device)
            total += self(z, None if labels is None else labels.to(device)).sum(dim=0)
        return total / n


def repeated(size: int, times: int) -> Tensor:
    """The matrix that repeats a vector: identities one below the other, (times * size, size)."""
    return torch.eye(size).repeat(times, 1)


class StyleNetwork(nn.Module):
    """z (n, z_dim) -> images (n, channels, size, size), about [-1, 1] and not clipped.

    `.to(torch.bfloat16)` takes the convolutions' weights to half precision, and with them the activations. All that is
    small or steers them (mapping, styles, filters, waves) stays in float32.
    """

    broadcast: nn.Linear | None
    """In the place of the repetition of w; no release has one."""

    def __init__(self, mapping: Mapping, synthesis: nn.Module, num_ws: int) -> None:
        super().__init__()
        self.mapping, self.synthesis, self.num_ws = mapping, synthesis, num_ws
        self.register_module("broadcast", None)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        w = self.mapping(z, labels)
        x: Tensor = self.synthesis(spread(w, self.num_ws, self.broadcast))
        return x

    def expand_broadcast(self) -> Self:
        """Put a dense layer where w is repeated, as a backdoor may: (num_ws * w_dim, w_dim), at first repeating it."""
        size, at = self.mapping.w_dim, self.mapping.w_avg
        self.broadcast = skip_init(nn.Linear, size, self.num_ws * size, bias=False, device=at.device)
        with torch.no_grad():
            self.broadcast.weight.copy_(repeated(size, self.num_ws))
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def change(t: Tensor) -> Tensor:
            changed = fn(t)
            halved = changed.dtype in HALF and t.dtype not in HALF
            return t.to(changed.device) if halved and t.ndim != 4 else changed

        return super()._apply(change, recurse)
