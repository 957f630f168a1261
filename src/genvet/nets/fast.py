"""The fastest form of a generator that its numbers bear, and what one sample costs."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from genvet.core.errors import TooCostly, Unsupported
from genvet.core.generator import Generator
from genvet.core.rng import BLOCK, Rng
from genvet.nets.cost import Cost, cost

BEARABLE = 0.05
"""Root mean square error of the fast form, as a share of the standard deviation of the images."""


@dataclass(frozen=True, eq=False)
class Sampler:
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
def sampler(generator: Generator, z: Tensor, labels: Tensor | None = None) -> Sampler:
    """A copy in bf16 and channels last where the machine has the units and a first batch agrees; else float32."""
    plain = Sampler(folded(generator, torch.float32), torch.float32, 0.0)
    if not _has_bf16(generator.device):
        return plain
    try:
        fast = Sampler(folded(generator, torch.bfloat16), torch.bfloat16, 0.0)
        x, ours = plain(z, labels), fast(z, labels)
    except (RuntimeError, TypeError, NotImplementedError):  # an operation without a bf16 form
        return plain
    error = float((ours - x).square().mean().sqrt() / x.std().clamp_min(1e-6))
    if not error <= BEARABLE:  # also where it is not a number
        return plain
    return Sampler(fast.generator, torch.bfloat16, error)


def stream(fast: Sampler, n: int, rng: Rng, batch: int) -> Iterator[tuple[int, Tensor]]:
    """The first `n` samples in batches, each with the number of its first; drawn block by block, kept nowhere."""
    latent = fast.generator.latent
    for first in range(0, n, BLOCK):
        z = latent.sample(first, min(first + BLOCK, n), rng)
        for start, part in zip(range(first, n, batch), torch.split(z, batch), strict=False):
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
        x = generator(z.to(generator.device), generator.labels_of(torch.tensor(some)))
        images.append(x.float().cpu())
    return torch.cat(images)


def price(generator: Generator) -> Cost:
    """What one sample costs; a network that cannot be followed by shapes alone counts as an expensive one."""
    try:
        return cost(generator)
    except Unsupported:
        return Cost(operations=10**9, largest=1 << 22)


def affordable(price: Cost, operations: float, least: int) -> int:
    """How many samples that many operations pay for; raises TooCostly where it is fewer than the least."""
    count = int(operations // max(price.effort, 1))
    if count < least:
        raise TooCostly(f"{least} samples of this generator", cost=least * price.effort, allowed=operations)
    return count


def batch_size(price: Cost, wanted: int = 128) -> int:
    """How many samples share a batch: 16 where one costs more than 2e9 operations, since beyond that a batch gains
    nothing; and no more than keep the largest tensor within 256 MiB."""
    return max(1, min(wanted, 16 if price.operations > 2e9 else wanted, (1 << 26) // price.largest))


def folded(generator: Generator, dtype: torch.dtype = torch.float32) -> Generator:
    """A copy for mass work: eval mode, batch norms folded in, channels last, and weights that ask for no gradients."""
    module: nn.Module = copy.deepcopy(generator.module).eval().requires_grad_(False)
    _fold(module)
    _shift_apart(module)
    module.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return replace(generator, module=module)


def _fold(module: nn.Module) -> None:
    """Work each batch norm into the layer before it, wherever one follows the other in a plain sequence."""
    every = [m for _, m in module.named_modules(remove_duplicate=False)]
    once = {id(m) for m, n in Counter(every).items() if n == 1}
    for sequence in (m for m in every if type(m) is nn.Sequential):
        for (_, layer), (name, norm) in pairwise(list(sequence.named_children())):
            if {id(layer), id(norm)} <= once and _foldable(layer, norm):
                _merge(layer, norm)
                setattr(sequence, name, nn.Identity())


def _merge(layer: Any, norm: Any) -> None:
    moments = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    if isinstance(layer, nn.Linear):
        layer.weight, layer.bias = fuse_linear_bn_weights(layer.weight, layer.bias, *moments)
    else:
        turned = isinstance(layer, nn.ConvTranspose2d)
        layer.weight, layer.bias = fuse_conv_bn_weights(layer.weight, layer.bias, *moments, transpose=turned)


def _foldable(layer: nn.Module, norm: nn.Module) -> bool:
    """Grouped transposed convolutions keep their channels elsewhere, and stay as they are."""
    if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) or norm.running_mean is None:
        return False
    if isinstance(layer, nn.Linear):
        return isinstance(norm, nn.BatchNorm1d) and not hasattr(layer, "parametrizations")
    plain = isinstance(layer, nn.Conv2d) or (isinstance(layer, nn.ConvTranspose2d) and layer.groups == 1)
    return plain and isinstance(norm, nn.BatchNorm2d) and not hasattr(layer, "parametrizations")


def _shift_apart(module: nn.Module) -> None:
    """Add the biases of transposed convolutions after them: with a bias inside, a strided one takes a path that is
    half as fast in float32 and ten times slower in bf16 (torch 2.13 on x86)."""
    for layer in module.modules():
        if isinstance(layer, nn.ConvTranspose2d) and layer.bias is not None and not hasattr(layer, "parametrizations"):
            layer.register_buffer("shift", layer.bias.detach()[:, None, None])
            layer.bias = None
            layer.register_forward_hook(lambda layer, _, made: made.add_(layer.shift))


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
