"""Layers as their tensors' names and shapes tell them: what bare weights say before any network is made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise, zip_longest

from genvet.core.modelfile import Part

LEAVES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
Shape = tuple[int, ...]
MOST_TENSORS = 1000
"""Of a plain stack of layers: the search for their order is not meant for more."""


@dataclass(frozen=True)
class LayerShapes:
    """One layer's tensors: `main.0` with its leaves and their shapes."""

    name: str
    leaves: Mapping[str, Shape]

    @property
    def kind(self) -> str:
        """linear, kernel (of a convolution of either direction), norm, or "" for what is none of them."""
        weight = self.leaves.get("weight")
        if weight is None or set(self.leaves) - set(LEAVES) or 0 in weight:
            return ""
        if "running_mean" in self.leaves:
            complete = {"weight", "bias", "running_mean", "running_var"} <= set(self.leaves)
            return "norm" if complete and len(weight) == 1 else ""
        return {2: "linear", 4: "kernel"}.get(len(weight), "")

    @property
    def weight(self) -> Shape:
        return self.leaves.get("weight", ())

    @property
    def bias(self) -> bool:
        return "bias" in self.leaves

    @property
    def prefix(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def index(self) -> int | None:
        """Its number in a sequence; None where it has a name."""
        last = self.name.rpartition(".")[2]
        return int(last) if re.fullmatch(r"\d{1,6}", last) else None


def layer_shapes(part: Part) -> list[LayerShapes]:
    """The layers in the file's order; none where there are more than any plain stack has."""
    if len(part.tensors) > MOST_TENSORS:
        return []
    found: dict[str, dict[str, Shape]] = {}
    for key, spec in part.tensors.items():
        name, _, leaf = key.rpartition(".")
        found.setdefault(name, {})[leaf] = tuple(spec.shape)
    return [LayerShapes(name, leaves) for name, leaves in found.items()]


def orders(layers: list[LayerShapes]) -> list[list[LayerShapes]]:
    """The orders in which they may follow one another: the file's, and by name with numbers as numbers.

    In either, norms that stand in a row of their own also come one after each of the first layers.
    """
    found: list[list[LayerShapes]] = []
    for order in (layers, sorted(layers, key=natural)):
        norms, others = [g for g in order if g.kind == "norm"], [g for g in order if g.kind != "norm"]
        paired = [g for pair in zip_longest(others, norms) for g in pair if g is not None]
        found += [o for o in (order, paired) if o not in found]
    return found


def natural(layer: LayerShapes) -> list[tuple[int, int, str]]:
    """A sorting key: `main.10` comes after `main.9`."""
    pieces = re.findall(r"\d{1,9}|\D+", layer.name)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in pieces]


def idle(first: LayerShapes, second: LayerShapes) -> int | None:
    """How many layers without weights stand between two of one sequence; None where their names cannot tell."""
    if first.prefix != second.prefix or first.index is None or second.index is None:
        return None
    return second.index - first.index - 1


def weighty(layers: Iterable[LayerShapes]) -> list[LayerShapes]:
    """Those that are no norms."""
    return [g for g in layers if g.kind in ("linear", "kernel")]


def chained(layers: Iterable[LayerShapes], transposed: bool) -> bool:
    """Whether each layer takes what the one before gives; kernels as of transposed convolutions or of plain ones."""
    return broken(layers, transposed) is None


def broken(layers: Iterable[LayerShapes], transposed: bool) -> tuple[LayerShapes, LayerShapes] | None:
    """The first two layers of which the second does not take what the first gives."""
    return next(((a, b) for a, b in pairwise(weighty(layers)) if not follows(a, b, transposed)), None)


def follows(first: LayerShapes, second: LayerShapes, transposed: bool) -> bool:
    """Whether the second takes as many channels as the first gives, or a number of pixels of as many channels."""
    gives, takes = outputs(first, transposed), inputs(second, transposed)
    if first.kind == second.kind:
        return gives == takes
    few, many = (takes, gives) if first.kind == "linear" else (gives, takes)
    return many % few == 0


def inputs(layer: LayerShapes, transposed: bool) -> int:
    """Channels that it takes; a transposed convolution has them first."""
    return layer.weight[0] if transposed and layer.kind == "kernel" else layer.weight[1]


def outputs(layer: LayerShapes, transposed: bool) -> int:
    """Channels that it gives."""
    return layer.weight[1] if transposed and layer.kind == "kernel" else layer.weight[0]
