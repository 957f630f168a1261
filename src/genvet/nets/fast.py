"""The fastest form of a generator that its numbers bear, and what one sample costs."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from genvet.core.generator import Generator

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
    plain = Swift(_copy(generator, torch.float32), torch.float32, 0.0)
    if not _has_bf16(generator.device):
        return plain
    try:
        fast = Swift(_copy(generator, torch.bfloat16), torch.bfloat16, 0.0)
        x, ours = plain(z, labels), fast(z, labels)
    except (RuntimeError, TypeError, NotImplementedError):  # an operation without a bf16 form
        return plain
    error = float((ours - x).square().mean().sqrt() / x.std().clamp_min(1e-6))
    if not error <= BEARABLE:  # also where it is not a number
        return plain
    return Swift(fast.generator, torch.bfloat16, error)


def operations(generator: Generator, batch: int = 1) -> int:
    """Floating-point operations of one sample, counted over matrix products and convolutions."""
    z = torch.zeros(batch, generator.latent.dim, device=generator.device)
    labels = generator.latent.labels(0, batch)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        generator(z + 1, None if labels is None else labels.to(z.device))
    return int(max(counter.get_total_flops() // batch, 1))


def _copy(generator: Generator, dtype: torch.dtype) -> Generator:
    module: nn.Module = copy.deepcopy(generator.module).eval().to(dtype=dtype)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fields = {f: getattr(generator, f) for f in generator.__dataclass_fields__}
    return type(generator)(**{**fields, "module": module})


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
