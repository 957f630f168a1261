"""The layers of a style generator's synthesis that read w, each with the place in w+ that it reads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genvet.core.generator import StyleGenerator
from genvet.nets.style_mapping import Linear


@torch.no_grad()
def affines(generator: StyleGenerator) -> dict[str, tuple[Linear, int]]:
    """By name, in the order in which they run: what is read is told by giving each place its own number."""
    found: dict[str, tuple[Linear, int]] = {}
    named = [(n, m) for n, m in generator.module.synthesis.named_modules() if isinstance(m, Linear)]  # type: ignore[union-attr]

    def watch(name: str, layer: Linear) -> torch.utils.hooks.RemovableHandle:
        def see(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            w = given[0].flatten()
            if len(w) == generator.w_dim and bool((w == w[0]).all()) and float(w[0]).is_integer():
                found[name] = layer, int(w[0])

        return layer.register_forward_pre_hook(see)

    hooks = [watch(name, layer) for name, layer in named]
    places = torch.arange(generator.num_ws, device=generator.device).float()
    try:
        generator.synthesis(places[None, :, None].expand(1, -1, generator.w_dim))
    finally:
        for hook in hooks:
            hook.remove()
    return found


@torch.no_grad()
def read_by_all(generator: StyleGenerator) -> Tensor:
    """What all of these layers make of the one w, below one another and in double: (outputs, w_dim)."""
    size, dense = generator.w_dim, generator.dense_broadcast
    blocks = None if dense is None else dense.weight.detach().double().cpu().view(-1, size, size)  # type: ignore[operator]
    rows = []
    for layer, place in affines(generator).values():
        weight = layer.weight.detach().double().cpu()
        rows.append(weight if blocks is None else weight @ blocks[place])
    return torch.cat(rows) if rows else torch.empty(0, size).double()


@torch.no_grad()
def fold(generator: StyleGenerator) -> None:
    """Work a dense broadcast into these layers, in place: the same images, and w is repeated again."""
    dense, size = generator.dense_broadcast, generator.w_dim
    if dense is None:
        return
    blocks = dense.weight.view(-1, size, size)  # type: ignore[operator]
    for layer, place in affines(generator).values():
        layer.weight.copy_(layer.weight @ blocks[place].to(layer.weight))
    generator.module.broadcast = None  # type: ignore[assignment]
