"""Safetensors: every claim of the header is held against the bytes, and script in the metadata is told."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from genvet.core.modelfile import ModelFile
from genvet.files.sandbox import read_in_process

DATA = Path(os.environ.get("GENVET_TEST_DATA") or Path(__file__).parents[3] / "shared/data")


def written(header: dict | str, body: bytes) -> bytes:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(begin: int, end: int, dtype: str = "F32", shape: list[int] | None = None) -> dict:
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


def read(data: bytes) -> ModelFile:
    return read_in_process(data, "test")


def rules(data: bytes) -> set[str]:
    return {e.rule for e in read(data).evidence}


def test_a_real_file_reads_as_it_was_written() -> None:
    tensors = {"a": torch.randn(3, 5), "b": torch.arange(7), "c": torch.randn(2).bfloat16(), "d": torch.tensor(2.0)}
    file = read(save(tensors, metadata={"genvet.net": "dcgan"}))
    assert file.evidence == () and file.format == "safetensors"
    (part,) = file.parts
    assert part.kind == "state" and part.config == {"genvet.net": "dcgan"}
    for name, tensor in tensors.items():
        spec = part.tensors[name]
        flat = torch.frombuffer(bytearray(file.storages[spec.storage]), dtype=getattr(torch, spec.dtype))
        assert torch.equal(flat.as_strided(spec.shape, spec.stride, spec.offset), tensor)


@pytest.mark.parametrize(
    ("header", "rule"),
    [
        ({"a": entry(0, 8), "b": entry(4, 16)}, "safetensors.header"),
        ({"a": entry(0, 4), "b": entry(8, 16)}, "safetensors.header"),
        ({"a": entry(0, 12)}, "safetensors.header"),
        ({"a": entry(0, 20)}, "file.truncated"),
        ({"a": entry(0, 16, shape=[5])}, "safetensors.header"),
        ({"a": entry(0, 16, shape=[-4])}, "safetensors.header"),
        ({"a": entry(0, 16, shape=[True, 4])}, "safetensors.header"),
        ({"a": entry(0, 16, "Q7")}, "tensor.dtype"),
        ({"a": entry(0, 16) | {"extra": 1}}, "safetensors.header"),
        ('{"a":%s,"a":%s}' % ((json.dumps(entry(0, 16)),) * 2), "safetensors.header"),
        ('{"a":' * 100_000, "safetensors.header"),
        ({"a": entry(0, 16), "__metadata__": {"k": 1}}, "safetensors.header"),
        ("{" + '"a": NaN}', "safetensors.header"),
    ],
    ids=["overlap", "hole", "trailing", "short", "shape", "negative", "bool", "dtype", "field", "twice", "deep",
         "metadata", "nan"],
)  # fmt: skip
def test_a_lying_header_is_told(header: dict | str, rule: str) -> None:
    assert rule in rules(written(header, b"\0" * 16))


@pytest.mark.parametrize(
    "text",
    ["<script src=x>", "<img src=x onerror=alert(1)>", "javascript:alert(1)", "{{ 7*7 }}", "${jndi:ldap://x}",
     "{% for x in y %}", "<iframe src='//x'>", "().__class__.__mro__"],
)  # fmt: skip
def test_script_in_metadata(text: str) -> None:
    assert rules(written({"a": entry(0, 16), "__metadata__": {"k": text}}, b"\0" * 16)) == {"metadata.script"}
    assert rules(written({"a": entry(0, 16), "__metadata__": {text: "v"}}, b"\0" * 16)) == {"metadata.script"}


@pytest.mark.parametrize(
    "text",
    ["a <style> token, x < y and y > z", '{"a":{"b":{}}}', "a once-only description: data; one = two", "50% {off}"],
)
def test_plain_metadata(text: str) -> None:
    assert rules(written({"a": entry(0, 16), "__metadata__": {"k": text}}, b"\0" * 16)) == set()


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
def test_known_files() -> None:
    folder = DATA / "suspicious/modelaudit"
    assert rules((folder / "script_injection.safetensors").read_bytes()) == {"metadata.script"}
    assert rules((folder / "safe_model.safetensors").read_bytes()) == set()
