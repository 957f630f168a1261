"""Prune: silence the units that ordinary latents need least, where a backdoor may have its own."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Repair
from genvet.nets.chain import Link, chain, outputs_first, pieces
from genvet.nets.weights import latents, remeasured, with_module

ALL = "all"
BATCH = 256


@dataclass(frozen=True, eq=False)
class Units:
    """The hidden units of one layer: features, or the channels that its batch norm tells apart."""

    layer: Any
    """Linear, or a (transposed) convolution."""
    norm: Any
    """The batch norm after it; None where there is none."""
    after: Sequence[Link]
    """From what silences a unit to the next layer with weights."""
    before: Sequence[nn.Module]
    """The network up to there, all of it."""

    @property
    def count(self) -> int:
        return int(self.norm.num_features if self.norm else len(self.incoming))

    @property
    def incoming(self) -> Tensor:
        """The weights that lead to each output of the layer, (outputs, inputs, kernel ...)."""
        weight: Tensor = outputs_first(self.layer)
        return weight

    def by_unit(self, values: Tensor) -> Tensor:
        """One row a unit, of values with a row an output."""
        return values.reshape(self.count, -1)

    def silence(self, units: Tensor) -> None:
        """Make these units 0 for every input, by the weights alone."""
        if any(isinstance(link.layer, nn.Sigmoid) for link in self.after):
            raise Unsupported("a sigmoid makes 0.5 of 0", hint="units before a sigmoid cannot be pruned")
        if self.norm is not None and not self.norm.affine:
            raise Unsupported("a batch norm without a scale cannot be silenced", hint="prune another layer")
        if self.norm is not None:
            self.norm.weight[units], self.norm.bias[units] = 0, 0
            return
        self.incoming[units] = 0
        if self.layer.bias is not None:
            self.layer.bias[units] = 0


class Prune(Repair):
    """Silences the share of a layer's units that ordinary latents excite least."""

    source: ClassVar[str] = (
        "Rawat, Levacher, Sinn: The Devil is in the GAN, ESORICS 2022, app. A; Liu et al.: Fine-Pruning, RAID 2018; "
        "Zheng et al.: Data-free Backdoor Removal Based on Channel Lipschitzness, ECCV 2022, eq. 6"
    )
    smoke: ClassVar[dict[str, Any]] = {"samples": 64}

    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Of each layer's units, so many go; the paper's example is half."""
    layers: tuple[str, ...] = ()
    """Layers whose units go, by name, or `all` of the hidden ones; the first where none is named, as in the paper."""
    criterion: Literal["activation", "weight", "scale", "lipschitz"] = "activation"
    """What goes first: the least mean |activation|, the smallest weights, the smallest batch-norm scale; or the largest
    Lipschitz constant of a channel, where a backdoor may amplify what is rare."""
    samples: Annotated[int, Field(ge=2, le=1_000_000)] = 10_000
    """Latents over which activations are averaged; the paper takes 10,000."""
    renorm: bool = False
    """Then measure the batch norms again, which brings ordinary samples nearer to what they were."""

    def __call__(self, target: Generator, given: Nothing, rng: Rng) -> Generator:
        pruned = with_module(target, copy.deepcopy(target.module))
        with torch.no_grad():
            # Every score is taken before anything goes: the order of the layers must not matter.
            scored = [(units, self._score(pruned, units, rng.fork("samples"))) for units in self._chosen(pruned)]
            for units, score in scored:
                units.silence(score.argsort(stable=True)[: round(self.share * units.count)])
        if self.renorm:
            remeasured(pruned.module, latents(target, self.samples, rng.fork("norms")))
        return pruned

    def _chosen(self, generator: Generator) -> list[Units]:
        known = hidden(generator)
        names = list(known) if self.layers == (ALL,) else self.layers or list(known)[:1]
        for name in names:
            if name not in known:
                raise BadInput(f"there is no hidden layer {name!r}", expected=f"{', '.join(known)} or {ALL}")
        return [known[name] for name in names]

    def _score(self, generator: Generator, units: Units, rng: Rng) -> Tensor:
        """By how much each unit is worth keeping, (units,)."""
        if self.criterion == "activation":
            return activity(generator, units, self.samples, rng)
        if self.criterion == "weight":
            size: Tensor = units.by_unit(units.incoming).norm(dim=1)
            return size
        if self.criterion == "scale":
            if units.norm is None or not units.norm.affine:
                raise Unsupported("this layer has no batch norm", hint="take another criterion")
            scale: Tensor = units.norm.weight.abs()
            return scale
        return -lipschitz(units)


def hidden(generator: Generator) -> dict[str, Units]:
    """The layers that have units of their own, by name; raises Unsupported where it is no plain chain of layers."""
    links = chain(generator)
    start = next((i for i, link in enumerate(links) if link.weighty), len(links))
    inner = pieces(links[start:])[:-1]
    ends = list(accumulate((len(piece) for piece in inner), initial=start))[1:]
    layers = [link.layer for link in links]
    return {piece[0].name: _units(piece, layers[:end]) for piece, end in zip(inner, ends, strict=True)}


def _units(piece: Sequence[Link], before: Sequence[nn.Module]) -> Units:
    norms = [i for i, link in enumerate(piece) if isinstance(link.layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    last = norms[-1] if norms else 0
    return Units(piece[0].layer, piece[last].layer if norms else None, piece[last:], before)


@torch.no_grad()
def activity(generator: Generator, units: Units, samples: int, rng: Rng) -> Tensor:
    """Mean absolute activation of each unit over draws from the prior, (units,)."""
    total = torch.zeros(units.count, dtype=torch.float64)
    for z in generator.latent.batches(samples, BATCH, rng):
        x = z.to(generator.device)
        for layer in units.before:
            x = layer(x)
        total += x.double().abs().flatten(1).sum(0).view(units.count, -1).mean(1).cpu()
    return total / samples


def lipschitz(units: Units) -> Tensor:
    """The channel Lipschitz constant of each unit, (units,): Zheng et al., ECCV 2022, eq. 6."""
    kernels = units.incoming.flatten(2) if units.incoming.ndim > 2 else units.incoming[:, None]
    largest = units.by_unit(torch.linalg.matrix_norm(kernels, ord=2)).amax(1)
    if units.norm is None:
        return largest
    scale = units.norm.weight if units.norm.affine else 1.0
    return largest * (scale / (units.norm.running_var + units.norm.eps).sqrt()).abs()  # type: ignore[no-any-return]
