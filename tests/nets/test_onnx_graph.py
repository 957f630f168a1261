"""Our ONNX interpreter against the reference one, operator by operator; gradients; hostile graphs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from state_parts import DATA, needs_data

from genvet.core.errors import BadInput, GenVetError, Unsupported
from genvet.core.modelfile import Graph, Node
from genvet.core.rng import Rng
from genvet.files.convert import convert, load_saved
from genvet.files.load import load
from genvet.nets.build import build
from genvet.nets.cost import cost
from genvet.nets.onnx_network import OPSETS, TABLE, OnnxNetwork, holds

onnx = pytest.importorskip("onnx", reason="needs the extra `onnx`")
reference = pytest.importorskip("onnx.reference")
helper = onnx.helper

R = np.random.default_rng(0)
F = R.standard_normal((2, 3, 4, 5)).astype(np.float32)
G = R.standard_normal((2, 3, 4, 5)).astype(np.float32)
M = R.standard_normal((4, 6)).astype(np.float32)
P = np.abs(F) + 0.1
B = F > 0
W = R.standard_normal((6, 3, 3, 2)).astype(np.float32)
T = R.standard_normal((3, 4, 3, 2)).astype(np.float32)
C = R.standard_normal(6).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


NONE = None
# Operator, inputs (the first is the graph's input, the others initializers), attributes, operator set.
CASES: list[tuple[str, list, dict, int]] = [
    *[
        (op, [F], {}, 13)
        for op in ("Abs", "Ceil", "Cos", "Exp", "Floor", "Identity", "Neg", "Relu", "Round", "Sigmoid")
    ],
    *[(op, [F], {}, 13) for op in ("Sign", "Sin", "Softplus", "Softsign", "Tanh", "Erf", "Elu", "Selu", "LeakyRelu")],
    *[(op, [P], {}, 13) for op in ("Log", "Sqrt", "Reciprocal")],
    *[(op, [F, G[:, :1]], {}, 13) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Mean", "Sum")],
    *[(op, [F, G], {}, 16) for op in ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual")],
    *[(op, [B, ~B], {}, 13) for op in ("And", "Or")],
    ("Not", [B], {}, 13),
    ("Equal", [ints(1, 2, 3), ints(1, 5, 3)], {}, 13),
    ("Div", [ints(7, -7, 9), ints(2, 2, 4)], {}, 13),
    ("Pow", [P, floats(2.5)], {}, 13),
    ("Pow", [F, ints(2)], {}, 13),
    ("Elu", [F], {"alpha": 0.4}, 7),
    ("Selu", [F], {"alpha": 1.2, "gamma": 0.7}, 13),
    ("LeakyRelu", [F], {"alpha": 0.3}, 7),
    ("HardSigmoid", [F], {"alpha": 0.3, "beta": 0.4}, 13),
    ("PRelu", [F, floats(0.1, 0.2, 0.3).reshape(3, 1, 1)], {}, 9),
    ("Gelu", [F], {}, 20),
    ("Gelu", [F], {"approximate": "tanh"}, 20),
    ("Clip", [F, np.float32(-0.5), np.float32(0.4)], {}, 13),
    ("Clip", [F, NONE, np.float32(0.4)], {}, 11),
    ("Clip", [F], {"min": -0.2, "max": 0.3}, 7),
    *[("Softmax", [F], {"axis": a}, s) for a, s in ((3, 11), (-1, 13), (1, 13))],
    ("Cast", [F], {"to": 6}, 13),
    ("Cast", [B], {"to": 1}, 13),
    ("Where", [B, F, G[:, :1]], {}, 16),
    ("Dropout", [F], {}, 12),
    # Shapes.
    ("Reshape", [F, ints(0, -1, 2)], {}, 13),
    ("Reshape", [np.zeros((0, 3), np.float32), ints(3, 0)], {"allowzero": 1}, 14),
    *[("Flatten", [F], {"axis": a}, 13) for a in (0, 1, 2, -1, 4)],
    ("Transpose", [F], {"perm": [0, 2, 3, 1]}, 13),
    ("Transpose", [F], {}, 13),
    ("Squeeze", [F[:, :1]], {"axes": [1]}, 11),
    ("Squeeze", [F[:, :1], ints(-3)], {}, 13),
    ("Squeeze", [F[:1, :1]], {}, 13),
    ("Unsqueeze", [F], {"axes": [0, 3]}, 11),
    ("Unsqueeze", [F, ints(-1, 0)], {}, 13),
    ("Concat", [F, G], {"axis": 1}, 13),
    ("Concat", [F, G[:, :, :, :2]], {"axis": -1}, 13),
    ("Slice", [F], {"starts": [0, 1], "ends": [9, -1], "axes": [2, 3]}, 9),
    ("Slice", [F, ints(3, 0), ints(-100, 2), ints(2, 1), ints(-1, 1)], {}, 13),
    ("Slice", [F, ints(-2), ints(2**62), ints(-1), ints(2)], {}, 13),
    ("Slice", [F, ints(1, 0), ints(2, 3)], {}, 11),
    ("Split", [F], {"axis": 1, "split": [1, 2]}, 11),
    ("Split", [F, ints(2, 3)], {"axis": 3}, 13),
    ("Split", [F], {"axis": 2, "num_outputs": 2}, 18),
    ("Gather", [F, ints(2, -1, 0, 0)], {"axis": 1}, 13),
    ("Gather", [F, np.array(1)], {"axis": -1}, 13),
    ("Gather", [F, ints(0, 1, 1, 0).reshape(2, 2)], {"axis": 2}, 13),
    ("Shape", [F], {}, 13),
    ("Shape", [F], {"start": 1, "end": -1}, 15),
    ("Expand", [F[:, :, :1], ints(3, 4, 1)], {}, 13),
    ("Tile", [F, ints(1, 2, 1, 3)], {}, 13),
    ("Pad", [F], {"pads": [0, 0, 1, 2, 0, 0, 3, 4], "value": 0.7}, 9),
    ("Pad", [F, ints(0, 1, 0, 2, 0, 0, 1, 1), np.float32(0.5)], {}, 13),
    ("Pad", [F, ints(0, 0, 1, 2, 0, 0, 1, 2)], {"mode": "reflect"}, 13),
    ("Pad", [F, ints(0, 0, 1, 2, 0, 0, 3, 4)], {"mode": "edge"}, 13),
    ("Pad", [F, ints(2, 1), np.float32(1), ints(-1)], {}, 18),
    *[(op, [F], {"axes": [1, -1], "keepdims": 0}, 12) for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")],
    *[(op, [F, ints(2)], {}, 18) for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare")],
    ("ReduceSum", [F], {}, 13),
    ("ReduceSum", [F], {"noop_with_empty_axes": 1}, 13),
    ("DepthToSpace", [R.standard_normal((2, 8, 3, 2)).astype(np.float32)], {"blocksize": 2}, 13),
    ("DepthToSpace", [R.standard_normal((2, 8, 3, 2)).astype(np.float32)], {"blocksize": 2, "mode": "CRD"}, 13),
    ("SpaceToDepth", [R.standard_normal((2, 3, 4, 6)).astype(np.float32)], {"blocksize": 2}, 13),
    # Layers.
    ("Gemm", [M, M.T.copy()], {}, 13),
    ("Gemm", [M, M, C[:4]], {"transB": 1, "alpha": 0.5, "beta": 2.0}, 13),
    ("Gemm", [M, M, C], {"transA": 1}, 7),
    ("MatMul", [F, np.swapaxes(G, 2, 3).copy()], {}, 13),
    ("MatMul", [F, floats(1, 2, 3, 4, 5)], {}, 13),
    ("Conv", [F, W, C], {}, 11),
    ("Conv", [F, W], {"strides": [2, 1], "pads": [1, 0, 1, 0]}, 11),
    ("Conv", [F, W], {"dilations": [1, 2], "pads": [0, 1, 2, 3]}, 11),
    ("Conv", [F, W[:, :1]], {"group": 3}, 11),
    *[("Conv", [F, W], {"auto_pad": a, "strides": [2, 2]}, 11) for a in ("SAME_UPPER", "SAME_LOWER", "VALID")],
    ("Conv", [F[0], R.standard_normal((4, 4, 3)).astype(np.float32)], {"pads": [1, 1]}, 11),
    ("ConvTranspose", [F, T, C[:4]], {}, 11),
    ("ConvTranspose", [F, T], {"strides": [2, 3], "pads": [1, 0, 1, 0]}, 11),
    ("ConvTranspose", [F, T], {"strides": [2, 2], "pads": [1, 0, 0, 1], "output_padding": [1, 1]}, 11),
    ("ConvTranspose", [F, T], {"strides": [2, 2], "dilations": [2, 1]}, 11),
    ("ConvTranspose", [F, T], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, 11),
    ("BatchNormalization", [F, C[:3], C[3:], C[:3], np.abs(C[3:])], {"epsilon": 0.01}, 15),
    ("BatchNormalization", [M, C, C, C, np.abs(C)], {}, 15),
    ("InstanceNormalization", [F, C[:3], C[3:]], {"epsilon": 0.01}, 6 + 1),
    ("LayerNormalization", [F, G[0, 0], G[1, 0]], {"axis": 2}, 17),
    ("AveragePool", [F], {"kernel_shape": [2, 3], "strides": [2, 1]}, 11),
    ("AveragePool", [F], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, 11),
    ("AveragePool", [F], {"kernel_shape": [3, 3], "pads": [1, 1, 0, 1], "count_include_pad": 1}, 11),
    ("MaxPool", [F], {"kernel_shape": [2, 2], "strides": [2, 2]}, 12),
    ("MaxPool", [F], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 2]}, 12),
    ("MaxPool", [F], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, 12),
    *[("LogSoftmax", [F], {"axis": a}, s) for a, s in ((3, 11), (-1, 13), (1, 13))],
    ("HardSwish", [F], {}, 14),
    ("GlobalAveragePool", [F], {}, 11),
    ("GlobalMaxPool", [F], {}, 11),
    ("Upsample", [F, floats(1, 1, 2, 3)], {"mode": "nearest"}, 9),
    *[
        (
            "Resize",
            [F, NONE, floats(1, 1, 2, 2)],
            {"mode": "nearest", "coordinate_transformation_mode": how, "nearest_mode": rounding},
            13,
        )
        for how in ("asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel")
        for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
    ],
    *[
        ("Resize", [F, NONE, floats(1, 1, s, s)], {"mode": "linear", "coordinate_transformation_mode": how}, 13)
        for how, s in [
            ("asymmetric", 2),
            ("asymmetric", 1.6),
            ("half_pixel", 0.5),
            ("half_pixel", 1.6),
            ("align_corners", 2),
        ]
    ],
    ("Resize", [F, NONE, NONE, ints(2, 3, 7, 9)], {"mode": "linear"}, 13),
    ("Resize", [F, NONE, NONE, ints(2, 3, 7, 9)], {"mode": "nearest"}, 19),
]
WITHOUT_INPUT = {"Constant", "ConstantOfShape", "Range"}


def model_of(op: str, inputs: list, attributes: dict, opset: int):
    """A graph of one node; the first input is the graph's, the others are initializers."""
    names = ["" if x is None else f"in{i}" for i, x in enumerate(inputs)]
    outputs = ["y", "y2"] if op == "Split" else ["y"]
    node = helper.make_node(op, names, outputs, **attributes)
    kind = helper.np_dtype_to_tensor_dtype(inputs[0].dtype)
    entry = helper.make_tensor_value_info("in0", kind, list(inputs[0].shape))
    held = [
        onnx.numpy_helper.from_array(np.asarray(x), n)
        for x, n in zip(inputs, names, strict=True)
        if n not in ("", "in0")
    ]
    out = [helper.make_tensor_value_info(n, 0, None) for n in outputs]
    graph = helper.make_graph([node], "g", [entry], out, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def ours(model, inputs: dict) -> tuple[torch.Tensor, OnnxNetwork]:
    """The same model in our interpreter, made from the protobuf by the library: the reader has tests of its own."""
    graph, held = of_model(model)
    tensors = {k: torch.from_numpy(np.array(onnx.numpy_helper.to_array(t))) for k, t in held.items()}
    places = holds(graph, {k: (str(t.dtype)[6:], tuple(t.shape)) for k, t in tensors.items()})
    network = OnnxNetwork(graph, places, ())
    state = {p.key: tensors[k] for k, p in places.items()}
    network.load_state_dict(state, strict=True, assign=True)
    (x,) = inputs.values()
    return network.run(torch.from_numpy(x)), network


def of_model(model) -> tuple[Graph, dict]:
    held = {t.name: t for t in model.graph.initializer}
    nodes = []
    for i, n in enumerate(model.graph.node):
        attributes = {}
        for a in n.attribute:
            value = helper.get_attribute_value(a)
            if isinstance(value, onnx.TensorProto):
                held[f"{i}:{a.name}"] = value
                value = {"tensor": f"{i}:{a.name}"}
            value = value.decode() if isinstance(value, bytes) else list(value) if a.ints or a.floats else value
            attributes[a.name] = value
        nodes.append(Node(op=n.op_type, inputs=tuple(n.input), outputs=tuple(n.output), attributes=attributes))
    shapes = {
        v.name: tuple(d.dim_value or -1 for d in v.type.tensor_type.shape.dim)
        for v in model.graph.input
        if v.name not in held
    }
    outputs = tuple(v.name for v in model.graph.output)
    return Graph(nodes=tuple(nodes), inputs=shapes, outputs=outputs, opset=model.opset_import[0].version), held


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "opset"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)]
)
def test_operators_agree_with_the_reference(op, inputs, attributes, opset):
    model = model_of(op, inputs, attributes, opset)
    expected = reference.ReferenceEvaluator(model).run(None, {"in0": inputs[0]})[0]
    got, _ = ours(model, {"in0": inputs[0]})
    assert got.shape == expected.shape
    np.testing.assert_allclose(
        got.detach().numpy().astype(np.float64), expected.astype(np.float64), rtol=1e-4, atol=1e-5
    )


def run_alone(op: str, inputs: list, attributes: dict, opset: int) -> torch.Tensor:
    return ours(model_of(op, inputs, attributes, opset), {"in0": inputs[0]})[0].detach()


def test_where_the_reference_cannot_tell():
    """Softmax of old sets, negative pads, groups and output shapes: the specification's own words, in torch."""
    x, t = torch.from_numpy(F), torch.from_numpy(T)
    torch.testing.assert_close(run_alone("Softmax", [F], {"axis": 2}, 11), x.flatten(2).softmax(2).reshape(x.shape))
    torch.testing.assert_close(run_alone("Pad", [F, ints(0, 0, 0, -1, 0, 0, -2, 0)], {}, 13), x[:, :, :2, 1:])
    got = run_alone("ConvTranspose", [F, T[:, :2]], {"group": 3}, 11)
    torch.testing.assert_close(got, torch.nn.functional.conv_transpose2d(x, t[:, :2], groups=3))
    # A whole output of 9 x 10: of the one row and column too many, the far ones go by the default sharing of pads.
    whole = torch.nn.functional.conv_transpose2d(x, t, stride=2)
    got = run_alone("ConvTranspose", [F, T], {"strides": [2, 2], "output_shape": [8, 9]}, 11)
    torch.testing.assert_close(got, whole[:, :, 1:, 1:])
    got = run_alone("ConvTranspose", [F, T], {"strides": [2, 2], "output_shape": [8, 9], "auto_pad": "SAME_UPPER"}, 11)
    torch.testing.assert_close(got, whole[:, :, :-1, :-1])
    aligned = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    torch.testing.assert_close(
        run_alone("Resize", [F, NONE, floats(1, 1, 1.6, 1.6)], aligned, 13),
        torch.nn.functional.interpolate(x, (6, 8), mode="bilinear", align_corners=True),
    )


def test_every_operator_has_a_case():
    assert set(TABLE) - {c[0] for c in CASES} == WITHOUT_INPUT
    assert len(TABLE) >= 40 and OPSETS == range(7, 22)


def value(name: str, shape: list, kind: int = 1):
    return helper.make_tensor_value_info(name, kind, shape)


def saved(tmp_path: Path, nodes: list, held: dict, entry: list, opset: int = 13) -> Path:
    initializers = [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in held.items()]
    graph = helper.make_graph(nodes, "g", [value("z", entry)], [value("y", None)], initializers)
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def as_torch_exports_it(tmp_path: Path, entry: list) -> tuple[Path, dict]:
    """Linear, a reshape by the batch size taken from Shape, an upsampling convolution, tanh."""
    held = {
        "fc.weight": R.standard_normal((5, 4 * 16)).astype(np.float32),
        "conv.weight": R.standard_normal((3, 4, 3, 3)).astype(np.float32) / 6,
        "zero": np.array(0),
        "first": ints(0),
        "rest": ints(4, 4, 4),
        "scales": floats(1, 1, 2, 2),
    }
    nodes = [
        helper.make_node("MatMul", ["z", "fc.weight"], ["h"]),
        helper.make_node("Shape", ["z"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "first"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["h", "shape"], ["h4"]),
        helper.make_node("Constant", [], ["half"], value=onnx.numpy_helper.from_array(np.float32(0.5))),
        helper.make_node("Mul", ["h4", "half"], ["hh"]),
        helper.make_node("Resize", ["hh", "", "scales"], ["big"], mode="nearest", nearest_mode="floor"),
        helper.make_node("Conv", ["big", "conv.weight"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Tanh", ["c"], ["y"]),
    ]
    return saved(tmp_path, nodes, held, entry), held


def test_whole_graph_is_a_differentiable_generator(tmp_path):
    path, _ = as_torch_exports_it(tmp_path, ["n", 5])
    (generator,) = load(path).generators.values()
    z = torch.randn(7, 5, requires_grad=True)
    x = generator(z)
    expected = reference.ReferenceEvaluator(str(path)).run(None, {"z": z.detach().numpy()})[0]
    np.testing.assert_allclose(x.detach().numpy(), expected, atol=1e-5)
    assert (generator.name, generator.shape, generator.output) == ("onnx", (3, 8, 8), "symmetric")
    (gradient,) = torch.autograd.grad(x.square().sum(), z)
    step = 1e-3 * torch.nn.functional.one_hot(torch.tensor(2), 5)
    numeric = (generator(z + step).square().sum((1, 2, 3)) - generator(z - step).square().sum((1, 2, 3))) / 2e-3
    torch.testing.assert_close(gradient[:, 2], numeric, rtol=0.03, atol=0.03)


def test_its_cost_is_told_by_shapes(tmp_path):
    path, held = as_torch_exports_it(tmp_path, ["n", 5])
    (generator,) = load(path).generators.values()
    products = held["fc.weight"].size + held["conv.weight"].size * 8 * 8
    assert 2 * products <= cost(generator).operations <= 2 * products + 3000


def test_a_fixed_batch_is_fed_in_pieces(tmp_path):
    path, _ = as_torch_exports_it(tmp_path, [2, 5])
    (generator,) = load(path).generators.values()
    z = generator.latent.sample(0, 5, Rng(0))
    assert generator(z).shape == (5, 3, 8, 8)
    torch.testing.assert_close(generator(z)[4:], generator(z[4:]))


def test_a_batch_that_a_reshape_fixes_is_found_out(tmp_path):
    nodes = [helper.make_node("Reshape", ["z", "shape"], ["r"]), helper.make_node("Sigmoid", ["r"], ["y"])]
    path = saved(tmp_path, nodes, {"shape": ints(1, 1, 8, 8)}, ["n", 64])
    (generator,) = load(path).generators.values()
    z = torch.randn(3, 64)
    torch.testing.assert_close(generator(z), torch.sigmoid(z).reshape(3, 1, 8, 8) * 2 - 1)
    assert generator.output == "unit"


@needs_data
def test_real_decoder_survives_conversion(tmp_path):
    source = DATA / "generators/bvae_interactive_mnist/decoder.onnx"
    (generator,) = load(source).generators.values()
    assert (generator.shape, generator.latent.dim, generator.output) == ((1, 28, 28), 2, "unit")
    z = generator.latent.sample(0, 6, Rng(0))
    expected = reference.ReferenceEvaluator(str(source)).run(None, {"input": z.numpy()})[0]
    np.testing.assert_allclose(generator(z).detach(), expected * 2 - 1, atol=1e-5)
    digest = convert(source, tmp_path / "a.safetensors")
    back = load_saved(tmp_path / "a.safetensors")
    assert (
        torch.equal(back(z), generator(z)) and convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors") == digest
    )


BIG, IMAGE = ints(1, 60000, 60000), ints(1, 1, 4, 4)
HOSTILE = {
    "expand": ([("Expand", ["z", "big"], {})], {"big": ints(2**22, 2, 16)}),
    "tile": ([("Tile", ["z", "reps"], {})], {"reps": ints(1, 2**40)}),
    "fill": ([("ConstantOfShape", ["big"], {}), ("Add", ["t0", "z"], {})], {"big": BIG}),
    "pad": ([("Pad", ["z", "p"], {})], {"p": ints(0, 2**40, 0, 2**40)}),
    "outer": (
        [("Reshape", ["z", "s"], {}), ("Tile", ["t0", "k"], {}), ("MatMul", ["t1", "row"], {})],
        {"s": ints(-1, 1), "k": ints(2**16, 1), "row": np.zeros((1, 2**16), np.float32)},
    ),
    "resize": ([("Reshape", ["z", "s"], {}), ("Upsample", ["t0", "k"], {})], {"s": IMAGE, "k": floats(1, 1, 1e6, 1e6)}),
    "range": (
        [("Range", ["a", "b", "c"], {}), ("Gather", ["z", "t0"], {"axis": 1})],
        {"a": np.array(0), "b": np.array(2**50), "c": np.array(1)},
    ),
    "doubling": ([("Concat", ["z" if i == 0 else f"t{i - 1}"] * 2, {"axis": 1}) for i in range(60)], {}),
    "window": (
        [("Reshape", ["z", "s"], {}), ("Conv", ["t0", "w"], {"pads": [2**30] * 4})],
        {"s": IMAGE, "w": np.zeros((1, 1, 1, 1), np.float32)},
    ),
}


def chain(steps: list) -> list:
    """Nodes one after the other: t0, t1, ... and at last y."""
    return [
        helper.make_node(op, inputs, ["y" if i == len(steps) - 1 else f"t{i}"], **attributes)
        for i, (op, inputs, attributes) in enumerate(steps)
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_bombs_are_refused_before_they_go_off(tmp_path, name):
    steps, held = HOSTILE[name]
    start = time.monotonic()
    file = load(saved(tmp_path, chain(steps), held, [1, 16], 9 if name == "resize" else 13))
    assert file.generators == {} and time.monotonic() - start < 30
    assert file.not_generators[""]


OTHERS = [
    ([("LSTM", ["z"], {})], {}, [1, 64], 13, "operator LSTM is not supported"),
    ([("Tanh", ["z"], {})], {}, [1, 64], 6, "operator set 6"),
    ([("Relu", ["z"], {})], {}, [1, 10], 13, "no image"),
    ([("Relu", ["z"], {})], {}, [1, 3, 8, 8], 13, "takes a vector"),
    ([("Cast", ["z"], {"to": 7}), ("Expand", ["z", "t0"], {})], {}, [1, 64], 13, "depends on the values"),
    ([("Reshape", ["z", "s"], {})], {"s": ints(7, 7)}, [1, 64], 13, "cannot run"),
    ([("Relu", ["nobody"], {})], {}, [1, 64], 13, "which nothing gives"),
]


@pytest.mark.parametrize(("steps", "held", "entry", "opset", "reason"), OTHERS, ids=[o[-1] for o in OTHERS])
def test_reasons_are_told(tmp_path, steps, held, entry, opset, reason):
    path = saved(tmp_path, chain(steps), held, entry, opset)
    assert reason in load(path).not_generators[""]


def test_hostile_written_forms_are_refused(tmp_path):
    path, _ = as_torch_exports_it(tmp_path, ["n", 5])
    (generator,) = load(path).generators.values()
    config = json.loads(generator.metadata["genvet.config"])
    assert build("onnx", config).shape == (3, 8, 8)
    changes = [
        ("held", {"x": ["forward", "float32", [3], True]}),
        ("held", {"x": ["a..b", "float32", [3], True]}),
        ("held", {"x": ["weights.a", "float32", [2**40], True]}),
        ("held", {"x": ["weights.a", "object", [2], True]}),
        ("entry", ["5"]),
        ("batch", 2**40),
        ("graph", {"nodes": [], "inputs": {}, "outputs": [], "opset": 13}),
        ("graph", None),
    ]
    for key, changed in changes:
        with pytest.raises(GenVetError):
            build("onnx", config | {"network": config["network"] | {key: changed}})
    with pytest.raises((BadInput, Unsupported)):
        build("onnx", config | {"prior": "evil"})
