"""SNGAN (Miyato et al. 2018): residual blocks, and a critic whose layers have a spectral norm of one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.modelfile import Part
from genvet.nets.candidate import Candidate
from genvet.nets.matching import built

SMALLEST = 4
"""Pixels that halving ends at, or above where a side is odd."""


def sides(size: int) -> tuple[int, ...]:
    """The sides of the maps that a network of this size goes through, from the smallest; raises BadInput for none.

    >>> sides(28), sides(32)
    ((7, 14, 28), (4, 8, 16, 32))
    """
    found = [size]
    while found[0] % 2 == 0 and found[0] // 2 >= SMALLEST:
        found.insert(0, found[0] // 2)
    if len(found) < 2 or found[0] > 2 * SMALLEST:
        raise BadInput("no network has images of this size", expected="4 to 8 times a power of two", got=str(size))
    return tuple(found)


class Network(nn.Module):
    """Latents (n, latent) -> images (n, channels, size, size) in (-1, 1)."""

    def __init__(self, latent: int, capacity: int, size: int, channels: int) -> None:
        super().__init__()
        start, *more = sides(size)
        self.dense = nn.Linear(latent, capacity * start * start)
        self.fold = nn.Unflatten(1, (capacity, start, start))
        self.blocks = nn.ModuleList(Up(capacity) for _ in more)
        self.norm = nn.BatchNorm2d(capacity)
        self.last = nn.Conv2d(capacity, channels, 3, padding=1)
        _drawn(self)

    def forward(self, z: Tensor) -> Tensor:
        x = self.fold(self.dense(z))
        for block in self.blocks:
            x = block(x)
        return torch.tanh(self.last(F.relu(self.norm(x))))


class Up(nn.Module):
    """A residual block that doubles the sides."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.skip = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        beside = _doubled(self.skip(x))  # a 1x1 convolution before doubling is the same, at a quarter of the cost
        x = self.conv1(_doubled(F.relu(self.norm1(x))))
        out: Tensor = self.conv2(F.relu(self.norm2(x))) + beside
        return out


class Critic(nn.Module):
    """Images (n, channels, size, size) -> one score each, (n, 1)."""

    def __init__(self, capacity: int = 32, size: int = 28, channels: int = 1) -> None:
        super().__init__()
        downs = len(sides(size)) - 1
        widths = [channels, *[capacity] * (downs + 1)]
        self.blocks = nn.ModuleList(
            Down(widths[i], widths[i + 1], first=i == 0, halve=i < downs) for i in range(downs + 1)
        )
        self.score = SpectralLinear(capacity, 1)
        _drawn(self)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        scores: Tensor = self.score(F.relu(x).sum((2, 3)))
        return scores


class Down(nn.Module):
    """A residual block of a critic; all but the last halve the sides, and the first begins with the image itself."""

    def __init__(self, inputs: int, outputs: int, *, first: bool, halve: bool) -> None:
        super().__init__()
        self.first, self.halve = first, halve
        self.conv1 = SpectralConv(inputs, outputs, 3, padding=1)
        self.conv2 = SpectralConv(outputs, outputs, 3, padding=1)
        self.skip = SpectralConv(inputs, outputs, 1) if halve or inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        beside = x
        if self.skip is not None:
            beside = self.skip(F.avg_pool2d(x, 2) if self.halve else x)
        x = self.conv1(x if self.first else F.relu(x))
        x = self.conv2(F.relu(x))
        return (F.avg_pool2d(x, 2) if self.halve else x) + beside


class SpectralConv(nn.Conv2d):
    """A convolution whose weight, as a matrix (outputs, inputs * k * k), is divided by its largest singular value."""

    u: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, padding: int = 0) -> None:
        super().__init__(inputs, outputs, kernel, padding=padding)
        self.register_buffer("u", F.normalize(torch.randn(outputs), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, normed(self), self.bias, padding=self.padding)


class SpectralLinear(nn.Linear):
    """The same for a linear layer."""

    u: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("u", F.normalize(torch.randn(outputs), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, normed(self), self.bias)


def normed(layer: SpectralConv | SpectralLinear) -> Tensor:
    """Its weight, divided by an estimate of its largest singular value; in training, one power iteration better."""
    matrix = layer.weight.flatten(1)
    with torch.no_grad():
        v = F.normalize(matrix.T @ layer.u, dim=0)
        u = F.normalize(matrix @ v, dim=0)
        if layer.training:
            layer.u.copy_(u)
    divided: Tensor = layer.weight / (u @ matrix @ v)
    return divided


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _drawn(network: nn.Module) -> None:
    """Start weights: Glorot uniform, wider by the root of two in the main path; biases zero."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight, gain=2**0.5 if name.endswith(("conv1", "conv2")) else 1.0)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def build(latent: int = 128, capacity: int = 32, size: int = 28, channels: int = 1) -> Generator:
    """A fresh SNGAN; the paper's for CIFAR-10 has a capacity of 256."""
    if min(latent, capacity, size, channels) < 1:
        raise BadInput("no such sngan", expected="positive numbers", got=f"{latent=}, {capacity=}, {size=}")
    config = {"latent": latent, "capacity": capacity, "size": size, "channels": channels}
    return Generator(
        module=Network(**config),
        latent=Latent(latent),
        shape=(channels, size, size),
        name="sngan",
        metadata={"genvet.net": "sngan", "genvet.config": json.dumps(config)},
    )


def hypotheses(part: Part, options: Mapping[str, str] | None = None) -> Iterator[Candidate]:
    """Our own network by its names; its sizes follow from the shapes."""
    shapes = {key: tuple(spec.shape) for key, spec in part.tensors.items()}
    dense, last = shapes.get("dense.weight", ()), shapes.get("last.weight", ())
    blocks = {key.split(".")[1] for key in shapes if key.startswith("blocks.")}
    if options or len(dense) != 2 or len(last) != 4 or not blocks or not 0 < len(blocks) < 12 or last[1] < 1:
        return
    start = round((dense[0] / last[1]) ** 0.5)
    config = {"latent": dense[1], "capacity": last[1], "size": start << len(blocks), "channels": last[0]}
    try:
        with torch.device("meta"):
            expected = build(**config).module.state_dict()
    except BadInput:
        return
    if {key: tuple(t.shape) for key, t in expected.items()} == shapes:
        explanation = "GenVet's own SNGAN, by its names"
        yield Candidate(
            net="sngan", layout="genvet", score=1.0, explanation=explanation, build=partial(built, build, config)
        )
