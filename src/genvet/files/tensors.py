"""From what a file says of its tensors to torch tensors: bounds checked once more, copied only where needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.modelfile import Part, TensorSpec
from genvet.core.printable import printable

DTYPES: Mapping[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"),
        *("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128"),
    )
    if hasattr(torch, name)
}
"""The kinds that are read; quantised ones are not."""


def tensors(part: Part, storages: Sequence[memoryview]) -> dict[str, Tensor]:
    """The part's tensors by name. Tensors of one storage share memory, as the file has them."""
    raw: dict[int, Tensor] = {}
    found = {}
    for name, spec in part.tensors.items():
        if spec.storage not in raw:
            raw[spec.storage] = _bytes(storages[spec.storage])
        found[name] = _view(name, spec, raw[spec.storage])
    return found


def _bytes(storage: memoryview) -> Tensor:
    """The storage as bytes: the same memory where it may be written to, else a copy (torch knows no read-only one)."""
    if not storage.nbytes:
        return torch.empty(0, dtype=torch.uint8)
    return torch.frombuffer(bytearray(storage) if storage.readonly else storage, dtype=torch.uint8)


def _view(name: str, spec: TensorSpec, raw: Tensor) -> Tensor:
    dtype = DTYPES.get(spec.dtype)
    if dtype is None:
        raise BadInput(
            f"tensor {printable(name)} cannot be read", expected=", ".join(DTYPES), got=printable(spec.dtype)
        )
    if 0 in spec.shape:
        return torch.empty(spec.shape, dtype=dtype)
    flat = raw[: len(raw) // dtype.itemsize * dtype.itemsize].view(dtype)
    last = spec.offset + sum((n - 1) * step for n, step in zip(spec.shape, spec.stride, strict=True))
    if min(spec.offset, *spec.stride, 0) < 0 or last >= len(flat):
        raise BadInput(f"tensor {printable(name)} reaches past its storage", expected=f"{len(flat)}", got=f"{last + 1}")
    return flat.as_strided(spec.shape, spec.stride, spec.offset)
