"""From the layers' shapes to whole networks: every way to choose strides, upsampling and image size that fits them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise, product, repeat
from typing import Any

from genvet.nets.layer_shapes import LayerShapes, Shape, idle, inputs, outputs
from genvet.nets.stack import Layer, activation, shape_after

ACTIVATIONS = ("relu", "leaky_relu", "leaky_relu_0.01", "leaky_relu_0.1", "leaky_relu_0.3", "elu", "selu", "tanh")
RANGES = ("tanh", "sigmoid", "linear")
OPTIONS: dict[str, tuple[str, ...]] = {
    "activation": ACTIVATIONS,
    "range": RANGES,
    "prior": ("normal", "uniform"),
    "size": (),
}
"""What bare weights cannot tell for sure. `leaky_relu` has the slope 0.2; an empty choice takes a whole number."""

Geometry = tuple[int, int, int]
"""Of a transposed convolution stride, padding, output padding; of a plain one the upsampling before it, padding, 0."""
Fit = tuple[tuple[Geometry, ...], Shape, float]
"""The geometry of every kernel, the shape of the image that comes out, and how unusual that is."""
# By kernel, with how unusual each is. A first layer on a 1x1 latent is apart: stride 1 and no padding.
_USUAL: dict[int, tuple[tuple[Geometry, float], ...]] = {
    1: (((1, 0, 0), 0),),
    2: (((2, 0, 0), 0),),
    3: (((2, 1, 1), 0), ((2, 1, 0), 0.5), ((1, 1, 0), 0.5)),
    4: (((2, 1, 0), 0), ((2, 3, 0), 2.0), ((1, 0, 0), 2.0)),
    5: (((2, 2, 1), 0), ((1, 2, 0), 0.5), ((1, 0, 0), 2.0)),
    6: (((2, 2, 0), 0), ((1, 0, 0), 2.0)),
    7: (((1, 3, 0), 0), ((2, 3, 1), 0.5)),
    8: (((2, 3, 0), 0),),
}
_SIZES = {16, 28, 32, 48, 64, 96, 128, 256, 512, 1024}


@dataclass(frozen=True)
class Sketch:
    """The layers of a generator in order, and everything that its shapes leave open."""

    layers: tuple[LayerShapes, ...]
    shape: Shape
    """Of one image."""
    geometry: tuple[Geometry, ...] = ()
    """Of each kernel."""
    activation: str = "relu"
    range: str = "tanh"
    prior: str = "normal"
    norm_last: bool = False
    """Whether a norm comes after the activation, where the names do not tell."""
    transposed: bool = True
    """Whether the kernels are of transposed convolutions, or of plain ones with upsampling between them."""
    epsilons: tuple[float, float] = (1e-5, 1e-5)
    """Of the first norm, and of the others."""
    settled: Mapping[str, str] = field(default_factory=dict)
    """What --net has settled."""

    def plan(self) -> list[Layer]:
        """The network, layer by layer."""
        layers, geometry = list(_steps(self, iter(self.geometry))), self.shape
        if self.range != "linear":
            layers.append(Layer(self.range))
        if shape_after(layers, (inputs(self.layers[0], True),)) != geometry:
            layers.append(Layer("reshape", sizes=geometry))
        return layers

    @property
    def normed(self) -> bool:
        return any(g.kind == "norm" for g in self.layers)


def settled_by(options: Mapping[str, str]) -> dict[str, Any]:
    """What --net has settled, as fields of a sketch; the size shows in its shape."""
    return {"settled": options, **{key: value for key, value in options.items() if key != "size"}}


def size_in(options: Mapping[str, str]) -> int | None:
    """The size that --net has settled."""
    return int(options["size"]) if "size" in options else None


def _steps(sketch: Sketch, geometry: Iterator[Geometry]) -> Iterator[Layer]:
    """Weights and norms in order, activations between them, reshapes where kernels begin."""
    shape: Shape = (inputs(sketch.layers[0], True),)
    act, open_ = activation(sketch.activation), False  # open_: an activation is due before the next weights
    epsilons = chain(sketch.epsilons[:1], repeat(sketch.epsilons[1]))
    for i, bare in enumerate(sketch.layers):
        before = sketch.layers[i - 1] if i else None
        if bare.kind == "norm":
            if len(shape) == 1 and shape[0] != bare.weight[0]:
                shape = _unfold(shape, bare.weight[0])
                yield Layer("reshape", sizes=shape)
            gap = idle(before, bare) if before else None
            if open_ and (sketch.norm_last if gap is None else gap > 0):
                open_ = False
                yield act
            yield Layer("norm", bare.name, (bare.weight[0],), next(epsilons))
            continue
        layers = [linear(bare)] if bare.kind == "linear" else _kernel(bare, next(geometry), sketch.transposed)
        gap = idle(before, bare) if before else None
        if open_ and (gap is None or gap >= len(layers)):  # upsampling takes a place of its own in a sequence
            yield act
        if bare.kind == "kernel" and len(shape) == 1:
            shape = _unfold(shape, inputs(bare, sketch.transposed))
            yield Layer("reshape", sizes=shape)
        yield from layers
        shape, open_ = shape_after(layers, shape), True


def linear(bare: LayerShapes) -> Layer:
    """A fully connected layer of these sizes."""
    return Layer("linear", bare.name, (bare.weight[1], bare.weight[0]), bias=bare.bias)


def _kernel(bare: LayerShapes, geometry: Geometry, transposed: bool) -> list[Layer]:
    if transposed:
        return [Layer("upconv", bare.name, (*bare.weight[:3], *geometry), bias=bare.bias)]
    factor, padding, _ = geometry
    sizes = (bare.weight[1], bare.weight[0], bare.weight[2], 1, padding)
    conv = Layer("conv", bare.name, sizes, bias=bare.bias)
    return [Layer("upsample", sizes=(factor,)), conv] if factor > 1 else [conv]


def _unfold(shape: Shape, channels: int) -> Shape:
    """(c s s,) as (c, s, s)."""
    side = math.isqrt(max(shape[0] // channels, 1))
    return (channels, side, side)


def image_shape(n: int) -> Shape | None:
    """The image that a last layer of `n` numbers stands for: a square one, grey or coloured; None where there is none.

    >>> image_shape(784), image_shape(3072), image_shape(10)
    ((1, 28, 28), (3, 32, 32), None)
    """
    for channels in (1, 3):
        side = math.isqrt(n // channels)
        if n >= 64 and channels * side * side == n:
            return (channels, side, side)
    return None


def geometries(layers: Sequence[LayerShapes], size: int | None = None) -> list[Fit]:
    """Strides and paddings that the kernels may have, the image that comes out, and a cost; the likeliest first."""
    kernels = [g for g in layers if g.kind == "kernel"]
    if any(k.weight[2] != k.weight[3] or k.weight[2] not in _USUAL for k in kernels[1:]) or len(kernels) > 12:
        return []
    choices = [list(_USUAL.get(k.weight[2], ())) for k in kernels]
    linear = [g for g in layers if g.kind == "linear"]
    if not linear:  # the first kernel spreads a 1x1 latent
        choices[0] = [((1, 0, 0), 0.0)]
    elif not choices[0]:
        return []
    start = math.isqrt(outputs(linear[-1], True) // inputs(kernels[0], True)) if linear else 1
    found = []
    while math.prod(len(c) for c in choices) > 4096:
        choices = [c[:-1] if len(c) > 1 else c for c in choices]
    for picked in product(*choices):
        side, cost = start, 0.0
        for place, (kernel, ((stride, padding, extra), unusual)) in enumerate(zip(kernels, picked, strict=True)):
            side = (side - 1) * stride - 2 * padding + kernel.weight[2] + extra
            cost += unusual + (0.01 * place if stride == 1 else 0)
        channels = outputs(kernels[-1], True)
        if side >= 4 and (size is None or side == size):
            cost += (0 if side in _SIZES else 1) - (1 if (side, channels) == (28, 1) else 0)
            found.append((tuple(g for g, _ in picked), (channels, side, side), cost))
    return sorted(found, key=lambda f: f[2])


def upsamplings(layers: Sequence[LayerShapes], size: int | None = None) -> list[Fit]:
    """Before which plain convolutions the image may double, what comes out, and a cost; the likeliest first."""
    kernels = [g for g in layers if g.kind == "kernel"]
    if len(kernels) > 12 or any(k.weight[2] != k.weight[3] or k.weight[2] % 2 == 0 for k in kernels):
        return []
    gaps = [idle(a, b) for a, b in pairwise(layers) if b.kind == "kernel"]
    choices = [{None: (2, 1), 0: (1,), 1: (2, 1)}.get(gap, (2,)) for gap in gaps]
    linear = [g for g in layers if g.kind == "linear"]
    start = math.isqrt(outputs(linear[-1], False) // inputs(kernels[0], False))
    channels, found = outputs(kernels[-1], False), []
    for picked in product(*choices):
        side = start * math.prod(picked)
        if side > start and (size is None or side == size):
            cost = (0 if side in _SIZES else 1) + 0.3 * (picked[0] == 1) + 0.3 * (picked[-1] == 2)
            geometry = tuple((factor, k.weight[2] // 2, 0) for factor, k in zip(picked, kernels, strict=True))
            found.append((geometry, (channels, side, side), cost))
    return sorted(found, key=lambda f: f[2])


def joined(layers: Sequence[LayerShapes], transposed: bool = True) -> bool:
    """Whether every norm has the features of the layer before it."""
    for first, second in pairwise(layers):
        if second.kind == "norm" and first.kind != "norm":
            gives, features = outputs(first, transposed), second.weight[0]
            if gives % features or (first.kind == "kernel" and gives != features):
                return False
    return bool(layers)
