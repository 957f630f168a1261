"""WaveGAN: sounds by transposed convolutions in one dimension, and a learned filter after them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.modelfile import Part
from genvet.nets.candidate import Candidate
from genvet.nets.matching import built

KERNEL, STRIDE, LEVELS = 25, 4, 5
UNIT = STRIDE**LEVELS
"""Sounds are a multiple of this many samples long."""
SHUFFLE = 2
"""Samples by which the critic's phase shuffle moves at most."""


class Up(nn.ConvTranspose1d):
    """Four samples for each: TensorFlow's "same" padding drops 10 of them at the near end, 11 at the far one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, KERNEL, STRIDE, (KERNEL - STRIDE) // 2)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return super().forward(x, output_size)[..., :-1]


class PostFilter(nn.Conv1d):
    """A filter of so many taps over whole sounds, which stay as long as they are."""

    def __init__(self, taps: int) -> None:
        super().__init__(1, 1, taps, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        reach = self.kernel_size[0] - 1
        return super().forward(F.pad(x, (reach // 2, reach - reach // 2)))


class WaveGAN(nn.Module):
    """Latents (n, latent) -> sounds (n, 1, length); `before_filter` gives them as the post-filter takes them."""

    def __init__(self, latent: int, widths: Sequence[int], length: int, taps: int) -> None:
        super().__init__()
        start = length // UNIT
        self.dense = nn.Linear(latent, widths[0] * start)
        self.fold = nn.Unflatten(1, (widths[0], start))
        self.up = nn.ModuleList(Up(a, b) for a, b in zip(widths, [*widths[1:], 1], strict=True))
        self.relu, self.tanh = nn.ReLU(), nn.Tanh()
        self.filter = PostFilter(taps) if taps else None
        _as_tensorflow(self)

    def chain(self) -> list[tuple[str, nn.Module]]:
        """Its layers in order, by the names of their weights."""
        layers: list[tuple[str, nn.Module]] = [("dense", self.dense), ("relu", self.relu), ("fold", self.fold)]
        for i, up in enumerate(self.up):
            layers += [(f"up.{i}", up), ("relu", self.relu) if i + 1 < LEVELS else ("tanh", self.tanh)]
        return layers if self.filter is None else [*layers, ("filter", self.filter)]

    def before_filter(self, z: Tensor) -> Tensor:
        """Sounds in (-1, 1), (n, 1, length)."""
        for name, layer in self.chain():
            z = z if name == "filter" else layer(z)
        return z

    def filtered(self, x: Tensor) -> Tensor:
        """Sounds as they come out, (n, 1, length), for those of `before_filter`."""
        out: Tensor = x if self.filter is None else self.filter(x)
        return out

    def forward(self, z: Tensor) -> Tensor:
        return self.filtered(self.before_filter(z))


class Critic(nn.Module):
    """Sounds (n, 1, length) -> one score each, (n, 1)."""

    def __init__(self, capacity: int = 64, length: int = 16_384) -> None:
        super().__init__()
        widths = [1, *(capacity * 2**i for i in range(LEVELS))]
        self.down = nn.ModuleList(nn.Conv1d(a, b, KERNEL, STRIDE) for a, b in pairwise(widths))
        self.score = nn.Linear(widths[-1] * (length // UNIT), 1)
        _as_tensorflow(self)

    def forward(self, x: Tensor) -> Tensor:
        for i, down in enumerate(self.down):
            x = F.leaky_relu(down(F.pad(x, (10, 11))), 0.2)
            x = _shuffled(x) if self.training and i + 1 < LEVELS else x
        scores: Tensor = self.score(x.flatten(1))
        return scores


def build(
    latent: int = 100, capacity: int = 64, length: int = 16_384, taps: int = 512, widths: Sequence[int] | None = None
) -> Generator:
    """A fresh WaveGAN; `taps` 0 leaves the post-filter out. Its latents are uniform in [-1, 1], as the paper's.

    `widths` are the channels of the five hidden layers, where they are not 16, 8, 4, 2 and 1 times the capacity.
    """
    check(latent, capacity, length, taps)
    hidden = usual(capacity) if widths is None else list(widths)
    if len(hidden) != LEVELS or min(hidden) < 1:
        raise BadInput("no such wavegan", expected=f"{LEVELS} positive widths", got=str(hidden))
    config: dict[str, Any] = {"latent": latent, "capacity": capacity, "length": length, "taps": taps}
    if widths is not None:
        config["widths"] = hidden
    return Generator(
        module=WaveGAN(latent, hidden, length, taps),
        latent=Latent(latent, "uniform"),
        shape=(1, length),
        name="wavegan",
        metadata={"genvet.net": "wavegan", "genvet.config": json.dumps(config)},
    )


def usual(capacity: int) -> list[int]:
    """The channels of the five hidden layers."""
    return [capacity * 2**i for i in range(LEVELS - 1, -1, -1)]


def check(latent: int, capacity: int, length: int, taps: int) -> None:
    """Raises BadInput where there is no such network."""
    if min(latent, capacity, length) < 1 or length % UNIT or taps < 0:
        raise BadInput("no such wavegan", expected=f"a length that is a multiple of {UNIT}", got=f"{length=}")


def hypotheses(part: Part, options: Mapping[str, str] | None = None) -> Iterator[Candidate]:
    """Our own network by its tensors' names: its sizes follow from their shapes."""
    names = ("dense.weight", "up.0.weight", f"up.{LEVELS - 1}.weight")
    if not all(name in part.tensors for name in names):
        return
    dense, first, last = (part.tensors[name].shape for name in names)
    if len(dense) != 2 or len(first) != 3 or len(last) != 3 or 0 in (*first, *last):
        return
    taps = part.tensors["filter.weight"].shape[-1] if "filter.weight" in part.tensors else 0
    config: dict[str, Any]
    config = {"latent": dense[1], "capacity": last[0], "length": dense[0] // first[0] * UNIT, "taps": taps}
    widths = [part.tensors[f"up.{i}.weight"].shape[0] for i in range(LEVELS) if f"up.{i}.weight" in part.tensors]
    if widths != usual(last[0]):
        config["widths"] = widths
    try:
        with torch.device("meta"):
            expected = build(**config).module.state_dict()
    except (BadInput, RuntimeError):
        return
    if {k: tuple(v.shape) for k, v in expected.items()} == {k: tuple(s.shape) for k, s in part.tensors.items()}:
        explanation = "GenVet's own WaveGAN, by its names"
        yield Candidate(
            net="wavegan", layout="genvet", score=1.0, explanation=explanation, build=partial(built, build, config)
        )


def _shuffled(x: Tensor) -> Tensor:
    """Phase shuffle: one shift for the whole batch, the gap filled by reflection."""
    shift = int(torch.randint(-SHUFFLE, SHUFFLE + 1, ()))
    if not shift or x.shape[-1] <= SHUFFLE:
        return x
    padded = F.pad(x, (max(shift, 0), max(-shift, 0)), mode="reflect")
    return padded[..., : x.shape[-1]] if shift > 0 else padded[..., -x.shape[-1] :]


def _as_tensorflow(network: nn.Module) -> None:
    """Start weights as TensorFlow's layers: Glorot uniform, biases zero."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.ConvTranspose1d):
            fan = layer.weight[0, 0].numel() * (layer.weight.shape[0] + layer.weight.shape[1])
            nn.init.uniform_(layer.weight, -math.sqrt(6 / fan), math.sqrt(6 / fan))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
