"""ONNX models as data: the graph, the tensors, and what reaches outside the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genvet.core.modelfile import ModelFile
from genvet.files.sandbox import read_in_process

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

DATA = Path(os.environ.get("GENVET_TEST_DATA") or Path(__file__).parents[3] / "shared/data")


def read(data: bytes) -> ModelFile:
    return read_in_process(data, "test")


def rules(file: ModelFile) -> set[str]:
    return {e.rule for e in file.evidence}


def model(nodes: list[Any], initializers: list[Any] = (), inputs: list[Any] | None = None) -> Any:  # type: ignore[assignment]
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 2])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])
    graph = helper.make_graph(nodes, "g", inputs or [z], [x], list(initializers))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=opsets, producer_name="test")


def values(file: ModelFile, name: str) -> np.ndarray:
    spec = file.parts[0].tensors[name]
    return np.frombuffer(file.storages[spec.storage], spec.dtype).reshape(spec.shape)


KINDS = [np.float32, np.float64, np.float16, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.int64, np.uint32,
         np.uint64, np.bool_]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("raw", [True, False])
def test_every_kind_of_tensor(kind: type, raw: bool) -> None:
    array = np.array([[0, 1, 2], [3, 100, 1]]).astype(kind)
    kind_number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    tensor = (
        numpy_helper.from_array(array, "w") if raw else helper.make_tensor("w", kind_number, array.shape, array.ravel())
    )
    file = read(model([helper.make_node("Identity", ["z"], ["x"])], [tensor]).SerializeToString())
    assert file.evidence == ()
    assert np.array_equal(values(file, "w"), array)


def test_graph_attributes_and_subgraphs() -> None:
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(3, np.float32)))], "then", [],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [3])], [numpy_helper.from_array(np.zeros(2), "k")],
    )  # fmt: skip
    nodes = [
        helper.make_node("If", ["z"], ["h"], then_branch=inner, else_branch=inner),
        helper.make_node("Made", ["h"], ["x"], alpha=-1.5, axis=-2, mode="nearest", pads=[0, -1], scales=[0.5, 2.0]),
    ]
    file = read(model(nodes).SerializeToString())
    assert file.evidence == () and file.format == "onnx"
    graph = file.parts[0].graph
    assert graph is not None and graph.opset == 17
    assert graph.inputs == {"z": (-1, 2)} and graph.outputs == ("x",)
    branch, made = graph.nodes
    assert dict(made.attributes) == {
        "alpha": -1.5, "axis": -2, "mode": "nearest", "pads": [0, -1], "scales": [0.5, 2.0]
    }  # fmt: skip
    then = branch.attributes["then_branch"]["graph"]
    assert then["nodes"][0]["op"] == "Constant"
    assert np.array_equal(values(file, then["nodes"][0]["attributes"]["value"]["tensor"]), np.ones(3))
    assert np.array_equal(values(file, then["initializers"]["k"]), np.zeros(2))


def test_what_reaches_outside_is_told() -> None:
    outside = numpy_helper.from_array(np.ones(3, np.float32), "w")
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="../../etc/passwd")
    identity = [helper.make_node("Identity", ["z"], ["x"])]
    file = read(model(identity, [outside]).SerializeToString())
    assert rules(file) == {"onnx.external-data"} and "w" not in file.parts[0].tensors
    assert "etc/passwd" in file.evidence[0].detail
    custom = read(model([helper.make_node("Run", ["z"], ["x"], domain="com.example")]).SerializeToString())
    assert rules(custom) == {"onnx.custom-operator"}


def test_lies_are_told() -> None:
    identity = [helper.make_node("Identity", ["z"], ["x"])]
    tensor = numpy_helper.from_array(np.ones(3, np.float32), "w")
    tensor.dims[0] = 1 << 40
    assert "tensor.bounds" in rules(read(model(identity, [tensor]).SerializeToString()))
    twice = [numpy_helper.from_array(np.ones(1), "w")] * 2
    assert "onnx.malformed" in rules(read(model(identity, twice).SerializeToString()))
    whole = model(identity, [numpy_helper.from_array(np.ones(300), "w")]).SerializeToString()
    assert "file.truncated" in rules(read(whole[:-100]))
    scripted = model(identity)
    scripted.metadata_props.add(key="note", value="<script>alert(1)</script>")
    assert "metadata.script" in rules(read(scripted.SerializeToString()))


def test_a_graph_inside_a_graph_without_end_is_refused() -> None:
    def field(number: int, content: bytes) -> bytes:
        size, out = len(content), bytearray([number << 3 | 2])
        while size > 0x7F:
            out.append(size & 0x7F | 0x80)
            size >>= 7
        return bytes([*out, size]) + content

    graph = b""
    for _ in range(2000):
        graph = field(1, field(5, field(1, b"a") + field(6, graph) + b"\xa0\x01\x05"))
    assert "archive.bomb" in rules(read(b"\x08\x08" + field(7, graph)))


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
def test_a_real_decoder() -> None:
    data = (DATA / "generators/bvae_interactive_mnist/decoder.onnx").read_bytes()
    file = read(data)
    assert file.evidence == ()
    known = onnx.load_model_from_string(data)
    for tensor in known.graph.initializer:
        assert np.array_equal(values(file, tensor.name), numpy_helper.to_array(tensor))
    graph = file.parts[0].graph
    assert graph is not None
    assert [n.op for n in graph.nodes] == [n.op_type for n in known.graph.node]
    assert graph.inputs == {"input": (-1, 2)}
