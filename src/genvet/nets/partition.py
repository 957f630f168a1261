"""Whether a generator's units fall into two parts that hardly feed each other, and which part is the suspect one.

ReX leaves such a part: units that were added to layers in a row, whose weights to and from the other units are 0.
Neither the order of units nor their scale matters, and small weights between the parts hide little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.maths.spectra import balanced, cut, second
from genvet.nets.chain import Link, chain, inputs_of, outputs_first, outputs_of, pieces

LONGEST = 6
"""Layers in a row that are looked at together."""
SHUFFLES = 4
"""Of the weights, for what a network of the same weights without any order would show."""
SAMPLES = 64
"""Ordinary latents by which the suspect part is told from the other."""


@dataclass(frozen=True, eq=False)
class Mixing:
    """A layer that mixes units: how strongly each unit behind it listens to each before it."""

    name: str
    layer: nn.Module
    strength: Tensor
    """Sums of squared weights, (units behind, units before)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Partition:
    """The best split of a run of layers into two parts."""

    separation: float
    """0 for a network of such weights in any order, 1 for two parts with no connection."""
    eigenvalue: float
    """Second eigenvalue of the run; 1 for two parts with no connection."""
    chance: float
    """The mean eigenvalue of the same weights, shuffled."""
    suspect: Mapping[str, Tensor]
    """By name of the layer that makes the units: which of its outputs are in the suspect part, (outputs,) bool."""
    joint: str
    """Name of the layer in which both parts come together."""
    joint_inputs: Tensor
    """Which inputs of that layer come from the suspect part, (inputs,) bool."""
    share: float
    """Of the units of the run, how many are in the suspect part."""
    response: float
    """Of ordinary outputs, the mean squared change where the suspect part is silent, over their variance."""
    other_response: float
    """The same where the other part is silent."""
    blocks: tuple[tuple[str, Tensor, Tensor, Tensor], ...]
    """Of each layer of the run: name, balanced strengths, and which units behind and before it are suspect."""

    def without(self, generator: Generator, z: Tensor) -> Tensor:
        """What the generator gives while the suspect part is silent; gradients reach z."""
        with silenced(generator.module.get_submodule(self.joint), self.joint_inputs):
            return generator(z)


@contextmanager
def silenced(layer: nn.Module, inputs: Tensor) -> Iterator[None]:
    """Within it, these inputs of the layer are 0."""

    def quiet(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x = given[0]
        keep = (~inputs).to(x)
        return (x * keep.view(1, -1, *[1] * (x.ndim - 2)), *given[1:])

    hook = layer.register_forward_pre_hook(quiet)
    try:
        yield
    finally:
        hook.remove()


def partition(generator: Generator) -> Partition:
    """The most separate two parts that the units of any run of layers fall into.

    Raises Unsupported where the network is no chain of standard layers, or has too few layers: two hidden layers
    are needed, since weights between these alone show blocks.
    """
    layers = mixings(generator)
    inner = layers[1:-1]
    if not inner or min(min(m.strength.shape) for m in inner) < 2:
        raise Unsupported("no two hidden layers of two units or more follow one another", hint="nothing can be apart")
    best, score, null = _best(inner)
    first = next(i for i, m in enumerate(layers) if m is best[0])
    found = cut([m.strength for m in best])
    makers, joint = layers[first - 1 : first + len(best)], layers[first + len(best)]
    sides = _suspect(generator, joint, found.side)
    suspect = {m.name: _spread(s, outputs_of(m.layer)) for m, s in zip(makers, sides.units, strict=True)}
    blocks = [(m.name, balanced(m.strength), b, a) for m, (a, b) in zip(best, pairwise(sides.units), strict=True)]
    units = torch.cat(list(sides.units))
    return Partition(
        separation=score,
        eigenvalue=found.eigenvalue,
        chance=null,
        suspect=suspect,
        joint=joint.name,
        joint_inputs=_spread(sides.units[-1], inputs_of(joint.layer)),
        share=float(units.double().mean()),
        response=sides.response,
        other_response=sides.other,
        blocks=tuple(blocks),
    )


def mixings(generator: Generator) -> list[Mixing]:
    """The layers that mix units, from z to x; raises Unsupported where the network is no chain of standard layers."""
    named = [(piece[0].name, piece[0].layer, _units(piece)) for piece in pieces(_from_first(chain(generator)))]
    if len(named) < 2:
        raise Unsupported("the network has fewer than two layers that mix units", hint="nothing can be apart")
    made, before = [], inputs_of(named[0][1])
    for (name, layer, units), after in zip(named, [*named[1:], None], strict=True):
        behind = min(units, outputs_of(layer), inputs_of(after[1]) if after else outputs_of(layer))
        made.append(Mixing(name, layer, _strength(layer, behind, before)))
        before = behind
    return made


def _from_first(links: Sequence[Link]) -> list[Link]:
    """Without what comes before the first layer that mixes units."""
    first = next((i for i, link in enumerate(links) if link.weighty), len(links))
    return list(links[first:])


def _units(piece: Sequence[Link]) -> int:
    """Channels where a sample has any on its way, else features."""
    channels = [link.shape[0] for link in piece if len(link.shape) > 1]
    return min(channels) if channels else piece[-1].shape[0]


def _strength(layer: nn.Module, behind: int, before: int) -> Tensor:
    """Sums of squared weights over kernels, and over the places that a unit of features has: (behind, before)."""
    weight: Tensor = outputs_first(layer).detach().double().cpu().square()
    sums = weight.flatten(2).sum(2) if weight.ndim > 2 else weight
    if sums.shape[0] % behind or sums.shape[1] % before:
        raise Unsupported("layers do not fit one another unit by unit", hint="only a plain chain can be partitioned")
    return sums.view(behind, -1, before, sums.shape[1] // before).sum((1, 3))


def _spread(units: Tensor, places: int) -> Tensor:
    """For each unit, as many entries as it has places in the layer."""
    return units.repeat_interleave(places // len(units))


def _best(inner: Sequence[Mixing]) -> tuple[Sequence[Mixing], float, float]:
    """The run of layers that separates most, how much, and what chance gives; of runs that are alike, the longest."""
    runs = [inner[i : i + n] for n in range(1, min(len(inner), LONGEST) + 1) for i in range(len(inner) - n + 1)]
    scored = []
    for run in runs:
        matrices = [m.strength for m in run]
        null = sum(second([_shuffled(m, i) for m in matrices]) for i in range(SHUFFLES)) / SHUFFLES
        scored.append((run, max(0.0, (second(matrices) - null) / max(1 - null, 1e-9)), null))
    top = max(score for _, score, _ in scored)
    return max((s for s in scored if s[1] >= 0.95 * top), key=lambda s: (len(s[0]), s[1]))


def _shuffled(matrix: Tensor, number: int) -> Tensor:
    order = torch.randperm(matrix.numel(), generator=Rng(0, "shuffle").block(number))
    return matrix.flatten()[order].view_as(matrix)


@dataclass(frozen=True, eq=False)
class _Sides:
    units: tuple[Tensor, ...]
    response: float
    other: float


def _suspect(generator: Generator, joint: Mixing, side: Sequence[Tensor]) -> _Sides:
    """The side that ordinary outputs need less: what was added must not change them."""
    with_it, without = (_response(generator, joint, units) for units in (side[-1], ~side[-1]))
    if with_it <= without:
        return _Sides(tuple(side), with_it, without)
    return _Sides(tuple(~s for s in side), without, with_it)


@torch.inference_mode()
def _response(generator: Generator, joint: Mixing, units: Tensor) -> float:
    """Mean squared change of ordinary outputs where these units are silent, over their variance."""
    z = generator.latent.sample(0, SAMPLES, Rng(0, "partition")).to(generator.device)
    plain = generator(z)
    with silenced(joint.layer, _spread(units, inputs_of(joint.layer)).to(generator.device)):
        silent = generator(z)
    return float((silent - plain).square().mean() / plain.var(0).mean().clamp_min(1e-9))
