"""Readers under mutated and made-up inputs: nothing but BadInput comes out. The long run is in benchmarks/."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.core.rules import RULES
from genvet.files import sandbox

ROOT = Path(__file__).parents[2]


def _loop():  # type: ignore[no-untyped-def]
    spec = importlib.util.spec_from_file_location("fuzz_readers", ROOT / "benchmarks" / "fuzz_readers.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_readers"] = module
    spec.loader.exec_module(module)
    return module


fuzz = _loop()
CORPUS = fuzz.seeds(real=False)
FORMATS = {
    "7z", "bzip2", "gzip", "xz", "hdf5", "keras", "npy", "npz", "nvlabs-pickle", "onnx", "pickle", "safetensors", "tar",
    "torch-legacy", "torch-zip", "torchscript", "zip",
}  # fmt: skip
MAGICS = [data[:n] for data in CORPUS.values() for n in (2, 4, 8, 32, 300)]


def check(data: bytes) -> str:
    """Read it; gives the format. What comes back must be whole: known rules, tensors within their storages."""
    try:
        file = sandbox.read_in_process(data, "fuzz")
    except BadInput:
        return ""
    assert all(e.rule in RULES and printable(e.message, 1000) == e.message for e in file.evidence)
    for part in file.parts:
        for spec in part.tensors.values():
            assert 0 <= spec.storage < len(file.storages)
            assert len(spec.shape) == len(spec.stride) and spec.offset >= 0
    return file.format.split(" > ")[0]


def test_the_corpus_holds_every_format() -> None:
    assert {check(data) for data in CORPUS.values()} == FORMATS


def test_the_sealed_child_finds_the_same() -> None:
    """What a reader needs of the interpreter must be there before the seal: every format, sealed and not."""
    for name, data in CORPUS.items():
        child, own = sandbox.read_in_child(data, "m"), sandbox.read_in_process(data, "m")
        assert (child.format, child.evidence, child.calls) == (own.format, own.evidence, own.calls), name
        assert (child.sources, child.metadata, child.parts) == (own.sources, own.metadata, own.parts), name
        assert [bytes(s) for s in child.storages] == [bytes(s) for s in own.storages], name


@pytest.mark.parametrize("start", range(0, 3000, 500))
def test_mutations(start: int) -> None:
    """The loop of the benchmark, with another seed: 3,000 inputs."""
    for number in range(start, start + 500):
        check(fuzz.mutated(number, 20, CORPUS)[1])


@settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(MAGICS), st.binary(max_size=400))
def test_any_bytes_behind_a_magic_number(magic: bytes, rest: bytes) -> None:
    check(magic + rest)


@settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(CORPUS)), st.data())
def test_a_number_changed_anywhere(name: str, data: st.DataObject) -> None:
    content = bytearray(CORPUS[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + 4] = data.draw(st.binary(min_size=1, max_size=8))
    check(bytes(content))
