"""The values of a generator's hidden units, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.nets.squash import last_squash

RECTIFIERS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.SiLU, nn.GELU, nn.PReLU, nn.Softplus, nn.Tanh, nn.Sigmoid)
MOST = 1 << 15
"""Of a layer with more units, evenly spaced ones are watched."""


class HiddenUnits:
    """Latents -> one tensor (n, units) for each hidden layer, behind its nonlinearity where that is a module."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        named = dict(generator.module.named_modules())
        last = last_squash(generator)
        self.places: dict[str, nn.Module] = {
            n: m for n, m in named.items() if isinstance(m, RECTIFIERS) and m is not last
        }
        if not self.places:
            self.places = dict(list(generator.layers().items())[:-1])
        self.names: list[str] = []
        with torch.no_grad():
            self(
                generator.latent.sample(0, 2, Rng(0, "hidden")).to(generator.device),
                generator.labels_of(torch.arange(2)),
            )
        if not self.names:
            raise Unsupported("this network has no hidden layers", hint="nothing can sleep in it")

    def __call__(self, z: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        seen: list[tuple[str, Tensor]] = []
        hooks = [m.register_forward_hook(_watch(name, len(z), seen)) for name, m in self.places.items()]
        try:
            self.generator(z, labels)
        finally:
            for hook in hooks:
                hook.remove()
        self.names = [name for name, _ in seen]
        return [values for _, values in seen]


def _watch(name: str, n: int, seen: list[tuple[str, Tensor]]) -> Callable[..., None]:
    def hook(_layer: nn.Module, _inputs: Any, out: Any) -> None:
        if isinstance(out, Tensor) and len(out) == n:  # what does not depend on z comes once for all
            values = out.float().flatten(1)
            seen.append((name, values[:, :: -(-values.shape[1] // MOST)]))

    return hook
