"""ONNX tensors: raw bytes or typed lists, as views of storages; data in other files is never followed."""

from __future__ import annotations

import math
import struct
import sys
from array import array

from genvet.core.modelfile import TensorSpec
from genvet.files.answer import ITEM
from genvet.files.protobuf import fields, message, text, varints, whole
from genvet.files.reading import Reading, Stop
from genvet.files.safetensors_file import strides

# The format's numbers for element types, by torch's names.
TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
    17: "float8_e4m3fn",
    19: "float8_e5m2",
}
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_DIMS, _TYPE, _SEGMENT, _FLOATS, _INT32, _STRINGS, _INT64, _NAME = 1, 2, 3, 4, 5, 6, 7, 8
_RAW, _DOUBLES, _UINT64, _EXTERNAL, _LOCATION = 9, 10, 11, 13, 14


def read_tensor(data: memoryview, start: int, reading: Reading, place: str) -> tuple[str, TensorSpec | None]:
    """A TensorProto's name, and the view that it is; None where its data lie elsewhere, which is noted."""
    name, kind, dims, lists, external = "", 0, [], {}, ""
    for number, value, offset in fields(data, start):
        if number == _NAME:
            name = text(value)
        elif number == _TYPE:
            kind = whole(value)
        elif number == _DIMS:
            dims += varints(value)
        elif number == _EXTERNAL:
            external += " ".join(text(v) for _, v, _ in fields(message(value), offset)) + "\n"
        elif number == _LOCATION and value:
            external = external or "\n"
        elif number in (_FLOATS, _INT32, _INT64, _RAW, _DOUBLES, _UINT64):
            lists.setdefault(number, []).append(value)
        elif number in (_SEGMENT, _STRINGS):
            raise Stop("tensor.dtype", "a tensor of texts or in segments", offset)
    if external:
        message_ = f"tensor {name!r} lies in another file"
        reading.note("onnx.external-data", message_, place=place, offset=start, detail=external)
        return name, None
    return name, _view(name, kind, dims, lists, start, reading)


def _view(
    name: str, kind: int, dims: list[int], lists: dict[int, list[int | memoryview]], start: int, reading: Reading
) -> TensorSpec:
    if kind not in TYPES:
        raise Stop("tensor.dtype", f"tensor {name!r} has the unknown kind {kind}", start)
    if len(dims) > 64 or not all(0 <= n < 1 << 53 for n in dims):
        raise Stop("tensor.bounds", f"tensor {name!r} has the shape {dims[:8]}", start)
    dtype, shape = TYPES[kind], tuple(dims)
    needed = math.prod(shape) * ITEM[dtype]
    content = _content(dtype, lists, needed, reading, start)
    if len(content) != needed:
        message_ = f"tensor {name!r} of shape {shape} needs {needed} bytes, {len(content)} are there"
        raise Stop("tensor.bounds", message_, start)
    return TensorSpec(dtype=dtype, shape=shape, stride=strides(shape), offset=0, storage=reading.keep(content))


def _content(
    dtype: str, lists: dict[int, list[int | memoryview]], needed: int, reading: Reading, start: int
) -> memoryview | bytes:
    """The bytes of the elements; a raw field is a slice of the file."""
    if len(lists) > 1:
        raise Stop("onnx.malformed", "a tensor that holds its numbers twice", start)
    for number, values in lists.items():
        if number in (_RAW, _FLOATS, _DOUBLES) and len(values) == 1:
            return message(values[0])
        reading.unpack(needed + 8 * sum(1 if isinstance(v, int) else len(v) for v in values), start)
        if number in (_FLOATS, _DOUBLES):
            return b"".join(bytes(message(v)) for v in values)
        if number == _RAW:
            raise Stop("onnx.malformed", "a tensor with two raw fields", start)
        return _packed(dtype, values)
    return b""


def _packed(dtype: str, values: list[int | memoryview]) -> bytes:
    """Lists of numbers, in the width of the tensor's elements; narrower floats are stored as their bits."""
    width = ITEM[dtype]
    if width not in _CODES:
        raise Stop("onnx.malformed", f"whole numbers in a tensor of {dtype}")
    mask = (1 << (8 * width)) - 1
    out = array(_CODES[width])
    for value in values:
        out.extend(n & mask for n in varints(value))
    if sys.byteorder == "big":
        out.byteswap()
    return out.tobytes()


def single(value: int | memoryview) -> float:
    """A 32-bit float field."""
    content = message(value)
    if len(content) != 4:
        raise Stop("onnx.malformed", "a float of the wrong length")
    number: float = struct.unpack("<f", content)[0]
    return number
