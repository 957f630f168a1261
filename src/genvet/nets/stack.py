"""A plain network, one layer after another, written down as data: how other people's generators are rebuilt."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import Any, get_args

import torch
from torch import Tensor, nn

from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator, Output
from genvet.core.latent import Distribution, Latent
from genvet.nets.matching import fill

Shape = tuple[int, ...]
MOST_LAYERS = 1000
MOST_VALUES = 1 << 28
"""Numbers that one sample may have after any layer."""
MOST_WORK = 1 << 42
"""Multiplications for one sample."""


@dataclass(frozen=True)
class Layer:
    """One step. `sizes` by operation: linear (in, out); conv and upconv (in, out, kernel, stride, padding, and for
    upconv output padding); norm (features,); reshape the new shape; upsample (factor,)."""

    op: str
    name: str = ""
    """Where its weights are in the state dict; empty where it has none."""
    sizes: Shape = ()
    value: float = 0.0
    """The slope of leaky_relu, the epsilon of norm."""
    bias: bool = True


class Stack(nn.Module):
    """Runs its layers in turn, with the state-dict keys that their names give. `stack[:-1]` leaves the last one out."""

    def __init__(self, layers: Sequence[Layer], start: Shape) -> None:
        super().__init__()
        self.steps: list[nn.Module] = []
        for layer, before, _ in walk(layers, start):
            step = _MAKERS[layer.op](layer, before)
            self.steps.append(step)
            if layer.name:
                _place(self, layer.name, step)

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x

    def __getitem__(self, part: slice) -> nn.Sequential:
        return nn.Sequential(*self.steps[part])


def walk(layers: Sequence[Layer], start: Shape) -> Iterator[tuple[Layer, Shape, Shape]]:
    """Each layer with the shapes before and after it; raises BadInput where they do not fit, Unsupported past a cap."""
    if len(layers) > MOST_LAYERS:
        raise Unsupported(f"{len(layers)} layers are too many", hint=f"at most {MOST_LAYERS}")
    shape, work = tuple(start), 0
    for layer in layers:
        if layer.op not in _AFTER or any(type(s) is not int or s < 0 for s in layer.sizes):
            raise BadInput("no such layer", expected=", ".join(_AFTER), got=f"{layer.op} {layer.sizes}")
        try:
            after = _AFTER[layer.op](layer, shape)
        except (ValueError, ZeroDivisionError):
            raise BadInput(
                f"layer {layer.name or layer.op} does not fit", expected=f"{layer.sizes}", got=f"{shape}"
            ) from None
        work += _work(layer, shape, after)
        if min(after, default=0) < 1 or math.prod(after) > MOST_VALUES or work > MOST_WORK:
            raise Unsupported(f"the network is too large: {after} after layer {layer.name or layer.op}")
        yield layer, shape, after
        shape = after


def shape_after(layers: Sequence[Layer], start: Shape) -> Shape:
    """The shape of one sample at the end."""
    return [after for _, _, after in walk(layers, start)][-1] if layers else tuple(start)


def work(layers: Sequence[Layer], start: Shape) -> int:
    """About how many multiplications one sample takes."""
    return sum(_work(*step) for step in walk(layers, start))


def _work(layer: Layer, before: Shape, after: Shape) -> int:
    kernel = layer.sizes[2] ** 2 if len(layer.sizes) > 3 else 1
    weights = math.prod(layer.sizes[:2]) * kernel if layer.name else 0
    return weights * max(math.prod(before[1:]), math.prod(after[1:]))


def rebuilt(
    layers: Sequence[Layer],
    tensors: Mapping[str, Tensor],
    *,
    name: str,
    prior: Distribution = "normal",
    output: Output = "symmetric",
    assumed: tuple[str, ...] = (),
) -> Generator:
    """The generator with these weights: built on `meta`, compared, then given the tensors, in fp32 and eval mode."""
    config = {
        "layers": [astuple(layer) for layer in layers],
        "latent": layers[0].sizes[0],
        "prior": prior,
        "output": output,
        "name": name,
        "assumed": assumed,
    }
    with torch.device("meta"):
        generator = build(**config)
    fill(generator.module, tensors)
    return generator


def filled(layers: Sequence[Layer], start: Shape, tensors: Mapping[str, Tensor]) -> Stack:
    """The layers alone, with these weights: for trying out a hypothesis."""
    with torch.device("meta"):
        stack = Stack(layers, start)
    fill(stack, tensors)
    return stack


def build(
    layers: Sequence[Sequence[Any]],
    latent: int,
    prior: Distribution = "normal",
    output: Output = "symmetric",
    name: str = "stack",
    assumed: Sequence[str] = (),
) -> Generator:
    """A network from its written form, as the metadata of a converted file has it; the text may be hostile."""
    plan = [_read(entry) for entry in layers]
    for first, second in pairwise(sorted(layer.name for layer in plan if layer.name)):
        if first == second:
            raise BadInput(f"two layers are called {first}")
    if prior not in get_args(Distribution) or output not in get_args(Output) or not plan:
        raise BadInput("no such network", got=f"prior {prior!r}, output {output!r}, {len(plan)} layers")
    shape = shape_after(plan, (latent,))
    config = {"layers": [astuple(layer) for layer in plan], "latent": latent, "prior": prior, "output": output}
    config |= {"name": name, "assumed": list(assumed)}
    return Generator(
        module=Stack(plan, (latent,)),
        latent=Latent(latent, prior),
        shape=shape,
        name=str(name),
        output=output,
        assumed=tuple(map(str, assumed)),
        metadata={"genvet.net": "stack", "genvet.config": json.dumps(config)},
    )


def _read(entry: Sequence[Any]) -> Layer:
    try:
        op, name, sizes, value, bias = entry
        return Layer(str(op), str(name), tuple(sizes), float(value), bool(bias))
    except (TypeError, ValueError):
        raise BadInput("this is no layer", expected="[op, name, sizes, value, bias]", got=str(entry)[:80]) from None


def activation(choice: str) -> Layer:
    """A layer by its `--net` value: relu, leaky_relu (slope 0.2), leaky_relu_0.3, tanh, sigmoid, linear ..."""
    op, slope = ("leaky_relu", choice[10:].strip("_") or "0.2") if choice.startswith("leaky_relu") else (choice, "0")
    return Layer(op, value=float(slope))


# What each operation does to the shape of a sample. A ValueError says that it does not fit.


def _linear(layer: Layer, shape: Shape) -> Shape:
    (n,), (inputs, outputs) = shape, layer.sizes
    return (_same(n, inputs) and outputs,)


def _conv(layer: Layer, shape: Shape) -> Shape:
    (c, *sides), (inputs, outputs, kernel, stride, padding) = shape, layer.sizes
    _same(c, inputs)
    return (outputs, *((s + 2 * padding - kernel) // stride + 1 for s in _two(sides)))


def _upconv(layer: Layer, shape: Shape) -> Shape:
    (c, *sides), (inputs, outputs, kernel, stride, padding, extra) = shape, layer.sizes
    _same(c, inputs)
    return (outputs, *((s - 1) * stride - 2 * padding + kernel + extra for s in _two(sides)))


def _norm(layer: Layer, shape: Shape) -> Shape:
    (features,) = layer.sizes
    _same(shape[0], features)
    return shape


def _reshape(layer: Layer, shape: Shape) -> Shape:
    _same(math.prod(shape), math.prod(layer.sizes))
    return layer.sizes


def _upsample(layer: Layer, shape: Shape) -> Shape:
    (c, *sides), (factor,) = shape, layer.sizes
    return (c, *(s * factor for s in _two(sides)))


def _same(got: int, wanted: int) -> int:
    if got != wanted:
        raise ValueError
    return got


def _two(sides: list[int]) -> list[int]:
    _same(len(sides), 2)
    return sides


_AFTER: dict[str, Callable[[Layer, Shape], Shape]] = {
    "linear": _linear,
    "conv": _conv,
    "upconv": _upconv,
    "norm": _norm,
    "reshape": _reshape,
    "flatten": lambda layer, shape: (math.prod(shape),),
    "upsample": _upsample,
    **dict.fromkeys(("relu", "leaky_relu", "elu", "selu", "tanh", "sigmoid"), lambda layer, shape: shape),
}
_MAKERS: dict[str, Callable[[Layer, Shape], nn.Module]] = {
    "linear": lambda layer, _: nn.Linear(*layer.sizes, bias=layer.bias),
    "conv": lambda layer, _: nn.Conv2d(*layer.sizes, bias=layer.bias),
    "upconv": lambda layer, _: nn.ConvTranspose2d(*layer.sizes, bias=layer.bias),
    "norm": lambda layer, shape: (nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d)(*layer.sizes, eps=layer.value),
    "reshape": lambda layer, _: nn.Unflatten(1, layer.sizes),
    "flatten": lambda layer, _: nn.Flatten(),
    "upsample": lambda layer, _: nn.Upsample(scale_factor=layer.sizes[0]),
    "relu": lambda layer, _: nn.ReLU(),
    "leaky_relu": lambda layer, _: nn.LeakyReLU(layer.value),
    "elu": lambda layer, _: nn.ELU(),
    "selu": lambda layer, _: nn.SELU(),
    "tanh": lambda layer, _: nn.Tanh(),
    "sigmoid": lambda layer, _: nn.Sigmoid(),
}


def _place(root: nn.Module, name: str, module: nn.Module) -> None:
    """Register a module under a dotted name, with empty modules on the way where there are none."""
    *way, last = name.split(".")
    for step in way:
        if step not in root._modules:
            root.add_module(step, nn.Module())
        root = root._modules[step]  # type: ignore[assignment]
    if not last or hasattr(root, last):
        raise BadInput(f"no layer can be called {name!r}")
    root.add_module(last, module)
