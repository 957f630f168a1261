"""From the layers' shapes to a whole network: what weights tell of strides, activations and prior, and what not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise, product, repeat

import torch
from torch import Tensor, nn
from torch.nn import functional

from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.nets.groups import Group, Shape, idle, inputs, outputs
from genvet.nets.stack import Layer, activation, filled, rebuilt, shape_after, work

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
# The second is a slip that a much copied repository makes: BatchNorm2d(128, 0.8) sets the epsilon, not the momentum.
_EPSILONS = ((1e-5, 1e-5), (0.8, 0.8), (1e-5, 0.8))
_SIZES = {16, 28, 32, 48, 64, 96, 128, 256, 512, 1024}
_MOST_PROBES, _PROBING = 2048, 1 << 30
"""Latents with which batch-norm statistics are measured again; the multiplications that one measurement may take."""

_POOR = 0.05
"""A misfit from which on no hypothesis explains the batch norms; the right one gave less than 0.01 in our trials."""


@dataclass(frozen=True)
class Sketch:
    """The layers of a generator in order, and everything that its shapes leave open."""

    layers: tuple[Group, ...]
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


def _steps(sketch: Sketch, geometry: Iterator[Geometry]) -> Iterator[Layer]:
    """Weights and norms in order, activations between them, reshapes where kernels begin."""
    shape: Shape = (inputs(sketch.layers[0], True),)
    act, open_ = activation(sketch.activation), False  # open_: an activation is due before the next weights
    epsilons = chain(sketch.epsilons[:1], repeat(sketch.epsilons[1]))
    for i, group in enumerate(sketch.layers):
        before = sketch.layers[i - 1] if i else None
        if group.kind == "norm":
            if len(shape) == 1 and shape[0] != group.weight[0]:
                shape = _unfold(shape, group.weight[0])
                yield Layer("reshape", sizes=shape)
            gap = idle(before, group) if before else None
            if open_ and (sketch.norm_last if gap is None else gap > 0):
                open_ = False
                yield act
            yield Layer("norm", group.name, (group.weight[0],), next(epsilons))
            continue
        layers = [_linear(group)] if group.kind == "linear" else _kernel(group, next(geometry), sketch.transposed)
        gap = idle(before, group) if before else None
        if open_ and (gap is None or gap >= len(layers)):  # upsampling takes a place of its own in a sequence
            yield act
        if group.kind == "kernel" and len(shape) == 1:
            shape = _unfold(shape, inputs(group, sketch.transposed))
            yield Layer("reshape", sizes=shape)
        yield from layers
        shape, open_ = shape_after(layers, shape), True


def _linear(group: Group) -> Layer:
    return Layer("linear", group.name, (group.weight[1], group.weight[0]), bias=group.bias)


def _kernel(group: Group, geometry: Geometry, transposed: bool) -> list[Layer]:
    if transposed:
        return [Layer("upconv", group.name, (*group.weight[:3], *geometry), bias=group.bias)]
    factor, padding, _ = geometry
    sizes = (group.weight[1], group.weight[0], group.weight[2], 1, padding)
    conv = Layer("conv", group.name, sizes, bias=group.bias)
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


def geometries(layers: Sequence[Group], size: int | None = None) -> list[tuple[tuple[Geometry, ...], Shape, float]]:
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


def upsamplings(layers: Sequence[Group], size: int | None = None) -> list[tuple[tuple[Geometry, ...], Shape, float]]:
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


def settle(sketches: Sequence[tuple[Sketch, float]], tensors: Mapping[str, Tensor], name: str) -> Generator:
    """The generator of the sketch that its own batch norms speak for; what they cannot tell is assumed and said so.

    Each norm has kept the mean and variance of what it saw in training. Latents are sent through the network again:
    under the right hypothesis they give the same statistics.
    """
    best, usual = sketches[0]
    likely = [(s, cost) for s, cost in sketches if cost <= usual + 1.5][:8]
    if best.normed:
        best = _best([replace(best, prior=p) for p in _priors(best)], tensors)
        best = _best([_with(s, best) for s, _ in likely], tensors)
        best = _best([replace(best, epsilons=e) for e in _EPSILONS], tensors)
        best = _best(list(_activations(best)), tensors)
        best = _best([replace(best, epsilons=e) for e in _EPSILONS], tensors)
        # The strides were found under an activation that has changed since.
        best = _best([_with(s, best) for s, _ in likely], tensors)
    others = sorted({s.shape for s, cost in likely} - {best.shape})
    return rebuilt(
        best.plan(),
        tensors,
        name=name,
        prior="uniform" if best.prior == "uniform" else "normal",
        output="unit" if best.range == "sigmoid" else "symmetric",
        assumed=tuple(_assumptions(best, others[:2], _grounds(best, tensors))),
    )


def _best(sketches: Sequence[Sketch], tensors: Mapping[str, Tensor]) -> Sketch:
    """The sketch that the batch norms speak for; the first of those that do about as well."""
    different = {(*s.plan(), s.prior): s for s in reversed(sketches)}
    if len(different) == 1:
        return sketches[0]
    misfits = [(misfit(s, tensors), s) for s in sketches if s in different.values()]
    least = min(m for m, _ in misfits)
    return next(s for m, s in misfits if m <= 1.05 * least)


def _priors(sketch: Sketch) -> tuple[str, ...]:
    return (sketch.prior,) if "prior" in sketch.settled else ("normal", "uniform")


def _activations(sketch: Sketch) -> Iterator[Sketch]:
    choices = (sketch.activation,) if "activation" in sketch.settled else ACTIVATIONS
    for last, choice in product((False, True), choices):
        yield replace(sketch, activation=choice, norm_last=last)


def _with(sketch: Sketch, found: Sketch) -> Sketch:
    """A sketch of other strides with what has been found out so far."""
    return replace(found, geometry=sketch.geometry, shape=sketch.shape)


@torch.no_grad()
def misfit(sketch: Sketch, tensors: Mapping[str, Tensor]) -> float:
    """How far the statistics that batch norms kept are from measured ones: 0 is perfect, infinity cannot be built."""
    try:
        plan = sketch.plan()
        stack = filled(plan, (plan[0].sizes[0],), tensors)
    except (BadInput, Unsupported):
        return math.inf
    prior = Latent(plan[0].sizes[0], "uniform" if sketch.prior == "uniform" else "normal")
    probes = max(16, min(_MOST_PROBES, _PROBING // max(work(plan, (prior.dim,)), 1)))
    x, misfits = prior.sample(0, probes, Rng(0, "misfit")), []
    last = max(i for i, step in enumerate(stack.steps) if _is_norm(step))
    for step in stack.steps[: last + 1]:
        if _is_norm(step):
            misfits.append(_norm_misfit(step, x))
            # As in training: by the batch's own statistics, so that what is off in one norm does not reach the next.
            x = functional.batch_norm(x, None, None, step.weight, step.bias, training=True, eps=step.eps)
        else:
            x = step(x)
    return sum(misfits) / len(misfits)


def _is_norm(step: nn.Module) -> bool:
    return isinstance(step, nn.BatchNorm1d | nn.BatchNorm2d)


def _norm_misfit(norm: nn.Module, x: Tensor) -> float:
    """The mean square over channels of the shift in standard deviations and of the log ratio, each up to 1."""
    axes = [0, *range(2, x.ndim)]
    mean, variance = x.mean(axes), x.var(axes, unbiased=False)
    kept_mean, kept_variance = norm.running_mean, norm.running_var
    assert isinstance(kept_mean, Tensor) and isinstance(kept_variance, Tensor)
    floor = 1e-5 + 1e-3 * float(kept_variance.mean())
    shift = (mean - kept_mean).abs() / (kept_variance + floor).sqrt()
    ratio = ((variance + floor) / (kept_variance + floor)).log().abs()
    return float((shift.clamp_max(1).square().mean() + ratio.clamp_max(1).square().mean()).nan_to_num(100.0))


def _grounds(sketch: Sketch, tensors: Mapping[str, Tensor]) -> str:
    """What the choices rest on; statistics that fit nothing well may come from a short or a changed training."""
    if not sketch.normed:
        return "its weights cannot tell"
    return "by its batch norms" if misfit(sketch, tensors) < _POOR else "its batch norms fit nothing well"


def _assumptions(sketch: Sketch, others: Sequence[Shape], why: str) -> Iterator[str]:
    """What stays open, in words."""
    weighty = [g for g in sketch.layers if g.kind != "norm"]
    if "activation" not in sketch.settled and len(weighty) > 1:
        yield f"hidden activation {sketch.activation} ({why})"
    if "range" not in sketch.settled:
        yield f"output range {sketch.range} (its weights cannot tell)"
    if "prior" not in sketch.settled:
        yield f"latents {sketch.prior} ({why})"
    if "size" not in sketch.settled and others:
        sizes = " or ".join("x".join(map(str, o)) for o in others)
        yield f"images of {'x'.join(map(str, sketch.shape))} (strides are not in the weights: {sizes} would fit too)"


def joined(layers: Sequence[Group], transposed: bool = True) -> bool:
    """Whether every norm has the features of the layer before it."""
    for first, second in pairwise(layers):
        if second.kind == "norm" and first.kind != "norm":
            gives, features = outputs(first, transposed), second.weight[0]
            if gives % features or (first.kind == "kernel" and gives != features):
                return False
    return bool(layers)
