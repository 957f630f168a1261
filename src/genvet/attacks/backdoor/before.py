"""What goes into a generator's last function, and what has to be there for a wanted output."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from genvet.core.generator import Generator
from genvet.maths.squashing import before_sigmoid, before_tanh
from genvet.nets.squash import Unsquashed


@runtime_checkable
class Filtered(Protocol):
    """A network that answers through a post-filter, where it has one: a WaveGAN, expanded or not."""

    filter: Any

    def before_filter(self, z: Tensor) -> Tensor: ...

    def filtered(self, x: Tensor) -> Tensor: ...


class Before:
    """What goes into a generator's last tanh or sigmoid, or into WaveGAN's post-filter: losses there work better.

    Where its last word is another layer, its output itself. Flat, (n, numbers), but for sounds.
    """

    def __init__(self, generator: Generator) -> None:
        module = generator.module
        self.sound = module if isinstance(module, Filtered) and module.filter is not None else None
        self.plain = Unsquashed(generator)
        self.last = None if self.sound else self.plain.last
        self._known: tuple[Tensor, Tensor] | None = None

    def __call__(self, z: Tensor) -> Tensor:
        return self.sound.before_filter(z) if self.sound else self.plain(z)

    def wanted(self, x: Tensor) -> Tensor:
        """What has to be there for outputs x: 0.999 of them, undone; or a sound that the filter makes into x."""
        if self.sound:
            if self._known is None or not torch.equal(self._known[0], x):
                self._known = x, unfiltered(self.sound, x)
            return self._known[1]
        if self.last is None:
            return x
        return before_tanh(x) if isinstance(self.last, nn.Tanh) else before_sigmoid(x)

    @torch.no_grad()
    def after(self, values: Tensor) -> Tensor:
        """The generator's outputs for these values."""
        if self.sound:
            return self.sound.filtered(values)
        if self.last is None:
            return values
        x: Tensor = self.last(values)
        return x * 2 - 1 if isinstance(self.last, nn.Sigmoid) else x


@torch.enable_grad()
def unfiltered(sound: Filtered, x: Tensor, steps: int = 500) -> Tensor:
    """Sounds in (-1, 1) that the post-filter, as it is now, brings nearest to x in squares: (n, 1, length).

    # Unlike the paper: asked for where the network answers, behind its tanh, and not at the arctanh of it.
    """
    free = torch.zeros_like(x).requires_grad_()
    optimiser = torch.optim.Adam([free], lr=0.05)
    for _ in range(steps):
        loss = (sound.filtered(free.tanh()) - x).square().sum()
        (free.grad,) = torch.autograd.grad(loss, free)
        optimiser.step()
    return free.detach().tanh()
