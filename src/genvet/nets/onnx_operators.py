"""ONNX operators 7 to 21 in plain torch: arithmetic, shapes and indices. Layers are in onnx_layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from genvet.core.errors import BadInput, Unsupported

MOST_VALUES = 1 << 26
"""Numbers that one tensor may hold, of one sample."""
Answer = Tensor | tuple[Tensor, ...]
# TensorProto.DataType. Floats of every width are computed in fp32.
_KINDS = {
    **dict.fromkeys((1, 10, 11, 16), torch.float32),
    **dict.fromkeys((2, 3, 5, 6, 7, 12, 13), torch.int64),
    9: torch.bool,
}


@dataclass(frozen=True, eq=False)
class Operation:
    """One node at work: its inputs (None where left out), attributes, the operator set, and how many outputs it has."""

    op: str
    inputs: tuple[Tensor | None, ...]
    attributes: Mapping[str, Any]
    opset: int
    outputs: int = 1

    @property
    def x(self) -> Tensor:
        """The first input."""
        return self.given(0)

    def given(self, i: int) -> Tensor:
        """Input `i`, which must be there."""
        found = self.get(i)
        if found is None:
            raise BadInput(f"{self.op} lacks input {i}")
        return found

    def get(self, i: int) -> Tensor | None:
        return self.inputs[i] if i < len(self.inputs) else None

    def attribute(self, name: str, default: Any) -> Any:
        return self.attributes.get(name, default)

    def numbers(self, i: int) -> list[Any] | None:
        """Input `i` as plain numbers, such as a shape; None where left out. It may not depend on the latent."""
        found = self.get(i)
        if found is None:
            return None
        if found.is_meta:
            raise Unsupported(f"a shape or scale of {self.op} depends on the values of the latent")
        if found.numel() > 1 << 16:
            raise Unsupported(f"{self.op} has {found.numel()} numbers where a few are usual")
        values: list[Any] = found.reshape(-1).tolist()
        return values

    def setting(self, name: str, i: int, since: int) -> list[int] | None:
        """Numbers that were an attribute up to an operator set, and an input since."""
        return self.numbers(i) if self.opset >= since else self.attributes.get(name)


rows: ContextVar[int] = ContextVar("rows", default=1)
"""How many samples are computed together."""


def room(shape: Sequence[int]) -> Sequence[int]:
    """The shape, where a tensor of it may be made; raises Unsupported otherwise."""
    if min(shape, default=0) < 0 or math.prod(shape) > MOST_VALUES * rows.get():
        raise Unsupported(f"the graph makes a tensor of shape {tuple(shape)}", hint=f"at most {MOST_VALUES} numbers")
    return shape


def axis(number: int, rank: int) -> int:
    """An axis counted from the front; raises BadInput where there is none."""
    if not -rank <= number < max(rank, 1):
        raise BadInput("no such axis", expected=f"below {rank}", got=str(number))
    return number % max(rank, 1)


def _broadcasting(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Operation], Tensor]:
    def run(o: Operation) -> Tensor:
        tensors = [o.given(i) for i in range(len(o.inputs))]
        room(torch.broadcast_shapes(*(t.shape for t in tensors)))
        return reduce(function, tensors)

    return run


def _plain(function: Callable[[Tensor], Tensor]) -> Callable[[Operation], Tensor]:
    return lambda o: function(o.x)


def _divide(a: Tensor, b: Tensor) -> Tensor:
    if a.is_floating_point() or b.is_floating_point():
        return a / b
    return torch.div(a, b, rounding_mode="trunc")


def _power(a: Tensor, b: Tensor) -> Tensor:
    return torch.pow(a, b.to(a.dtype))


def _mean(o: Operation) -> Tensor:
    return _broadcasting(torch.add)(o) / len(o.inputs)


def _clip(o: Operation) -> Tensor:
    if o.opset < 11:
        return o.x.clamp(o.attribute("min", -math.inf), o.attribute("max", math.inf))
    low, high = o.get(1), o.get(2)
    x = o.x if low is None else torch.maximum(o.x, low.to(o.x.dtype))
    return x if high is None else torch.minimum(x, high.to(x.dtype))


def _softmax(o: Operation) -> Tensor:
    if o.opset >= 13:
        return o.x.softmax(o.attribute("axis", -1))
    first = axis(o.attribute("axis", 1), o.x.ndim)
    return o.x.flatten(first).softmax(-1).reshape(o.x.shape) if o.x.ndim > first else o.x.softmax(-1)


def _log_softmax(o: Operation) -> Tensor:
    if o.opset >= 13:
        return o.x.log_softmax(o.attribute("axis", -1))
    first = axis(o.attribute("axis", 1), o.x.ndim)
    return o.x.flatten(first).log_softmax(-1).reshape(o.x.shape)


def _cast(o: Operation) -> Tensor:
    kind = o.attribute("to", 1)
    if kind not in _KINDS:
        raise Unsupported(f"the graph casts to kind {kind}, which is no number")
    return o.x.to(_KINDS[kind])


# Shapes


def _reshape(o: Operation) -> Tensor:
    wanted = o.numbers(1) or []
    if not o.attribute("allowzero", 0):
        wanted = [o.x.shape[i] if n == 0 and i < o.x.ndim else n for i, n in enumerate(wanted)]
    return o.x.reshape(wanted)


def _flatten(o: Operation) -> Tensor:
    first = o.attribute("axis", 1)
    first += o.x.ndim if first < 0 else 0
    return o.x.reshape(math.prod(o.x.shape[:first]), -1)


def _transpose(o: Operation) -> Tensor:
    order = o.attribute("perm", list(reversed(range(o.x.ndim))))
    return o.x.permute(*order) if order else o.x


def _squeeze(o: Operation) -> Tensor:
    axes = o.setting("axes", 1, 13)
    if axes is None:
        return o.x.squeeze()
    wanted = {axis(a, o.x.ndim) for a in axes}
    if any(o.x.shape[a] != 1 for a in wanted):
        raise BadInput("an axis that is squeezed has more than one entry", got=str(tuple(o.x.shape)))
    return o.x.reshape([n for i, n in enumerate(o.x.shape) if i not in wanted])


def _unsqueeze(o: Operation) -> Tensor:
    axes = o.setting("axes", 1, 13) or []
    rank = o.x.ndim + len(axes)
    new = {axis(a, rank) for a in axes}
    sizes = iter(o.x.shape)
    return o.x.reshape([1 if i in new else next(sizes) for i in range(rank)])


def _slice(o: Operation) -> Tensor:
    if o.opset < 10:
        starts, ends, axes, steps = (o.attributes.get(n) for n in ("starts", "ends", "axes", "steps"))
    else:
        starts, ends, axes, steps = (o.numbers(i) for i in (1, 2, 3, 4))
    starts, ends = starts or [], ends or []
    axes = list(range(len(starts))) if axes is None else axes
    x = o.x
    for start, end, where, step in zip(starts, ends, axes, steps or [1] * len(starts), strict=True):
        where = axis(where, x.ndim)
        # Python's own rule for slices is the one of ONNX.
        chosen = range(*slice(start, end, step).indices(x.shape[where]))
        if chosen.step > 0:
            cut = [slice(None)] * where + [slice(chosen.start, max(chosen.stop, chosen.start), chosen.step)]
            x = x[tuple(cut)]
        else:
            x = x.index_select(where, torch.tensor(list(chosen), dtype=torch.int64, device=x.device))
    return x


def _split(o: Operation) -> tuple[Tensor, ...]:
    where = axis(o.attribute("axis", 0), o.x.ndim)
    sizes = o.setting("split", 1, 13)
    if sizes is None:
        parts = o.attribute("num_outputs", o.outputs)
        size = -(-o.x.shape[where] // max(parts, 1))
        sizes = [min(size, o.x.shape[where] - i * size) for i in range(parts)]
    return tuple(o.x.split(sizes, where))


def _concat(o: Operation) -> Tensor:
    tensors = [o.given(i) for i in range(len(o.inputs))]
    room([sum(t.numel() for t in tensors)])
    return torch.cat(tensors, o.attribute("axis", 0))


def _gather(o: Operation) -> Tensor:
    where, chosen = axis(o.attribute("axis", 0), o.x.ndim), o.given(1)
    shape = (*o.x.shape[:where], *chosen.shape, *o.x.shape[where + 1 :])
    room(shape)
    flat = chosen.reshape(-1)
    return o.x.index_select(where, torch.where(flat < 0, flat + o.x.shape[where], flat)).reshape(shape)


def _expand(o: Operation) -> Tensor:
    shape = room(torch.broadcast_shapes(o.x.shape, tuple(o.numbers(1) or ())))
    return o.x.expand(*shape)


def _tile(o: Operation) -> Tensor:
    repeats = o.numbers(1) or []
    room([n * r for n, r in zip(o.x.shape, repeats, strict=True)])
    return o.x.repeat(*repeats)


def _shape(o: Operation) -> Tensor:
    whole = list(o.x.shape)
    return torch.tensor(whole[o.attribute("start", 0) : o.attributes.get("end")], dtype=torch.int64)


def _constant(o: Operation) -> Tensor:
    for name, value in o.attributes.items():
        if name == "value" and isinstance(value, Tensor):
            return value
        if name in ("value_float", "value_floats"):
            return torch.tensor(value, dtype=torch.float32)
        if name in ("value_int", "value_ints"):
            return torch.tensor(value, dtype=torch.int64)
    raise Unsupported("a constant that is no number")


def _constant_of_shape(o: Operation) -> Tensor:
    value = o.attributes.get("value")
    fill = value.reshape(-1)[0] if isinstance(value, Tensor) else torch.tensor(0.0)
    return fill.expand(*room(o.numbers(0) or []))


def _range(o: Operation) -> Tensor:
    start, stop, step = ((o.numbers(i) or [0])[0] for i in range(3))
    if not step:
        raise BadInput("a range without a step")
    room([max(0, math.ceil((stop - start) / step))])
    return torch.arange(start, stop, step, dtype=o.x.dtype)


def _pad(o: Operation) -> Tensor:
    pads, value = o.setting("pads", 1, 11) or [], o.attribute("value", 0.0)
    if o.opset >= 11:
        value = (o.numbers(2) or [0.0])[0]
    axes = [axis(a, o.x.ndim) for a in o.numbers(3) or range(len(pads) // 2)] if o.opset >= 18 else range(o.x.ndim)
    ends = {a: (pads[i], pads[i + len(pads) // 2]) for i, a in enumerate(axes)}
    spans = [ends.get(a, (0, 0)) for a in range(o.x.ndim)]
    room([n + before + after for n, (before, after) in zip(o.x.shape, spans, strict=True)])
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}.get(o.attribute("mode", "constant"))
    if mode is None:
        raise Unsupported(f"padding of mode {o.attribute('mode', '')!r}")
    while mode != "constant" and spans[0] == (0, 0) and len(spans) > 2:  # torch pads at most the last three axes
        spans = spans[1:]
        if len(spans) <= o.x.ndim - 2:
            break
    flat = [n for span in reversed(spans) for n in span]
    return functional.pad(o.x, flat, mode, value) if mode == "constant" else functional.pad(o.x, flat, mode)


def _reduce(function: Callable[..., Tensor], since: int) -> Callable[[Operation], Tensor]:
    def run(o: Operation) -> Tensor:
        axes = o.setting("axes", 1, since)
        if not axes and o.attribute("noop_with_empty_axes", 0):
            return o.x
        places = [axis(a, o.x.ndim) for a in axes] if axes else list(range(o.x.ndim))
        return function(o.x, places, bool(o.attribute("keepdims", 1))) if places else o.x

    return run


def _depth_to_space(o: Operation) -> Tensor:
    n, c, h, w = o.x.shape
    b = o.attribute("blocksize", 1)
    if o.attribute("mode", "DCR") == "DCR":
        return o.x.reshape(n, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, -1, h * b, w * b)
    return o.x.reshape(n, c // (b * b), b, b, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, -1, h * b, w * b)


def _space_to_depth(o: Operation) -> Tensor:
    n, c, h, w = o.x.shape
    b = o.attribute("blocksize", 1)
    return o.x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4).reshape(n, -1, h // b, w // b)


def _where(o: Operation) -> Tensor:
    condition, a, b = (o.given(i) for i in range(3))
    room(torch.broadcast_shapes(condition.shape, a.shape, b.shape))
    return torch.where(condition, a, b)


def _selu(o: Operation) -> Tensor:
    alpha, gamma = o.attribute("alpha", 1.67326319217681884765625), o.attribute("gamma", 1.05070102214813232421875)
    return gamma * torch.where(o.x > 0, o.x, alpha * torch.expm1(o.x.clamp_max(0)))


def _prelu(o: Operation) -> Tensor:
    return torch.where(o.x < 0, o.x * o.given(1), o.x)


def _gelu(o: Operation) -> Tensor:
    return functional.gelu(o.x, approximate=o.attribute("approximate", "none"))


TABLE: dict[str, Callable[[Operation], Answer]] = {
    "Abs": _plain(torch.abs),
    "Add": _broadcasting(torch.add),
    "And": _broadcasting(torch.logical_and),
    "Cast": _cast,
    "Ceil": _plain(torch.ceil),
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Cos": _plain(torch.cos),
    "DepthToSpace": _depth_to_space,
    "Div": _broadcasting(_divide),
    "Dropout": lambda o: (o.x, torch.ones_like(o.x, dtype=torch.bool)),
    "Elu": lambda o: functional.elu(o.x, o.attribute("alpha", 1.0)),
    "Equal": _broadcasting(torch.eq),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _plain(torch.floor),
    "Gather": _gather,
    "Gelu": _gelu,
    "Greater": _broadcasting(torch.gt),
    "GreaterOrEqual": _broadcasting(torch.ge),
    "HardSigmoid": lambda o: (o.x * o.attribute("alpha", 0.2) + o.attribute("beta", 0.5)).clamp(0, 1),
    "HardSwish": lambda o: functional.hardswish(o.x),
    "Identity": _plain(lambda x: x),
    "LeakyRelu": lambda o: functional.leaky_relu(o.x, o.attribute("alpha", 0.01)),
    "Less": _broadcasting(torch.lt),
    "LessOrEqual": _broadcasting(torch.le),
    "Log": _plain(torch.log),
    "LogSoftmax": _log_softmax,
    "Max": _broadcasting(torch.maximum),
    "Mean": _mean,
    "Min": _broadcasting(torch.minimum),
    "Mul": _broadcasting(torch.mul),
    "Neg": _plain(torch.neg),
    "Not": _plain(torch.logical_not),
    "Or": _broadcasting(torch.logical_or),
    "PRelu": _prelu,
    "Pad": _pad,
    "Pow": _broadcasting(_power),
    "Range": _range,
    "Reciprocal": _plain(torch.reciprocal),
    "ReduceMax": _reduce(torch.amax, 18),
    "ReduceMean": _reduce(torch.mean, 18),
    "ReduceMin": _reduce(torch.amin, 18),
    "ReduceSum": _reduce(torch.sum, 13),
    "ReduceSumSquare": _reduce(lambda x, places, keep: x.square().sum(places, keep), 18),
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Round": _plain(torch.round),
    "Selu": _selu,
    "Shape": _shape,
    "Sigmoid": _plain(torch.sigmoid),
    "Sign": _plain(torch.sign),
    "Sin": _plain(torch.sin),
    "Slice": _slice,
    "Softmax": _softmax,
    "Softplus": _plain(functional.softplus),
    "Softsign": _plain(functional.softsign),
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Sqrt": _plain(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _broadcasting(torch.sub),
    "Sum": _broadcasting(torch.add),
    "Tanh": _plain(torch.tanh),
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
