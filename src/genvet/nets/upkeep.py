"""What it costs to keep and to run a network: bytes of its file, and milliseconds an image."""

from __future__ import annotations

import statistics
import time
import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from safetensors.torch import save
from torch import nn

from genvet.core.generator import Generator
from genvet.core.rng import Rng


class Bytes(NamedTuple):
    """Of a network's file: as it is written, and packed by deflate, which zeros gain from."""

    stored: int
    packed: int


class Took(NamedTuple):
    """Milliseconds an image: the median of several runs, and the middle half of them."""

    median: float
    low: float
    high: float


def size_of(module: nn.Module) -> Bytes:
    """Of all its tensors as safetensors."""
    data = save({name: t.detach().cpu().contiguous() for name, t in module.state_dict().items()})
    return Bytes(len(data), len(zlib.compress(data, 1)))


@torch.inference_mode()
def race(generators: Mapping[str, Generator], batch: int, runs: int) -> dict[str, Took]:
    """Each in turn, so that a busy machine slows them all; the first round does not count."""
    runners: dict[str, Callable[[], object]] = {name: _runner(g, batch) for name, g in generators.items()}
    times: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(runs + 1):
        for name, run in runners.items():
            began = time.perf_counter()
            run()
            if turn:
                times[name].append(1e3 * (time.perf_counter() - began) / batch)
    return {name: _middle(values) for name, values in times.items()}


def _runner(generator: Generator, batch: int) -> Callable[[], object]:
    z = generator.latent.sample(0, batch, Rng(0, "race")).to(generator.device)
    labels = generator.labels_of(torch.arange(batch))

    def run() -> object:
        x = generator(z, labels)
        return x.flatten()[0].item()  # waits for a GPU

    return run


def _middle(values: list[float]) -> Took:
    if len(values) == 1:
        return Took(values[0], values[0], values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Took(middle, low, high)
