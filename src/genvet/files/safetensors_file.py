"""Safetensors: a length, a JSON header, and bytes; every claim of the header is checked."""

from __future__ import annotations

import json
import math
import re
import struct
from typing import Any

from genvet.core.modelfile import Part, TensorSpec
from genvet.core.printable import printable
from genvet.files.reading import MIB, Reading, Stop

HEADER_CAP = 100_000_000
"""The format's own cap on its header."""

# Names of the format, torch's names, and bytes an element.
DTYPES = {
    "BOOL": ("bool", 1),
    "U8": ("uint8", 1),
    "I8": ("int8", 1),
    "U16": ("uint16", 2),
    "I16": ("int16", 2),
    "U32": ("uint32", 4),
    "I32": ("int32", 4),
    "U64": ("uint64", 8),
    "I64": ("int64", 8),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "F32": ("float32", 4),
    "F64": ("float64", 8),
    "C64": ("complex64", 8),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E5M2": ("float8_e5m2", 1),
}

Span = tuple[str, str, int, tuple[int, ...], int, int]
"""Name, torch's dtype, bytes an element, shape, begin and end in the body."""

# What a page, a template engine or a chart would run if it showed the text unescaped.
SCRIPT = re.compile(
    r"<\s{0,20}/?\s{0,20}script\b"
    r"|<\s{0,20}(iframe|object|embed|svg|img|link|meta|form|base)[\s/][^>]{0,500}="
    r"|\bon(load|error|click|focus|blur|submit|change|input|toggle|begin|end|wheel|paste|copy|resize|scroll|message"
    r"|(before)?unload|hashchange|mouse\w+|key\w+|pointer\w+|touch\w+|drag\w*|animation\w+)\s*=\s*[\"'\w]"
    r"|\b(java|vb|live)script\s*:"
    r"|\bdata\s*:\s*text/html"
    r"|\{\{[^{}]{0,200}\}\}|\{%[^{}]{0,200}%\}|\$\{[^{}]{0,200}\}|<%[^<>]{0,200}%>|#\{[^{}]{0,200}\}"
    r"|__(class|globals|import|subclasses|builtins|mro)__",
    re.IGNORECASE,
)


def matches(data: memoryview) -> bool:
    """A header length that fits the cap, and then an object."""
    if len(data) < 10:
        return False
    (length,) = struct.unpack_from("<Q", data)
    return 2 <= length <= HEADER_CAP and bytes(data[8:9]) == b"{" and bytes(data[8:4096]).find(b'"') > 0


def read(data: memoryview, reading: Reading, place: str, nesting: int) -> None:
    """One part of kind "state", its metadata as config."""
    (length,) = struct.unpack_from("<Q", data)
    if 8 + length > len(data):
        raise Stop("file.truncated", f"the header claims {length} bytes, the file has {len(data) - 8}", 0)
    header = _header(data[8 : 8 + length], reading)
    metadata = _metadata(header.pop("__metadata__", {}), reading, place)
    body = data[8 + length :]
    spans = [_span(name, entry) for name, entry in header.items()]
    _check_layout(spans, len(body), 8 + length, reading, place)
    tensors = _tensors(spans, body, reading)
    reading.parts.append(Part(name="", kind="state", tensors=tensors, config=metadata))
    if nesting == 0:
        reading.metadata.update(metadata)


def _tensors(spans: list[Span], body: memoryview, reading: Reading) -> dict[str, TensorSpec]:
    """A storage for each tensor: the format lets kinds of different width stand side by side."""
    return {
        name: TensorSpec(
            dtype=dtype, shape=shape, stride=strides(shape), offset=0, storage=reading.keep(body[begin:end])
        )
        for name, dtype, _, shape, begin, end in spans
        if end <= len(body)
    }


def _header(text: memoryview, reading: Reading) -> dict[str, Any]:
    if len(text) > reading.limits.text:
        raise Stop("safetensors.header", f"a header of {len(text) // MIB} MiB", 0)
    reading.unpack(len(text), 8)
    try:
        header = json.loads(str(text, "utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise Stop("safetensors.header", "the header is nested too deep", 8) from None
    except ValueError as error:
        raise Stop("safetensors.header", f"the header is no clean JSON: {printable(error)}", 8) from None
    if not isinstance(header, dict):
        raise Stop("safetensors.header", "the header is no object", 8)
    if len(header) > reading.limits.members:
        raise Stop("safetensors.header", f"more than {reading.limits.members} tensors", 8)
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(k for k, _ in pairs if k in seen or seen.add(k))
        raise ValueError(f"the key {twice!r} comes twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _metadata(found: Any, reading: Reading, place: str) -> dict[str, str]:
    """The free texts of the header; script in them is told."""
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        reading.note("safetensors.header", "the metadata are not texts", place=place, offset=8)
        return {}
    check_script(found, reading, place)
    return found


def check_script(texts: dict[str, str], reading: Reading, place: str) -> None:
    """Note every text that a page or a template engine would run."""
    for key, text in texts.items():
        for shown in (key, text):
            if hit := SCRIPT.search(shown[:MIB]):
                detail = shown[max(0, hit.start() - 40) : hit.end() + 120]
                message = f"metadata {printable(key, 60)!r} holds script"
                reading.note("metadata.script", message, place=place, detail=detail)
                break


def _span(name: str, entry: Any) -> Span:
    """One tensor's entry, its size checked."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise Stop("safetensors.header", f"tensor {printable(name, 80)} has other fields than the format knows", 8)
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not (_counts(shape, 64) and _counts(offsets, 2) and len(offsets) == 2):
        raise Stop("safetensors.header", f"tensor {printable(name, 80)} has no proper shape or offsets", 8)
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in DTYPES:
        message = f"tensor {printable(name, 80)} has the unknown kind {printable(entry['dtype'], 40)}"
        raise Stop("tensor.dtype", message, 8)
    dtype, size = DTYPES[entry["dtype"]]
    begin, end = offsets
    if math.prod(shape) * size != end - begin:
        message = f"tensor {printable(name, 80)} of shape {shape} claims {end - begin} bytes"
        raise Stop("safetensors.header", message, 8)
    return name, dtype, size, tuple(shape), begin, end


def _counts(numbers: Any, most: int) -> bool:
    """A short list of whole numbers that a file can address; True is no number."""
    return (
        isinstance(numbers, list) and len(numbers) <= most and all(type(n) is int and 0 <= n < 1 << 53 for n in numbers)
    )


def _check_layout(spans: list[Span], size: int, start: int, reading: Reading, place: str) -> None:
    """The tensors must fill the file's body one behind the other, to its last byte."""
    at = 0
    for name, _, _, _, begin, end in sorted(spans, key=lambda s: (s[4], s[5])):
        if begin != at:
            what = "overlaps the one before it" if begin < at else f"leaves a hole of {begin - at} bytes"
            message = f"tensor {printable(name, 80)} {what}"
            reading.note("safetensors.header", message, place=place, offset=start + begin)
        at = max(at, end)
    if at > size:
        reading.note("file.truncated", f"the tensors need {at} bytes, {size} are there", place=place, offset=start)
    elif at < size:
        message = f"{size - at} bytes after the last tensor"
        reading.note("safetensors.header", message, place=place, offset=start + at, length=size - at)


def strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a contiguous tensor in row-major order, in elements; raises Stop where they would not fit 63 bits."""
    steps = [1]
    for n in reversed(shape[1:]):
        steps.append(steps[-1] * max(n, 1))
    if steps[-1] >> 63:
        raise Stop("tensor.bounds", "a tensor's shape is out of range")
    return tuple(reversed(steps)) if shape else ()
