"""Numpy files: npy headers by a strict parser of our own, object arrays as the pickles that they are."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from genvet.core.modelfile import Part, TensorSpec
from genvet.core.printable import printable
from genvet.files import formats
from genvet.files.answer import ITEM
from genvet.files.reading import Reading, Stop
from genvet.files.safetensors_file import strides

MAGIC = b"\x93NUMPY"
HEADER_CAP = 64 * 1024
TEXT_CAP = 16 << 20
"""Bytes that a header may claim at all; numpy reads one of any length where it may unpickle."""
# Of a header that is not of the usual form: it may stand for Python objects, under one of their names or by an escape.
_OBJECTS = re.compile(r"O|object|\\")

# The format writes its header as a Python dict with exactly these three keys, in this order.
_HEADER = re.compile(
    r"\{\s{0,9}'descr'\s{0,9}:\s{0,9}(?P<descr>'[^'\\]{1,40}'|\[.{0,60000}\])\s{0,9},"
    r"\s{0,9}'fortran_order'\s{0,9}:\s{0,9}(?P<fortran>True|False)\s{0,9},"
    r"\s{0,9}'shape'\s{0,9}:\s{0,9}\((?P<shape>[0-9 ,L]{0,2000})\)[\s,]{0,9}\}\s*"
)
KINDS = {
    **{f"f{n}": f"float{8 * n}" for n in (2, 4, 8)},
    **{f"i{n}": f"int{8 * n}" for n in (1, 2, 4, 8)},
    **{f"u{n}": f"uint{8 * n}" for n in (1, 2, 4, 8)},
    "b1": "bool",
    "c8": "complex64",
    "c16": "complex128",
}


@dataclass(frozen=True)
class Header:
    """What an npy header says."""

    dtype: str
    """torch's name; "object" for pickled arrays."""
    swapped: bool
    fortran: bool
    shape: tuple[int, ...]


def matches(data: memoryview) -> bool:
    """The magic string."""
    return bytes(data[:6]) == MAGIC


def read(data: memoryview, reading: Reading, place: str, nesting: int) -> None:
    """One part of kind "arrays", with one tensor."""
    if spec := _array(data, reading, place, nesting):
        reading.parts.append(Part(name="", kind="arrays", tensors={"": spec}))


def read_arrays(members: Iterable[tuple[str, memoryview]], reading: Reading, place: str, nesting: int) -> None:
    """An npz archive: one part of kind "arrays", a tensor for each member."""
    tensors = {}
    for name, content in members:
        where = formats.within(place, name)
        try:
            spec = _array(content, reading, where, nesting + 1)
        except Stop as stop:
            reading.note(stop.rule, stop.message, place=where, offset=stop.offset)
            continue
        if spec:
            tensors[name.removesuffix(".npy")] = spec
    reading.parts.append(Part(name="", kind="arrays", tensors=tensors))


def _array(data: memoryview, reading: Reading, place: str, nesting: int) -> TensorSpec | None:
    text, start = _text(data)
    body = data[start:]
    try:
        header = _header(text, start)
    except Stop:
        if _OBJECTS.search(text) and not _unpickled(body, reading, place, nesting):
            _tell_objects(reading, place)
        raise
    if header.dtype == "object":
        _tell_objects(reading, place)
        if problem := _unpickled(body, reading, place, nesting):
            raise Stop("pickle.malformed", f"an object array that holds {problem}", start)
        return None
    size = math.prod(header.shape) * ITEM[header.dtype]
    if size > len(body):
        raise Stop("file.truncated", f"the array needs {size} bytes, {len(body)} are there", start)
    if size < len(body):
        at = start + size
        reading.note("archive.hidden", f"{len(body) - size} bytes after the array", place=place, offset=at)
    if header.swapped:
        reading.unpack(size, start)
        body = _swapped(body[:size], header.dtype)
    return _spec(header, reading.keep(body[:size]))


def _tell_objects(reading: Reading, place: str) -> None:
    reading.note("numpy.object-array", "an array of Python objects", place=place, offset=0)


def _unpickled(body: memoryview, reading: Reading, place: str, nesting: int) -> str:
    """What numpy would unpickle, read too; says what it is instead, if it is no pickle."""
    told = len(reading.evidence)
    try:
        formats.read_bytes(body, reading, place, nesting + 1)
    except formats.NotAModel as stop:
        return stop.message
    # That the array holds objects is said once; whatever else its pickle does keeps its own rule.
    new = reading.evidence[told:]
    reading.evidence[told:] = [e for e in new if (e.rule, e.place) != ("pickle.object-array", place)]
    return ""


def _spec(header: Header, storage: int) -> TensorSpec:
    shape = header.shape
    steps = tuple(reversed(strides(tuple(reversed(shape))))) if header.fortran else strides(shape)
    return TensorSpec(dtype=header.dtype, shape=shape, stride=steps, offset=0, storage=storage)


def _text(data: memoryview) -> tuple[str, int]:
    """The header as text, and where the array begins."""
    major = data[6] if len(data) >= 10 else 0
    if major not in (1, 2, 3) or len(data) < 12:
        raise Stop("tensor.dtype", f"npy version {major} is not known", 6)
    length, start = (
        (struct.unpack_from("<H", data, 8)[0], 10) if major == 1 else (struct.unpack_from("<I", data, 8)[0], 12)
    )
    if length > TEXT_CAP:
        raise Stop("pickle.limit", f"a npy header of {length} bytes", 8)
    if start + length > len(data):
        raise Stop("file.truncated", f"the npy header claims {length} bytes", 8)
    text = bytes(data[start : start + length]).decode("utf-8" if major == 3 else "latin-1", "replace")
    return text, start + length


def _header(text: str, end: int) -> Header:
    start = end - len(text)
    found = _HEADER.fullmatch(text) if len(text) <= HEADER_CAP else None
    if not found:
        raise Stop("tensor.dtype", f"the npy header is not of the usual form: {printable(text, 120)}", start)
    dtype, swapped = _dtype(found["descr"], start)
    counts = [n.strip().removesuffix("L") for n in found["shape"].split(",") if n.strip()]
    if len(counts) > 64 or not all(n.isdigit() and len(n) < 16 for n in counts):
        raise Stop("tensor.bounds", "the npy shape is out of range", start)
    shape = tuple(int(n) for n in counts)
    return Header(dtype, swapped, found["fortran"] == "True", shape)


def _dtype(descr: str, offset: int) -> tuple[str, bool]:
    """(torch's name, whether the bytes stand in the other order)."""
    if descr.startswith("["):
        # A record may hold object fields: numpy would unpickle those too.
        raise Stop("tensor.dtype", f"a structured array: {printable(descr, 120)}", offset)
    code = descr.strip("'")
    order, kind = (code[0], code[1:]) if code[:1] in "<>|=" else ("<", code)
    if kind == "O":
        return "object", False
    if kind not in KINDS:
        raise Stop("tensor.dtype", f"an array of the kind {printable(descr, 40)}", offset)
    return KINDS[kind], order == ">" and kind[1:] != "1"


def _swapped(body: memoryview, dtype: str) -> bytes:
    """The same numbers, least significant byte first."""
    item = ITEM[dtype] // (2 if dtype.startswith("complex") else 1)
    out = bytearray(len(body))
    for i in range(item):
        out[i::item] = body[item - 1 - i :: item]
    return bytes(out)
