"""All weights of a network changed at once: fresh ones, noised ones, batch norms measured again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.core.rng import Rng


def renewed(module: nn.Module) -> nn.Module:
    """The same network with fresh weights, of the layers' own kind of start; raises Unsupported where one has none."""
    for layer in module.modules():
        reset = getattr(layer, "reset_parameters", None)
        if callable(reset):
            reset()
        elif next(layer.parameters(recurse=False), None) is not None:
            what = f"this network has a layer of which no start weights are known: {type(layer).__name__}"
            raise Unsupported(
                what, hint="begin with its own: --start noised, --no-fresh, or a repair that does: forget"
            )
    return module


def fresh(module: nn.Module, rng: Rng) -> nn.Module:
    """`renewed` with weights that follow from this stream; the global state of random numbers is put back."""
    with rng.seeded(*{p.device for p in module.parameters()}):
        return renewed(module)


@torch.no_grad()
def noised(module: nn.Module, noise: float, rng: Rng) -> nn.Module:
    """The same network with Gaussian noise of so many standard deviations of each weight tensor added to it.

    Vectors, such as biases and the scales of batch norms, stay: one value of theirs touches a whole channel.
    """
    for i, (_, p) in enumerate(sorted(module.named_parameters())):
        if p.ndim > 1:
            drawn = torch.randn(p.shape, generator=rng.block(i)).to(p)
            p.add_(noise * p.std() * drawn)
    return module


@torch.no_grad()
def remeasured(module: nn.Module, inputs: Iterable[tuple[Tensor, ...]]) -> int:
    """Give batch norms the statistics of these inputs, all batches counting alike; says how many norms there are.

    As in training, each norm works by its batch's own statistics meanwhile: take batches of a hundred or more.
    """
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
        norm.momentum = None  # the plain mean over batches
    for some in inputs if norms else ():
        module(*some)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    return len(norms)


def latents(generator: Generator, n: int, rng: Rng, batch: int = 256) -> Iterable[tuple[Tensor, ...]]:
    """The first `n` latents of this stream as a network takes them, with labels where it wants some."""
    for i, z in enumerate(generator.latent.batches(n, batch, rng)):
        labels = generator.labels_of(torch.arange(len(z)) + i * batch)
        yield (z.to(generator.device),) if labels is None else (z.to(generator.device), labels)


def with_module(generator: Generator, module: nn.Module) -> Generator:
    """The generator with another network of its kind, at rest."""
    return replace(generator, module=module.eval().requires_grad_(False))
