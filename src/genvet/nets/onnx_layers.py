"""ONNX operators that have weights or windows: products, convolutions, norms, pooling, resizing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from genvet.core.errors import BadInput, Unsupported
from genvet.nets.onnx_operators import Answer, Operation, room

_CONVOLUTIONS = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}
_TRANSPOSED = {3: functional.conv_transpose1d, 4: functional.conv_transpose2d, 5: functional.conv_transpose3d}
_MAX = {3: functional.max_pool1d, 4: functional.max_pool2d, 5: functional.max_pool3d}
_MEAN = {3: functional.avg_pool1d, 4: functional.avg_pool2d, 5: functional.avg_pool3d}


def _gemm(o: Operation) -> Tensor:
    a, b = o.x, o.given(1)
    a = a.T if o.attribute("transA", 0) else a
    b = b.T if o.attribute("transB", 0) else b
    room((a.shape[0], b.shape[1]))
    y = o.attribute("alpha", 1.0) * (a @ b) if o.attribute("alpha", 1.0) != 1 else a @ b
    c = o.get(2)
    return y if c is None else y + o.attribute("beta", 1.0) * c


def _matmul(o: Operation) -> Tensor:
    a, b = o.x, o.given(1)
    if a.ndim > 1 and b.ndim > 1:
        room((*torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]))
    return torch.matmul(a, b)


class _Window:
    """Kernel, strides, dilations and pads of a convolution or a pool, as lists of one number an axis."""

    def __init__(self, o: Operation, kernel: Sequence[int]) -> None:
        axes = o.x.ndim - 2
        self.kernel = list(kernel)
        self.strides: list[int] = o.attribute("strides", [1] * axes)
        self.dilations: list[int] = o.attribute("dilations", [1] * axes)
        pads: list[int] = o.attribute("pads", [0] * 2 * axes)
        lists = (self.kernel, self.strides, self.dilations)
        if any(len(given) != axes or min(given, default=1) < 1 for given in lists) or len(pads) != 2 * axes:
            raise BadInput(f"{o.op} has settings that do not fit", expected=f"{axes} numbers each")
        self.before, self.after = pads[:axes], pads[axes:]
        self.auto: str = o.attribute("auto_pad", "NOTSET")

    def reach(self, i: int) -> int:
        return (self.kernel[i] - 1) * self.dilations[i] + 1

    def same(self, totals: Sequence[int]) -> None:
        """Share the padding out to both ends; SAME_UPPER gives the odd one to the far end."""
        near = [t // 2 if self.auto == "SAME_UPPER" else t - t // 2 for t in totals]
        self.before, self.after = near, [t - n for t, n in zip(totals, near, strict=True)]

    def for_input(self, x: Tensor) -> None:
        """Settle "same" padding for an input that is read through this window."""
        if self.auto in ("SAME_UPPER", "SAME_LOWER"):
            sizes = x.shape[2:]
            steps = [-(-n // s) - 1 for n, s in zip(sizes, self.strides, strict=True)]
            self.same([max(0, steps[i] * self.strides[i] + self.reach(i) - n) for i, n in enumerate(sizes)])

    def edges(self) -> list[int]:
        """Pads as torch lists them: the last axis first, near and far."""
        return [n for pair in reversed(list(zip(self.before, self.after, strict=True))) for n in pair]

    def pad(self, x: Tensor, value: float = 0.0) -> Tensor:
        if not any(self.before) and not any(self.after):
            return x
        room([*x.shape[:2], *(n + b + a for n, b, a in zip(x.shape[2:], self.before, self.after, strict=True))])
        return functional.pad(x, self.edges(), value=value)


def _of_rank(table: dict[int, Callable[..., Tensor]], o: Operation) -> Callable[..., Tensor]:
    if o.x.ndim not in table:
        raise Unsupported(f"{o.op} on a tensor of {o.x.ndim} axes")
    return table[o.x.ndim]


def _conv(o: Operation) -> Tensor:
    run, weight = _of_rank(_CONVOLUTIONS, o), o.given(1)
    window = _Window(o, weight.shape[2:])
    window.for_input(o.x)
    padding, x = window.before, o.x
    if window.before != window.after or min(window.before, default=0) < 0:
        padding, x = [0] * len(window.before), window.pad(o.x)
    return run(x, weight, o.get(2), window.strides, padding, window.dilations, o.attribute("group", 1))


def _conv_transpose(o: Operation) -> Tensor:
    run, weight = _of_rank(_TRANSPOSED, o), o.given(1)
    window = _Window(o, weight.shape[2:])
    extra: list[int] = o.attribute("output_padding", [0] * len(window.kernel))
    full = [(n - 1) * s + window.reach(i) for i, (n, s) in enumerate(zip(o.x.shape[2:], window.strides, strict=True))]
    wanted = o.attributes.get("output_shape")
    if wanted is None and window.auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [n * s for n, s in zip(o.x.shape[2:], window.strides, strict=True)]
    if wanted is not None:
        window.same([f + e - n for f, e, n in zip(full, extra, wanted[-len(full) :], strict=True)])
    room([o.x.shape[0], weight.shape[1] * o.attribute("group", 1), *(f + e for f, e in zip(full, extra, strict=True))])
    rest = (o.attribute("group", 1), window.dilations)
    if window.before == window.after and min(window.before) >= 0:
        return run(o.x, weight, o.get(2), window.strides, window.before, extra, *rest)
    y = run(o.x, weight, o.get(2), window.strides, 0, extra, *rest)
    return functional.pad(y, [-n for n in window.edges()])


def _batch_norm(o: Operation) -> Tensor:
    if o.attribute("training_mode", 0) or o.attribute("spatial", 1) != 1:
        raise Unsupported("a batch normalisation in training mode")
    scale, shift, mean, variance = (o.given(i) for i in range(1, 5))
    return functional.batch_norm(o.x, mean, variance, scale, shift, eps=o.attribute("epsilon", 1e-5))


def _instance_norm(o: Operation) -> Tensor:
    return functional.instance_norm(o.x, weight=o.given(1), bias=o.given(2), eps=o.attribute("epsilon", 1e-5))


def _layer_norm(o: Operation) -> Tensor:
    shape = o.x.shape[o.attribute("axis", -1) :]
    return functional.layer_norm(o.x, shape, o.given(1), o.get(2), o.attribute("epsilon", 1e-5))


def _pool(o: Operation) -> Tensor:
    if o.outputs > 1:
        raise Unsupported("a pooling that also gives indices")
    window = _Window(o, o.attribute("kernel_shape", []))
    window.for_input(o.x)
    largest = o.op == "MaxPool"
    up = bool(o.attribute("ceil_mode", 0))
    if (up and not (largest and window.before == window.after)) or (not largest and max(window.dilations) > 1):
        raise Unsupported(f"{o.op} that rounds up, or with dilations")
    if up:  # torch leaves out a window that would begin in the padding
        return _of_rank(_MAX, o)(o.x, window.kernel, window.strides, window.before, window.dilations, ceil_mode=True)
    if largest:
        run = _of_rank(_MAX, o)
        return run(window.pad(o.x, -math.inf), window.kernel, window.strides, 0, window.dilations)
    run = _of_rank(_MEAN, o)
    y = run(window.pad(o.x), window.kernel, window.strides)
    if o.attribute("count_include_pad", 0) or not (any(window.before) or any(window.after)):
        return y
    return y / run(window.pad(torch.ones_like(o.x)), window.kernel, window.strides)


def _global(function: Callable[..., Tensor]) -> Callable[[Operation], Tensor]:
    return lambda o: function(o.x, list(range(2, o.x.ndim)), True)


def _upsample(o: Operation) -> Tensor:
    scales = o.setting("scales", 1, 9) or []
    sizes = [math.floor(n * s) for n, s in zip(o.x.shape, scales, strict=True)]
    return _resized(o.x, sizes, scales, o.attribute("mode", "nearest"), "asymmetric", "floor")


def _resize(o: Operation) -> Tensor:
    if o.opset < 11:
        return _upsample(Operation(o.op, o.inputs, o.attributes, 9))
    scales, sizes = o.numbers(2), o.numbers(3)
    axes = o.attribute("axes", list(range(o.x.ndim)))
    if len(axes) < o.x.ndim or not (scales or sizes):
        raise Unsupported("a Resize of some axes only")
    if sizes:
        scales = [size / n for size, n in zip(sizes, o.x.shape, strict=True)]
    else:
        sizes = [math.floor(n * s) for n, s in zip(o.x.shape, scales or [], strict=True)]
    if o.attribute("antialias", 0) or o.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Unsupported("a Resize with antialiasing or a kept aspect ratio")
    how = o.attribute("coordinate_transformation_mode", "half_pixel")
    rounding = o.attribute("nearest_mode", "round_prefer_floor")
    return _resized(o.x, sizes, scales or [], o.attribute("mode", "nearest"), how, rounding)


def _resized(x: Tensor, sizes: Sequence[int], scales: Sequence[float], mode: str, how: str, rounding: str) -> Tensor:
    """One axis after the other: that is what (bi)linear and nearest resizing come to."""
    room(sizes)
    if mode not in ("nearest", "linear"):
        raise Unsupported(f"resizing of mode {mode!r}")
    for place, (size, scale) in enumerate(zip(sizes, scales, strict=True)):
        n = x.shape[place]
        if (size, scale) == (n, 1.0):
            continue
        at = _coordinates(size, n, scale, how)
        if mode == "nearest":
            x = x.index_select(place, _rounded(at, rounding).clamp(0, n - 1).to(x.device))
        else:
            low = at.clamp(0, n - 1).floor()
            share = (at.clamp(0, n - 1) - low).to(x.dtype).to(x.device)
            share = share.reshape([-1 if i == place else 1 for i in range(x.ndim)])
            near = x.index_select(place, low.long().to(x.device))
            far = x.index_select(place, (low + 1).clamp(0, n - 1).long().to(x.device))
            x = near + (far - near) * share
    return x


def _coordinates(size: int, n: int, scale: float, how: str) -> Tensor:
    """Where each of the new entries lies among the old ones."""
    new = torch.arange(size, dtype=torch.float64, device="cpu")
    if how == "asymmetric":
        return new / scale
    if how == "align_corners":
        return new * (n - 1) / max(size - 1, 1)
    if how == "pytorch_half_pixel":
        return (new + 0.5) / scale - 0.5 if size > 1 else new * 0
    if how == "half_pixel":
        return (new + 0.5) / scale - 0.5
    if how == "half_pixel_symmetric":
        return (n / 2) * (1 - size / (n * scale)) + (new + 0.5) / scale - 0.5
    raise Unsupported(f"resizing by {how!r}")


def _rounded(at: Tensor, rounding: str) -> Tensor:
    whole = {
        "floor": at.floor(),
        "ceil": at.ceil(),
        "round_prefer_floor": (at - 0.5).ceil(),
        "round_prefer_ceil": (at + 0.5).floor(),
    }
    if rounding not in whole:
        raise Unsupported(f"rounding by {rounding!r}")
    return whole[rounding].long()


TABLE: dict[str, Callable[[Operation], Answer]] = {
    "AveragePool": _pool,
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "GlobalAveragePool": _global(torch.mean),
    "GlobalMaxPool": _global(torch.amax),
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "Resize": _resize,
    "Upsample": _upsample,
}
