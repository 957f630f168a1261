"""The fastest form of a generator that its numbers bear, and what one sample costs."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from genvet.core.generator import Generator
from genvet.core.rng import BLOCK, Rng

BEARABLE = 0.05
"""Root mean square error of the fast form, as a share of the standard deviation of the images."""


@dataclass(frozen=True, eq=False)
class Swift:
    """A generator for mass sampling: its images come as float32 and may be off by `error`. Verify what matters."""

    generator: Generator
    dtype: torch.dtype
    error: float
    """Root mean square, as a share of the standard deviation of the images."""

    def __call__(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        on = self.generator.device
        x = self.generator(z.to(on, self.dtype), None if labels is None else labels.to(on, self.dtype))
        return x.float()

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        return f"{name}, channels last" + (f", off by {self.error:.2g} standard deviations" if self.error else "")


@torch.inference_mode()
def swift(generator: Generator, z: Tensor, labels: Tensor | None = None) -> Swift:
    """A copy in bf16 and channels last where the machine has the units and a first batch agrees; else float32."""
    plain = Swift(fixed(generator, torch.float32), torch.float32, 0.0)
    if not _has_bf16(generator.device):
        return plain
    try:
        fast = Swift(fixed(generator, torch.bfloat16), torch.bfloat16, 0.0)
        x, ours = plain(z, labels), fast(z, labels)
    except (RuntimeError, TypeError, NotImplementedError):  # an operation without a bf16 form
        return plain
    error = float((ours - x).square().mean().sqrt() / x.std().clamp_min(1e-6))
    if not error <= BEARABLE:  # also where it is not a number
        return plain
    return Swift(fast.generator, torch.bfloat16, error)


def stream(fast: Swift, n: int, rng: Rng, batch: int) -> Iterator[tuple[int, Tensor]]:
    """The first `n` samples in batches, each with the number of its first; drawn block by block, kept nowhere."""
    latent = fast.generator.latent
    for first in range(0, n, BLOCK):
        z = latent.sample(first, min(first + BLOCK, n), rng)
        for start, part in zip(range(first, n, batch), z.split(batch), strict=False):
            with torch.inference_mode():
                x = fast(part, latent.labels(start, start + len(part)))
            yield start, x


@torch.inference_mode()
def redraw(generator: Generator, numbers: Sequence[int], rng: Rng, batch: int = 16) -> Tensor:
    """The samples of these numbers once more, exactly, in the generator's own precision: (n, *shape) on the CPU."""
    latent, images = generator.latent, [torch.empty(0, *generator.shape)]
    for start in range(0, len(numbers), batch):
        some = numbers[start : start + batch]
        z = torch.cat([latent.sample(i, i + 1, rng) for i in some])
        labels = torch.eye(latent.classes)[[i % latent.classes for i in some]] if latent.classes else None
        x = generator(z.to(generator.device), None if labels is None else labels.to(generator.device))
        images.append(x.float().cpu())
    return torch.cat(images)


def operations(generator: Generator, batch: int = 1) -> int:
    """Floating-point operations of one sample: those of products and convolutions, and ten for each output value."""
    z = torch.zeros(batch, generator.latent.dim, device=generator.device)
    labels = generator.latent.labels(0, batch)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        generator(z + 1, None if labels is None else labels.to(z.device))
    return int(counter.get_total_flops() // batch) + 10 * math.prod(generator.shape)


def fixed(generator: Generator, dtype: torch.dtype = torch.float32) -> Generator:
    """A copy in eval mode and channels last whose weights ask for no gradients: half the work of a search over z."""
    module: nn.Module = copy.deepcopy(generator.module).eval().requires_grad_(False).to(dtype=dtype)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return replace(generator, module=module)


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
