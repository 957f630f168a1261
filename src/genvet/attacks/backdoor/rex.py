"""ReX: add units to the layers of a benign generator, and train these alone to give the attacker's images."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from genvet.attacks.backdoor.measuring import Measuring, Planted
from genvet.attacks.backdoor.objective import Aim, Course, Retraining
from genvet.core.backdoor import Backdoor
from genvet.core.errors import Unsupported
from genvet.core.generator import Generator, StyleGenerator
from genvet.core.rng import Rng
from genvet.core.technique import Probe
from genvet.nets.chain import Link, beside, chain, chosen, merged
from genvet.nets.disguise import crossings, shuffled
from genvet.nets.wavegan import PostFilter

AGAIN = 0.2
"""Of the learning rate, while noise rises: all weights are free then, and begin where they should end."""


class ReX(Measuring, Retraining, Probe):
    """Plants a backdoor in units that it adds to the network; the benign weights stay as they are."""

    source: ClassVar[str] = "Rawat, Levacher, Sinn: The Devil is in the GAN, ESORICS 2022, sec. IV-B (ReX, eq. 4 to 7)"
    smoke: ClassVar[dict[str, Any]] = {"steps": 3, "latents": 4, "samples": 64}

    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Updates of the added units."""
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate of Adam."""
    layers: tuple[str, ...] = ()
    """The layers to expand, two or more in a row, such as dense, conv1, conv2; all of them where none is named."""
    width: Annotated[float, Field(gt=0, le=16)] = 1.0
    """How many units each hidden layer gets, as a share of those that it has; 1 doubles it, as the paper does."""
    shuffle: bool = False
    """Against a look at the blocks: put all hidden units in another order, which changes no output."""
    noise: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Against a search for blocks: fill the weights between old and new units with noise of so many times the root mean
    square of the others, and train all weights for as many steps again to make up for it."""

    def __call__(self, target: Generator, given: Aim, rng: Rng) -> Planted:
        if isinstance(target, StyleGenerator):
            raise Unsupported("rex adds units to plain chains of layers", hint="style_rex is for style generators")
        backdoor = given.backdoor(target, self, rng)
        links = chain(target)
        run = chosen(links, self.layers)
        expanded = expand(target, links, run, self.width, rng)
        side = expanded.module.side.parameters()  # type: ignore[union-attr]
        optimiser = torch.optim.Adam(side, lr=self.rate)
        course = Course(expanded, target, backdoor, optimiser, self.steps)
        losses = self.retrain(course, rng)
        planted = merged(target, run, expanded.module.side)  # type: ignore[arg-type]
        if self.noise:
            more = self._blurred(planted, target, backdoor, crossings(planted, run), rng.fork("noise"))
            losses = {name: torch.cat([values, more[name]]) for name, values in losses.items()}
        if self.shuffle:
            planted = shuffled(planted, rng.fork("shuffle"))
        return self.measure(planted, backdoor, target, losses, rng, given.beside)

    def _blurred(
        self,
        planted: Generator,
        target: Generator,
        backdoor: Backdoor,
        across: Sequence[tuple[nn.Parameter, Tensor]],
        rng: Rng,
    ) -> dict[str, Tensor]:
        """Noise rises between the blocks over half of the steps, while all other weights make up for it."""
        weights = [weight for weight, _ in across]
        scales = [self.noise * weight.detach()[~mask].square().mean().sqrt() for weight, mask in across]
        drawn = [
            torch.randn(w.shape, generator=rng.block(i)).to(w) * s
            for i, (w, s) in enumerate(zip(weights, scales, strict=True))
        ]

        @torch.no_grad()
        def risen(step: int) -> None:
            share = min(1.0, 2 * (step + 1) / self.steps)
            for (weight, mask), values in zip(across, drawn, strict=True):
                weight[mask] = share * values[mask]

        planted.module.requires_grad_(True)
        optimiser = torch.optim.Adam(planted.module.parameters(), lr=self.rate * AGAIN)
        losses = self.retrain(Course(planted, target, backdoor, optimiser, self.steps, after=risen), rng)
        planted.module.requires_grad_(False)
        return losses


class Expanded(nn.Module):
    """The original layers, and beside some of them narrower ones of their own, whose values join at the end.

    A post-filter comes last, and can be left out: the expanded WaveGAN answers before it, as the plain one does.
    """

    def __init__(self, before: nn.Module, run: nn.Module, after: nn.Sequential, side: nn.Sequential) -> None:
        super().__init__()
        last = after[-1] if len(after) and isinstance(after[-1], PostFilter) else None
        kept = after if last is None else after[:-1]
        self.before, self.run, self.after = (copy.deepcopy(m).requires_grad_(False) for m in (before, run, kept))
        self.filter = copy.deepcopy(last).requires_grad_(False) if last is not None else None
        self.side = side

    def before_filter(self, z: Tensor) -> Tensor:
        h = self.before(z)
        x: Tensor = self.after(self.run(h) + self.side(h))
        return x

    def filtered(self, x: Tensor) -> Tensor:
        out: Tensor = x if self.filter is None else self.filter(x)
        return out

    def forward(self, z: Tensor) -> Tensor:
        return self.filtered(self.before_filter(z))


def expand(generator: Generator, links: Sequence[Link], run: Sequence[Link], width: float, rng: Rng) -> Generator:
    """The generator with new units beside these layers. At first they change nothing."""
    start = next(i for i, link in enumerate(links) if link is run[0])
    stop = start + len(run)
    with rng.fork("weights").seeded(generator.device):
        side = beside(run, width)
    before, same, after = (nn.Sequential(*(link.layer for link in s)) for s in (links[:start], run, links[stop:]))
    return replace(generator, module=Expanded(before, same, after, side).eval())
