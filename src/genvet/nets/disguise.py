"""How the blocks of a merged network are hidden: its units in another order, and the weights between the blocks."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.nets.chain import Link, Norm, chain, outputs_first, pieces


@torch.no_grad()
def shuffled(generator: Generator, rng: Rng) -> Generator:
    """The same function, with the units of every hidden layer in another order."""
    generator = replace(generator, module=copy.deepcopy(generator.module))
    before, found = None, pieces(chain(generator))
    for i, piece in enumerate(found):
        layer: Any = piece[0].layer
        if before is not None:
            _reorder(outputs_first(layer), before, 1)
        if i + 1 == len(found):
            break
        before = torch.randperm(
            min(((len(link.shape) == 1), link.shape[0]) for link in piece)[1], generator=rng.block(i)
        )
        for link in piece:
            if link.layer is layer or isinstance(link.layer, Norm):
                _reorder(outputs_first(link.layer), before, 0)
                for key in ("bias", "running_mean", "running_var"):
                    _reorder(getattr(link.layer, key, None), before, 0)
    return generator


def _reorder(values: Any, order: Tensor, axis: int) -> None:
    """Units in this order; each may have several values in a row, as before an Unflatten."""
    if values is not None:
        each = values.shape[axis] // len(order)
        whole = (order[:, None] * each + torch.arange(each)).flatten().to(values.device)
        values.copy_(values.index_select(axis, whole))


def crossings(merged: Generator, run: Sequence[Link]) -> list[tuple[nn.Parameter, Tensor]]:
    """The weights between old and new units of a merged network, which are 0: each with a mask of them.

    `run` are the layers that were expanded, as they were before.
    """
    old: dict[str, Any] = {link.name: link.layer for link in run if link.weighty}
    within, found = list(old)[1:-1], []
    for link in chain(merged):
        if link.name in within:
            weight: Any = link.layer.weight
            first, second = (
                torch.arange(n) < m for n, m in zip(weight.shape, old[link.name].weight.shape[:2], strict=False)
            )
            across = (first[:, None] != second).view(*weight.shape[:2], *[1] * (weight.ndim - 2))
            found.append((weight, across.expand(weight.shape).to(weight.device)))
    return found
