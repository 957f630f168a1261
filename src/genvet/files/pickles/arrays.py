"""Numpy arrays, numbers and dtypes inside pickles, read as data. Standard library only."""

from __future__ import annotations

import math
import struct
from typing import Any

from genvet.core.modelfile import TensorSpec
from genvet.files.pickles.globals import normal
from genvet.files.pickles.inert import BytesLike, Global, Record
from genvet.files.pickles.plain import raw_bytes
from genvet.files.pickles.storages import ITEM, contiguous, swapped
from genvet.files.reading import Reading, Stop

_KINDS = {
    "f2": "float16",
    "f4": "float32",
    "f8": "float64",
    "i1": "int8",
    "i2": "int16",
    "i4": "int32",
    "i8": "int64",
    "u1": "uint8",
    "u2": "uint16",
    "u4": "uint32",
    "u8": "uint64",
    "b1": "bool",
    "c8": "complex64",
    "c16": "complex128",
}
_FORMS = {
    "float16": "e",
    "float32": "f",
    "float64": "d",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "uint8": "B",
    "uint16": "H",
    "uint32": "I",
    "uint64": "Q",
    "bool": "?",
}


def is_array(value: Any) -> bool:
    """Whether this record is an array that BUILD has filled."""
    return _made_by(value, "_reconstruct") and isinstance(value.state, tuple)


def check_dtype(args: tuple[Any, ...], offset: int) -> Record | None:
    """Refuses dtypes of Python objects: they would unpickle what the array holds."""
    code = args[0] if args else None
    if not isinstance(code, str) or code.lstrip("<>|=")[:1] in ("O", "") or "," in code:
        raise Stop("pickle.object-array", f"a numpy dtype of {code!r:.40}")
    return None


def reconstruct(args: tuple[Any, ...], offset: int) -> Record:
    """An empty array that BUILD fills. Any other shape would take memory for nothing, any other class run its code."""
    match args:
        case (Global(module="numpy", name="ndarray"), (0,), "b" | b"b"):
            return Record(Global("numpy.core.multiarray", "_reconstruct", offset), args, "reduce", offset)
    raise Stop("pickle.malformed", f"a numpy array is begun at byte {offset} in another way than numpy's")


def scalar(args: tuple[Any, ...], offset: int) -> Any:
    """A numpy number as a Python number."""
    if len(args) != 2:
        raise Stop("pickle.malformed", "a numpy number without its bytes")
    dtype, order = _dtype(args[0])
    raw = bytes(_bytes(args[1]))
    if len(raw) != ITEM[dtype]:
        raise Stop("pickle.malformed", f"a numpy {dtype} of {len(raw)} bytes")
    if dtype.startswith("complex"):
        return complex(*struct.unpack(order + ("2f" if dtype == "complex64" else "2d"), raw))
    return struct.unpack(order + _FORMS[dtype], raw)[0]


def array(reading: Reading, record: Record) -> TensorSpec | None:
    """The array as a tensor over bytes kept in `reading`; None for arrays of texts, dates or records."""
    if record.items or record.elements:
        raise Stop("pickle.malformed", f"the numpy array at byte {record.offset} is changed after it was made")
    match record.state:
        case (int(), tuple() as shape, Record() as dtype, fortran, raw) if record.state[0] <= 3:
            return _tensor(reading, dtype, raw, shape, bool(fortran))
        case (tuple() as shape, Record() as dtype, fortran, raw):  # before 2006, without a version
            return _tensor(reading, dtype, raw, shape, bool(fortran))
    raise Stop(
        "pickle.malformed", f"the numpy array at byte {record.offset} has a state of another kind", record.offset
    )


def from_buffer(reading: Reading, args: tuple[Any, ...]) -> TensorSpec | None:
    """`numpy.core.numeric._frombuffer(bytes, dtype, shape, order)`: how protocol 5 writes arrays."""
    match args:
        case (raw, Record() as dtype, tuple() as shape, str() as order):
            return _tensor(reading, dtype, raw, shape, order == "F")
    raise Stop("pickle.malformed", "a numpy array from a buffer of another kind")


def _tensor(reading: Reading, record: Record, raw: Any, shape: tuple[Any, ...], fortran: bool) -> TensorSpec | None:
    if isinstance(raw, list):
        raise Stop("pickle.object-array", f"a numpy array of Python objects at byte {record.offset}", record.offset)
    try:
        dtype, order = _dtype(record)
    except Stop as stop:
        if stop.rule == "tensor.dtype":
            return None
        raise
    data = memoryview(_bytes(raw))
    if len(shape) > 32 or not all(type(n) is int and 0 <= n < 1 << 62 for n in shape):
        raise Stop("tensor.bounds", f"a numpy array of shape {shape!r:.80}")
    if math.prod(shape) * ITEM[dtype] != len(data):
        raise Stop("tensor.bounds", f"a numpy array of shape {shape} and {dtype} has {len(data)} bytes")
    kept = reading.keep(swapped(data, dtype, reading) if order == ">" else data)
    stride = tuple(reversed(contiguous(shape[::-1]))) if fortran else contiguous(shape)
    return TensorSpec(dtype=dtype, shape=tuple(shape), stride=stride, offset=0, storage=kept)


def _dtype(record: Any) -> tuple[str, str]:
    """(dtype, byte order) of a record of numpy.dtype."""
    if not _made_by(record, "dtype") or not record.args or not isinstance(record.args[0], str):
        raise Stop("pickle.malformed", "a numpy value without a dtype")
    code = record.args[0]
    order = record.state[1] if isinstance(record.state, tuple) and len(record.state) > 1 else "<"
    if code[:1] in "<>|=":
        code, order = code[1:], code[0]
    compound = isinstance(record.state, tuple) and any(part is not None for part in record.state[2:5])
    if code not in _KINDS or compound:
        rule = "pickle.object-array" if code[:1] == "O" else "tensor.dtype"
        raise Stop(rule, f"a numpy array of dtype {code!r:.40}")
    return _KINDS[code], ">" if order == ">" else "<"


def _bytes(value: Any) -> BytesLike:
    raw = raw_bytes(value)
    if not isinstance(raw, BytesLike):
        raise Stop("pickle.malformed", f"numpy data that is a {type(raw).__name__}")
    return raw


def _made_by(value: Any, name: str) -> bool:
    if not isinstance(value, Record) or not isinstance(value.callee, Global):
        return False
    return normal(value.callee.module, value.callee.name) in (("numpy", name), ("numpy.core.multiarray", name))
