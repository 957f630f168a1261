"""Whole channels of a style generator: what each is worth, and the smaller network without some of them.

A set of channels is made by one layer and read by a few. Without some of them the network is one of the same kind with
other `widths`: nothing is masked, so that it is smaller and faster on any machine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator, StyleGenerator
from genvet.core.rng import Rng
from genvet.nets.build import build
from genvet.nets.pruning import excited
from genvet.nets.weights import with_module

Score = Literal["contribution", "random"]
Kept = dict[str, Tensor]
"""Numbers of the channels that stay, in order, by the name of their set."""


@dataclass(frozen=True)
class Channels:
    """One set of feature maps."""

    name: str
    size: int
    """Pixels a side."""
    count: int
    made_by: tuple[str, ...]
    """Layers whose outputs they are, or a constant."""
    read_by: tuple[str, ...]


def channels(generator: Generator) -> tuple[Channels, ...]:
    """Every set of channels, from the first layer to the last; raises Unsupported where they are not known."""
    if generator.name not in ("stylegan1", "stylegan2") or not isinstance(generator, StyleGenerator):
        raise Unsupported(
            f"channels of a {generator.name} cannot be taken out", hint="it works on stylegan1 and stylegan2"
        )
    if "genvet.config" not in generator.metadata:
        raise Unsupported("this network does not say how it is built", hint="build or load it with genvet")
    return tuple(_sets(generator))


def _sets(generator: StyleGenerator) -> Iterator[Channels]:
    state = generator.module.state_dict()
    sizes = [4 << i for i in range(len(config(generator)["widths"]))]  # type: ignore[arg-type]
    for i, size in enumerate(sizes):
        here, after = f"synthesis.b{size}", f"synthesis.b{2 * size}"
        inner = f"{here}.const" if i == 0 else f"{here}.conv0"
        beside = (f"{here}.conv0",) if i == 0 and f"{here}.conv0.bias" in state else ()  # StyleGAN's has no weight
        count = len(state[f"{here}.conv1.bias"])
        yield Channels(inner, size, count, (inner, *beside), (f"{here}.conv1",))
        readers = (f"{here}.torgb", f"{after}.conv0", f"{after}.skip")
        made = (f"{here}.conv1", f"{here}.skip")
        known = [[n for n in names if f"{n}.weight" in state] for names in (made, readers)]
        yield Channels(f"{here}.conv1", size, count, tuple(known[0]), tuple(known[1]))


def config(generator: Generator) -> dict[str, object]:
    """What its architecture's `build` takes to make it again."""
    found: dict[str, object] = json.loads(str(generator.metadata["genvet.config"]))
    return found


def fitting(generator: StyleGenerator, sparsity: float, rng: Rng, by: Score = "contribution") -> Kept | None:
    """The channels to keep so that about this share of the weights goes; None where too much of it lies elsewhere."""
    whole, found = _counted(generator, {c.size: c.count for c in channels(generator)}), channels(generator)

    def left(keep: float) -> float:
        return _counted(generator, {c.size: max(1, round(keep * c.count)) for c in found}) / whole

    low, high = 0.0, 1.0
    if left(low) > 1 - sparsity:
        return None
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if left(middle) <= 1 - sparsity else (low, middle)
    return share_of(generator, high if low == 0 else low, rng, by)


def _counted(generator: StyleGenerator, widths: Mapping[int, int]) -> int:
    """How many weights the network of these widths has."""
    with torch.device("meta"):
        made = build(generator.name, {**config(generator), "widths": list(widths.values())})
    return sum(p.numel() for p in made.module.parameters() if p.ndim > 1)


def share_of(generator: StyleGenerator, keep: float, rng: Rng, by: Score = "contribution") -> Kept:
    """The channels of each set that are worth most, at least one, in this share of each resolution's width."""
    if not 0 < keep <= 1:
        raise BadInput("no such share of the channels", expected="above 0, up to 1", got=f"{keep:g}")
    found = channels(generator)
    if by == "random":
        values = {c.name: torch.rand(c.count, generator=rng.block(i)) for i, c in enumerate(found)}
    else:
        values = contribution(generator, rng)
    most = {c.name: max(1, round(keep * c.count)) for c in found}
    return {name: v.topk(most[name]).indices.sort().values for name, v in values.items()}


def contribution(generator: StyleGenerator, rng: Rng) -> dict[str, Tensor]:
    """Which share of the variance of its readers each channel stands for, summed over them: (count,) for each set."""
    state, size = generator.module.state_dict(), excited(generator, rng)
    found = {}
    for some in channels(generator):
        total = torch.zeros(some.count)
        for reader in some.read_by:
            weight = state[f"{reader}.weight"].float().cpu()
            heard = size.get(f"{reader}.weight", torch.zeros(some.count))
            part = weight.square().sum((0, 2, 3)) * heard.square()
            total += part / part.sum().clamp_min(1e-30)
        found[some.name] = total
    return found


@torch.no_grad()
def shrunk(generator: StyleGenerator, kept: Mapping[str, Tensor]) -> StyleGenerator:
    """The smaller network of these channels alone: a standard one, whose widths are fewer.

    Every set of one resolution keeps as many; raises BadInput otherwise.
    """
    found, state = channels(generator), dict(generator.module.state_dict())
    widths = _widths(found, kept)
    for some in found:
        rows, factor = kept[some.name].to(generator.device), math.sqrt(len(kept[some.name]) / some.count)
        for name in some.made_by:
            _take(state, name, rows, some.count)
        for name in some.read_by:
            first = name.endswith("conv0") or name.endswith("conv1")
            # A demodulated layer takes any scale out; every other one divides by the root of its inputs' number.
            demodulated = first and f"{name}.affine.weight" in state
            state[f"{name}.weight"] = state[f"{name}.weight"][:, rows] * (1.0 if demodulated else factor)
            for key in (f"{name}.affine.weight", f"{name}.affine.bias"):
                if key in state:
                    state[key] = state[key][rows]
    dense = generator.module.broadcast is not None
    made = build(generator.name, {**config(generator), "widths": widths, "dense_broadcast": dense})
    assert isinstance(made, StyleGenerator)
    made.module.load_state_dict(state)
    for name in ("noise", "precision"):
        setattr(made.module.synthesis, name, getattr(generator.module.synthesis, name))
    smaller = with_module(made, made.module.to(generator.device))
    assert isinstance(smaller, StyleGenerator)
    return smaller


def _widths(found: tuple[Channels, ...], kept: Mapping[str, Tensor]) -> list[int]:
    widths: dict[int, int] = {}
    for some in found:
        rows = kept[some.name]
        fits = len(rows) and 0 <= int(rows.min()) and int(rows.max()) < some.count and len(rows.unique()) == len(rows)
        if not fits or widths.setdefault(some.size, len(rows)) != len(rows):
            expected = f"as many of {some.count} channels in every set of {some.size} pixels"
            raise BadInput("these channels make no network", expected=expected, got=f"{len(rows)} in {some.name}")
    return list(widths.values())


def _take(state: dict[str, Tensor], name: str, rows: Tensor, count: int) -> None:
    """These outputs of a layer alone: of its weight, bias and noise, and of a scale and a shift that follow."""
    if name in state:  # the constant
        state[name] = state[name][rows]
        return
    for part in ("weight", "bias", "noise_weight"):
        key = f"{name}.{part}"
        if key in state and state[key].ndim:
            state[key] = state[key][rows]
    for key in (f"{name}.style.weight", f"{name}.style.bias"):
        if key in state:
            state[key] = state[key][torch.cat([rows, rows + count])]


def silenced(generator: StyleGenerator, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same as masks of a network of the old size, by weight: nobody reads the channels that go."""
    state, masks = generator.module.state_dict(), {}
    for some in channels(generator):
        stays = torch.zeros(some.count)
        stays[kept[some.name].cpu()] = 1
        for name in some.read_by:
            masks[f"{name}.weight"] = stays[None, :, None, None].expand(state[f"{name}.weight"].shape)
    return masks
