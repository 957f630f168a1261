"""Storages of torch and numpy as stretches of bytes, and tensors as checked views of them. Standard library only."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from genvet.core.modelfile import TensorSpec
from genvet.files.pickles.globals import DTYPES
from genvet.files.pickles.inert import BytesLike, Global
from genvet.files.reading import Reading, Stop

_ALIASES = {
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "short": "int16",
    "int": "int32",
    "long": "int64",
    "cfloat": "complex64",
    "cdouble": "complex128",
}
ITEM = {
    **dict.fromkeys("uint8 int8 bool float8_e4m3fn float8_e5m2".split(), 1),
    **dict.fromkeys("float16 bfloat16 int16 uint16".split(), 2),
    **dict.fromkeys("float32 int32 uint32 complex32".split(), 4),
    **dict.fromkeys("float64 int64 uint64 complex64".split(), 8),
    "complex128": 16,
}
"""Bytes of one element, by dtype."""

EXPANDED = 1 << 20
"""Elements that a tensor may show of fewer, where torch's `expand` repeated them."""

_STORAGES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexDouble": "complex128",
    "ComplexFloat": "complex64",
    "Untyped": "",
}


@dataclass(eq=False, slots=True)
class Storage:
    """A storage that a tensor may view."""

    index: int
    """Into Reading.storages."""
    dtype: str
    """Empty where the storage is untyped: then it counts bytes, and the tensor says what they are."""
    numel: int
    base: int = 0
    """Element where this storage begins, if it is a view of another."""


def storage_dtype(kind: Any) -> str:
    """The dtype of a storage class such as torch.FloatStorage; "" for untyped ones."""
    if isinstance(kind, Global) and kind.module in ("torch", "torch.storage", "torch.cuda"):
        name = kind.name.removesuffix("Storage")
        if name != kind.name and name in _STORAGES:
            return _STORAGES[name]
    raise Stop("tensor.dtype", f"a storage of kind {kind!r}")


def tensor_dtype(kind: Any) -> str:
    """The dtype that a name such as torch.float32 stands for."""
    if isinstance(kind, Global) and kind.module == "torch" and kind.name in DTYPES:
        name = _ALIASES.get(kind.name, kind.name)
        if name in ITEM:
            return name
    raise Stop("tensor.dtype", f"a tensor of dtype {kind!r}")


def view(storage: Any, offset: Any, shape: Any, stride: Any, dtype: str = "") -> TensorSpec:
    """The tensor that views a storage so; raises Stop where it reaches past it or meets itself."""
    if not isinstance(storage, Storage):
        raise Stop("tensor.bounds", f"a tensor over a {type(storage).__name__} instead of a storage")
    shape, stride = _sizes(shape), _sizes(stride)
    if len(shape) != len(stride) or len(shape) > 32 or not _is_count(offset):
        raise Stop(
            "tensor.bounds", f"a tensor of shape {shape[:8]} with strides {stride[:8]} and offset {offset!r:.40}"
        )
    dtype = dtype or storage.dtype or "uint8"
    numel = storage.numel if storage.dtype else storage.numel // ITEM[dtype]
    check_bounds(shape, stride, offset, numel)
    check_overlap(shape, stride)
    base = storage.base
    return TensorSpec(dtype=dtype, shape=shape, stride=stride, offset=base + offset, storage=storage.index)


def check_bounds(shape: Sequence[int], stride: Sequence[int], offset: int, numel: int) -> None:
    if 0 in shape:
        return
    last = offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
    if last >= numel:
        raise Stop("tensor.bounds", f"a tensor of shape {tuple(shape)} reaches element {last} of a storage of {numel}")


def check_overlap(shape: Sequence[int], stride: Sequence[int]) -> None:
    """Two indices may not mean one element, but in small expanded tensors (stride 0): those make much of little."""
    if 0 in shape:
        return
    span = 0
    small = math.prod(shape) <= EXPANDED
    for step, n in sorted((s, n) for n, s in zip(shape, stride, strict=True) if n > 1):
        if step <= span and not (step == 0 and small):
            raise Stop("tensor.overlap", f"a tensor of shape {tuple(shape)} with strides {tuple(stride)}")
        span += (n - 1) * step


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides.

    >>> contiguous((2, 3, 4))
    (12, 4, 1)
    """
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def swapped(raw: BytesLike, dtype: str, reading: Reading) -> memoryview:
    """A copy of big-endian data in little-endian order."""
    size = ITEM[dtype] // (2 if dtype.startswith("complex") else 1)
    if size == 1:
        return memoryview(raw)
    reading.unpack(len(raw))
    numbers = array({2: "H", 4: "I", 8: "Q"}[size])
    numbers.frombytes(raw[: len(raw) // size * size])
    numbers.byteswap()
    return memoryview(numbers).cast("B")


def _sizes(value: Any) -> tuple[int, ...]:
    if isinstance(value, (tuple, list)) and all(_is_count(n) for n in value):
        return tuple(value)
    raise Stop("tensor.bounds", "a tensor whose shape or strides are no counts")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62
