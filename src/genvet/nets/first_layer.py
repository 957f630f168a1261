"""What reads z: the first layer's weights, and the norm behind it, which remembers how they were."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.maths.spectra import Spike, changed_direction
from genvet.nets.chain import Norm, chain

COVARIANCE = {"normal": 1.0, "uniform": 1 / 3, "sphere": 1.0}
"""Of one number of a latent."""


@dataclass(frozen=True, eq=False)
class FirstLayer:
    """The layer that reads z."""

    name: str
    rows: Tensor
    """Its weights, one row of (dim,) for each number that it gives."""
    change: Tensor
    """How much the variance of each, by these weights, exceeds the one that the norm keeps, as a share of it."""

    def spike(self) -> Spike:
        """The direction of z along which the weights changed since the norm kept its statistics."""
        return changed_direction(self.rows, self.change)


def first_layer(generator: Generator) -> FirstLayer:
    """The first layer and the norm right behind it, in closed form: no sample is drawn.

    Raises Unsupported where the network is no chain, or where it does not begin with such a pair.
    """
    links = chain(generator)
    plain = (nn.Identity, nn.Unflatten, nn.Flatten)
    seen = [link for link in links if not isinstance(link.layer, plain)]
    for link, after in pairwise(seen[:2]):
        rows, shift = _rows(link.layer, generator.latent.dim)
        if rows is not None and isinstance(after.layer, Norm) and len(rows) % after.layer.num_features == 0:
            return FirstLayer(
                link.name, rows, _change(rows, shift, after.layer, COVARIANCE[generator.latent.distribution])
            )
    raise Unsupported("z is not read by a layer with a batch norm right behind it", hint="nothing to compare with")


def _rows(layer: nn.Module, dim: int) -> tuple[Tensor | None, Tensor]:
    """Weights as (numbers, dim), with the numbers of a channel side by side, and biases (numbers,)."""
    if isinstance(layer, nn.Linear) and layer.in_features == dim:
        rows = layer.weight.detach().double().cpu()
    elif isinstance(layer, nn.ConvTranspose2d) and layer.in_channels == dim and {*layer.padding} == {0}:
        rows = layer.weight.detach().double().cpu().flatten(1).T  # of a single place: (outputs * places, dim)
    else:
        return None, torch.zeros(0)
    bias = layer.bias.detach().double().cpu() if layer.bias is not None else torch.zeros(1).double()
    return rows, bias.repeat_interleave(len(rows) // len(bias))


def _change(rows: Tensor, shift: Tensor, norm: Norm, covariance: float) -> Tensor:
    """The same for all numbers of a channel, which share their norm's variance."""
    channels = norm.num_features
    spread = shift.view(channels, -1).var(1, unbiased=False)
    own = covariance * rows.square().sum(1).view(channels, -1).mean(1) + spread
    kept = norm.running_var.double().cpu()  # type: ignore[union-attr]
    return ((own - kept) / own.clamp_min(1e-30)).repeat_interleave(len(rows) // channels)
