"""Keras models as data: weights by path, and every layer that carries or imports code told."""

from __future__ import annotations

import base64
import io
import json
import marshal
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genvet.core.modelfile import ModelFile
from genvet.files import keras_file
from genvet.files.reading import Reading
from genvet.files.sandbox import read_in_child, read_in_process

h5py = pytest.importorskip("h5py")
pytest.importorskip("pyfive")
DATA = Path(os.environ.get("GENVET_TEST_DATA") or Path(__file__).parents[3] / "shared/data")

DENSE = {"class_name": "Dense", "config": {"name": "dense", "units": 3, "activation": "relu"}}
COMPILED = base64.b64encode(marshal.dumps(compile("lambda x: __import__('os').system('id')", "f", "eval"))).decode()
KERNEL = np.arange(12, dtype=np.float32).reshape(4, 3)


def model(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "m", "layers": [DENSE, *layers]}}


def h5(settings: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w", **options) as file:
        file.attrs["model_config"] = settings if isinstance(settings, str) else json.dumps(settings)
        group = file.create_group("model_weights/dense/dense")
        group.create_dataset("kernel:0", data=KERNEL)
        group.create_dataset("bias:0", data=np.ones(3, ">f8"), chunks=(2,), compression="gzip")
    return out.getvalue()


def archive(settings: Any, method: int = zipfile.ZIP_STORED) -> bytes:
    weights, out = io.BytesIO(), io.BytesIO()
    with h5py.File(weights, "w") as file:
        file.create_dataset("layers/dense/vars/0", data=KERNEL)
    with zipfile.ZipFile(out, "w", method) as zipped:
        zipped.writestr("config.json", json.dumps(settings))
        zipped.writestr("metadata.json", json.dumps({"keras_version": "3.0"}))
        zipped.writestr("model.weights.h5", weights.getvalue())
    return out.getvalue()


def read(data: bytes) -> ModelFile:
    return read_in_process(data, "test")


def rules(file: ModelFile) -> set[str]:
    return {e.rule for e in file.evidence}


@pytest.mark.parametrize("reader", [read, lambda data: read_in_child(data, "test")])
@pytest.mark.parametrize("options", [{}, {"userblock_size": 1024}])
def test_weights_and_settings(reader: Any, options: dict[str, Any]) -> None:
    file = reader(h5(model(), **options))
    assert file.evidence == () and file.format == "hdf5"
    (part,) = file.parts
    assert part.kind == "keras" and part.class_name == "Sequential" and part.config == model()
    spec = part.tensors["dense/dense/kernel:0"]
    assert np.array_equal(np.frombuffer(file.storages[spec.storage], np.float32).reshape(spec.shape), KERNEL)
    bias = part.tensors["dense/dense/bias:0"]
    assert bias.dtype == "float64"
    assert np.array_equal(np.frombuffer(file.storages[bias.storage], np.float64), np.ones(3))


def test_a_dataset_that_cannot_be_read_is_told() -> None:
    """The newest layout of chunks is beyond the library; the others are read all the same."""
    file = read(h5(model(), libver="latest"))
    assert rules(file) == {"archive.unreadable"}
    assert list(file.parts[0].tensors) == ["dense/dense/kernel:0"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_keras_archives(method: int) -> None:
    file = read_in_child(archive(model(), method), "test")
    assert file.evidence == () and file.format == "keras"
    assert list(file.parts[0].tensors) == ["layers/dense/vars/0"]


SOURCE = {"class_name": "Lambda", "config": {"name": "f", "function": "lambda x: eval('1')"}}
MARSHAL = {"class_name": "Lambda", "config": {"name": "f", "function": [COMPILED, None, None]}}
NESTED = {"class_name": "Lambda", "module": "keras.layers", "config": {
    "name": "f", "function": {"class_name": "__lambda__", "config": {"value": COMPILED}}}}  # fmt: skip
CUSTOM = {"class_name": "Attack", "config": {"name": "a"}}
REGISTERED = {"class_name": "Mine", "module": None, "registered_name": "pkg>Mine", "config": {}}
IMPORTED = {"class_name": "Net", "module": "mypackage.layers", "config": {}}
SYSTEM = {"class_name": "function", "module": "os", "config": "system", "registered_name": "function"}
GET_FILE = {"class_name": "function", "module": "keras", "config": "utils.get_file", "registered_name": "function"}
LOADER = {"class_name": "function", "module": "keras.models", "config": "load_model", "registered_name": "function"}
WRAPPER = {"class_name": "TorchModuleWrapper", "module": "keras.layers", "config": {"module": "gAJOLg=="}}
DEEPER = {"class_name": "TimeDistributed", "config": {"name": "t", "layer": SOURCE}}


@pytest.mark.parametrize(
    ("layer", "rule"),
    [(SOURCE, "keras.lambda"), (SOURCE, "source.dynamic"), (MARSHAL, "keras.lambda"), (NESTED, "keras.lambda"),
     (DEEPER, "keras.lambda"), (CUSTOM, "keras.unlisted"), (REGISTERED, "keras.unlisted"),
     (IMPORTED, "keras.unlisted"), (SYSTEM, "call.dangerous"), (GET_FILE, "keras.unlisted"),
     (LOADER, "keras.unlisted"), (WRAPPER, "keras.lambda")],
)  # fmt: skip
def test_layers_that_carry_or_import_code(layer: dict[str, Any], rule: str) -> None:
    for data in (h5(model(layer)), archive(model(layer))):
        file = read(data)
        assert rule in rules(file)
        if layer in (MARSHAL, NESTED):
            assert any("system" in e.detail and "__import__" in e.detail for e in file.evidence)


def test_a_broken_structure_still_shows_its_lambda() -> None:
    data = bytearray(h5(model(SOURCE)))
    data[96:140] = b"\xff" * 44
    file = read(bytes(data))
    assert {"keras.malformed", "keras.lambda"} <= rules(file)
    cut = h5(json.dumps(model(SOURCE))[:-3])
    assert {"keras.malformed", "keras.lambda"} <= rules(read(cut))


@pytest.mark.parametrize("options", [{}, {"libver": "latest"}])
def test_a_file_cut_short_is_told(options: dict[str, Any]) -> None:
    data = h5(model(), **options)
    assert "file.truncated" not in rules(read(data))
    for kept in (8, 20, 100, 600, len(data) // 2, len(data) - 100):
        told = rules(read(data[:kept]))
        assert "file.truncated" in told and "keras.malformed" not in told, "cut short is not malformed"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_file, "_library", [None])
    file = read(h5(model(SOURCE)))
    assert any("genvet[keras]" in e.message for e in file.evidence)
    assert "keras.lambda" in rules(file), "the settings are found without it"
    reading = Reading()
    keras_file.read(memoryview(h5(model())), reading, "", 0)
    assert keras_file.only_missing(reading), "nothing is held against a file that this installation cannot read"


def test_other_files_are_not_followed(tmp_path: Path) -> None:
    """HDF5 can link to other files, and keep a dataset's bytes in them."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_dataset("x", data=KERNEL)
    (tmp_path / "raw").write_bytes(KERNEL.tobytes())
    with h5py.File(tmp_path / "m.h5", "w") as file:
        group = file.create_group("linked")
        group["x"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
        file.create_dataset("kept", (4, 3), np.float32, external=[(str(tmp_path / "raw"), 0, 48)])
        file.create_dataset("own", data=KERNEL)
    file = read_in_child((tmp_path / "m.h5").read_bytes(), "test")
    assert {(e.rule, e.place) for e in file.evidence} == {
        ("archive.unreadable", "linked"),
        ("archive.unreadable", "kept"),
    }
    assert list(file.parts[0].tensors) == ["own"]


def test_circles_end() -> None:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        group = file.create_group("a")
        group["back"] = file["/"]
        group["self"] = group
    assert "archive.bomb" in rules(read(out.getvalue()))


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
def test_known_files() -> None:
    folder = DATA / "suspicious/modelaudit"
    assert {"keras.lambda", "source.dynamic"} <= rules(read((folder / "malicious_lambda.h5").read_bytes()))
    assert rules(read((folder / "safe_model.h5").read_bytes())) == set()
