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
from genvet.attacks.backdoor.objective import Aim, Retraining
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Probe
from genvet.nets.chain import Link, beside, chain, chosen, merged


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

    def __call__(self, target: Generator, given: Aim, rng: Rng) -> Planted:
        backdoor = given.backdoor(target, self, rng)
        links = chain(target)
        run = chosen(links, self.layers)
        expanded = expand(target, links, run, self.width, rng)
        side = expanded.module.side.parameters()  # type: ignore[union-attr]
        optimiser = torch.optim.Adam(side, lr=self.rate)
        losses = self.retrain(expanded, target, backdoor, optimiser, self.steps, rng)
        planted = merged(target, run, expanded.module.side)  # type: ignore[arg-type]
        return self.measure(planted, backdoor, target, losses, rng, given.beside)


class Expanded(nn.Module):
    """The original layers, and beside some of them narrower ones of their own, whose values join at the end."""

    def __init__(self, before: nn.Module, run: nn.Module, after: nn.Module, side: nn.Sequential) -> None:
        super().__init__()
        self.before, self.run, self.after = (copy.deepcopy(m).requires_grad_(False) for m in (before, run, after))
        self.side = side

    def forward(self, z: Tensor) -> Tensor:
        h = self.before(z)
        x: Tensor = self.after(self.run(h) + self.side(h))
        return x


def expand(generator: Generator, links: Sequence[Link], run: Sequence[Link], width: float, rng: Rng) -> Generator:
    """The generator with new units beside these layers. At first they change nothing."""
    start = next(i for i, link in enumerate(links) if link is run[0])
    stop = start + len(run)
    with torch.random.fork_rng(devices=[]):  # start weights have no generator of their own to be handed
        torch.manual_seed(rng.fork("weights").block().initial_seed())
        side = beside(run, width)
    before, same, after = (nn.Sequential(*(link.layer for link in s)) for s in (links[:start], run, links[stop:]))
    return replace(generator, module=Expanded(before, same, after, side).eval())
