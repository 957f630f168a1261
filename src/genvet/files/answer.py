"""What the reading child answers, as JSON and bytes; the parent checks it as if a stranger had sent it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_args

from genvet.core.modelfile import Call, Evidence, Graph, ModelFile, Node, Part, Source, Standing, TensorSpec
from genvet.core.rules import RULES
from genvet.files.reading import Reading

ITEM = {
    **dict.fromkeys(("bool", "uint8", "int8", "float8_e4m3fn", "float8_e5m2", "quint8", "qint8"), 1),
    **dict.fromkeys(("uint16", "int16", "float16", "bfloat16"), 2),
    **dict.fromkeys(("uint32", "int32", "float32", "complex32"), 4),
    **dict.fromkeys(("uint64", "int64", "float64", "complex64"), 8),
    "complex128": 16,
}
"""Bytes an element, by the name of torch's dtype."""


class Untrusted(Exception):
    """The answer does not hold what an answer must hold."""


def encode(reading: Reading, places: Sequence[tuple[int, int, int]]) -> bytes:
    """The JSON half of an answer; `places` gives (buffer, offset, length) for every storage."""
    fields = {
        "format": reading.format,
        "metadata": reading.metadata,
        "dropped": reading.dropped,
        "evidence": [asdict(e) for e in reading.evidence],
        "calls": [asdict(c) for c in reading.calls],
        "sources": [asdict(s) for s in reading.sources],
        "parts": [_part(p, reading) for p in reading.parts],
        "storages": places,
    }
    return json.dumps(fields, separators=(",", ":")).encode()


def _part(part: Part, reading: Reading) -> dict[str, Any]:
    """A part as JSON; a config that JSON cannot hold is left out, and that is noted."""
    fields = {**vars(part), "tensors": {k: tuple(vars(t).values()) for k, t in part.tensors.items()}}
    fields["graph"] = asdict(part.graph) if part.graph else None
    try:
        json.dumps(fields["config"])
    except (TypeError, ValueError, RecursionError):
        reading.note("pickle.limit", "the part's settings are no plain values: left out", place=part.name)
        fields["config"] = {}
    return fields


def refusal(text: bytes) -> dict[str, Any]:
    """What a short answer says: no model, or what is needed to read it. Empty for a full one."""
    if len(text) > 10_000:
        return {}
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Untrusted(str(error)) from None
    return (
        {k: v for k, v in fields.items() if k in ("not_a_model", "needs_hdf5", "missing")}
        if isinstance(fields, dict)
        else {}
    )


def decode(text: bytes, buffers: Sequence[memoryview], path: str, sha256: str) -> ModelFile:
    """The model file that an answer describes; raises Untrusted where anything in it is not what it must be.

    `buffers` starts with the file's own bytes; the rest came with the answer.
    """
    try:
        fields = json.loads(text)
        storages = tuple(_slice(buffers, *place) for place in fields["storages"])
        return ModelFile(
            path=path,
            sha256=sha256,
            size=len(buffers[0]),
            format=_typed(fields["format"], str),
            parts=tuple(_to_part(p, storages) for p in fields["parts"]),
            storages=storages,
            calls=tuple(_to_call(c) for c in fields["calls"]),
            sources=tuple(Source(**{**s, "classes": tuple(_texts(s["classes"]))}) for s in fields["sources"]),
            evidence=(*(_to_evidence(e) for e in fields["evidence"]), *_dropped(fields["dropped"])),
            metadata=dict(zip(_texts(fields["metadata"]), _texts(fields["metadata"].values()), strict=True)),
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise Untrusted(f"{type(error).__name__}: {error}") from None


def of_reading(reading: Reading, data: memoryview, path: str, sha256: str) -> ModelFile:
    """The model file that a reading in this process gave."""
    return ModelFile(
        path=path,
        sha256=sha256,
        size=len(data),
        format=reading.format,
        parts=tuple(reading.parts),
        storages=tuple(reading.storages),
        calls=tuple(reading.calls),
        sources=tuple(reading.sources),
        evidence=(*reading.evidence, *_dropped(reading.dropped)),
        metadata=reading.metadata,
    )


def _dropped(counts: Mapping[str, int]) -> list[Evidence]:
    return [Evidence(rule=r, message=f"{_typed(n, int)} more of this kind") for r, n in counts.items() if r in RULES]


def _slice(buffers: Sequence[memoryview], buffer: int, offset: int, length: int) -> memoryview:
    whole = buffers[_count(buffer)]
    if _count(offset) + _count(length) > len(whole):
        raise ValueError("a storage reaches past its buffer")
    return whole[offset : offset + length]


def _to_evidence(fields: dict[str, Any]) -> Evidence:
    if fields["rule"] not in RULES:
        raise ValueError("an unknown rule")
    _texts(fields[k] for k in ("message", "place", "detail"))
    for key in ("offset", "length", "line"):
        if fields[key] is not None:
            _typed(fields[key], int)
    return Evidence(**fields)


def _to_call(fields: dict[str, Any]) -> Call:
    _texts(fields[k] for k in ("module", "name", "place", "arguments"))
    if fields["standing"] not in get_args(Standing):
        raise ValueError("an unknown standing")
    _typed(fields["called"], bool), _typed(fields["offset"], int)
    return Call(**fields)


def _to_part(fields: dict[str, Any], storages: Sequence[memoryview]) -> Part:
    _texts(fields[k] for k in ("name", "kind", "class_name"))
    tensors = {k: _to_spec(*t, storages=storages) for k, t in fields["tensors"].items()}
    graph = _to_graph(fields["graph"]) if fields["graph"] else None
    return Part(**{**fields, "config": _typed(fields["config"], dict), "tensors": tensors, "graph": graph})


def _to_spec(
    dtype: str, shape: list[int], stride: list[int], offset: int, storage: int, *, storages: Sequence[memoryview]
) -> TensorSpec:
    """A view, its bounds checked once more: a wrong one would let torch read other memory."""
    sizes, steps = [_count(n) for n in shape], [_count(n) for n in stride]
    if len(sizes) != len(steps):
        raise ValueError("a shape and a stride of different lengths")
    last = _count(offset) + sum((n - 1) * s for n, s in zip(sizes, steps, strict=True))
    if 0 not in sizes and (last + 1) * ITEM[_typed(dtype, str)] > len(storages[_count(storage)]):
        raise ValueError("a tensor reaches past its storage")
    return TensorSpec(dtype=dtype, shape=tuple(sizes), stride=tuple(steps), offset=offset, storage=storage)


def _to_graph(fields: dict[str, Any]) -> Graph:
    nodes = tuple(
        Node(
            op=_typed(n["op"], str),
            inputs=tuple(_texts(n["inputs"])),
            outputs=tuple(_texts(n["outputs"])),
            attributes=_typed(n["attributes"], dict),
            name=_typed(n["name"], str),
        )
        for n in fields["nodes"]
    )
    inputs = {k: tuple(_typed(d, int) for d in shape) for k, shape in fields["inputs"].items()}
    return Graph(nodes=nodes, inputs=inputs, outputs=tuple(_texts(fields["outputs"])), opset=_count(fields["opset"]))


def _texts(values: Any) -> list[str]:
    return [_typed(v, str) for v in values]


def _count(value: Any) -> int:
    if _typed(value, int) < 0:
        raise ValueError("a negative count")
    return value


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{type(value).__name__} where {kind.__name__} belongs")
    return value
