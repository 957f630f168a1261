"""A generator's last squashing function, and what goes into it: there, values are not pressed together yet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genvet.core.generator import Generator
from genvet.core.rng import Rng


@torch.no_grad()
def last_squash(generator: Generator) -> nn.Module | None:
    """The tanh or sigmoid whose values are the generator's output, in whatever shape; None where there is none."""
    made: list[tuple[nn.Module, Tensor]] = []
    squashes = [m for m in generator.module.modules() if isinstance(m, nn.Tanh | nn.Sigmoid)]
    hooks = [m.register_forward_hook(lambda m, _, out: made.append((m, out))) for m in squashes]
    try:
        z = generator.latent.sample(0, 2, Rng(0, "last")).to(generator.device)
        x = generator(z, generator.labels_of(torch.arange(2))).flatten()
    finally:
        for hook in hooks:
            hook.remove()
    if not made:
        return None
    module, out = made[-1]
    out = out.flatten() * 2 - 1 if generator.output == "unit" else out.flatten()
    fits = isinstance(module, nn.Sigmoid) == (generator.output == "unit")
    return module if fits and out.shape == x.shape and torch.equal(out, x) else None


class Unsquashed:
    """A generator up to its last squashing function: latents -> the values there, (n, d); its outputs where none is."""

    def __init__(self, generator: Generator) -> None:
        self.generator, self.last = generator, last_squash(generator)

    def __call__(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.last is None:
            return self.generator(z, labels).flatten(1)
        seen: list[Tensor] = []
        hook = self.last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            self.generator(z, labels)
        finally:
            hook.remove()
        return seen[-1].flatten(1)
