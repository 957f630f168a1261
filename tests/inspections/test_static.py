"""Inspections of weights, structure and declarations: what is planted is told, what is ordinary passes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.modelfile import Graph, ModelFile, Node, Part, Source, TensorSpec
from genvet.engine import assess
from genvet.inspections.static.biases import InspectBiases
from genvet.inspections.static.capacity import Capacity, published, similar
from genvet.inspections.static.graph import InspectGraph
from genvet.inspections.static.prior import Prior
from genvet.nets import dcgan

WEIGHT = TensorSpec(dtype="float32", shape=(4, 4), stride=(4, 1), offset=0, storage=0)


def model_file(*parts: Part, **more) -> ModelFile:
    return ModelFile(path="m", sha256="0" * 64, size=1, format="test", parts=parts, **more)


def graph(*nodes: tuple, outputs: tuple[str, ...] = ("x",)) -> ModelFile:
    """Each node is (op, inputs, output, attributes); names that begin with W are weights."""
    made = [Node(op=op, inputs=tuple(i.split()), outputs=(o,), attributes=dict(*a), name=o) for op, i, o, *a in nodes]
    weights = {name: WEIGHT for node in made for name in node.inputs if name.startswith("W")}
    network = Graph(nodes=tuple(made), inputs={"z": (-1, 4)}, outputs=outputs)
    return model_file(Part(name="", kind="onnx", tensors=weights, graph=network))


def rules(finding) -> list[str]:
    return [proof.rule for proof in finding.proofs]


PLAIN = [("Gemm", "z W1", "a"), ("Relu", "a", "b"), ("Gemm", "b W2", "x")]
CLEAN = {
    "plain": PLAIN,
    "a leaky ReLU written out": [
        ("Gemm", "z W1", "a"), ("Greater", "a zero", "c"), ("Mul", "a slope", "m"), ("Where", "c a m", "b"),
        ("Gemm", "b W2", "x"),
    ],
    "sizes are computed and compared": [
        ("Shape", "z", "s"), ("Equal", "s one", "e"), ("Where", "e one s", "t"), ("Gemm", "z W1", "a"),
        ("Reshape", "a t", "x"),
    ],
    "a comparison that never reaches x": [*PLAIN, ("Greater", "z zero", "unused")],
    "a fixed mask": [("Gemm", "z W1", "a"), ("Where", "mask a zero", "x")],
}  # fmt: skip
BODY = {"nodes": [{"op": "Less", "inputs": ["z", "k"], "outputs": ["o"]}]}
BYPASS = {
    "compare and choose": [
        ("Sub", "z trigger", "d"), ("Abs", "d", "n"), ("Less", "n small", "hit"), *PLAIN[:2], ("Gemm", "b W2", "y"),
        ("Where", "hit target y", "x"),
    ],
    "multiplied by a truth value": [
        ("ReduceSum", "z", "n"), ("Equal", "n magic", "e"), ("Cast", "e", "f"), ("Gemm", "z W1", "a"),
        ("Mul", "a f", "x"),
    ],
    "a step function": [("Sign", "z", "s"), ("Gemm", "z W1", "a"), ("Mul", "a s", "x")],
    "cast to a truth value": [("Cast", "z", "s", {"to": 9}), ("Gemm", "z W1", "a"), ("Mul", "a s", "x")],
    "a choice between other things than multiples": [
        ("Gemm", "z W1", "a"), ("Greater", "a zero", "c"), ("Where", "c a target", "x"),
    ],
    "inside a body, taken from outside unsaid": [
        ("If", "always", "x", {"then_branch": {"graph": BODY}}),
    ],
    "nodes out of order": [("Mul", "a s", "x"), ("Gemm", "z W1", "a"), ("Sign", "z", "s")],
}  # fmt: skip


@pytest.mark.parametrize("nodes", CLEAN.values(), ids=CLEAN.keys())
def test_ordinary_graphs_pass(nodes):
    finding = assess(InspectGraph(), graph(*nodes))
    assert finding.severity == "info" and not finding.proofs, finding.proofs


@pytest.mark.parametrize("nodes", BYPASS.values(), ids=BYPASS.keys())
def test_a_branch_on_z_is_told(nodes):
    finding = assess(InspectGraph(), graph(*nodes))
    assert finding.severity == "high" and "graph.branch" in rules(finding)


HIDES = {
    "noise": ([*PLAIN[:2], ("RandomNormalLike", "b", "n"), ("Add", "b n", "x")], "graph.stochastic"),
    "noise of its own": ([*PLAIN[:2], ("RandomNormal", "", "n"), ("Mul", "b n", "x")], "graph.stochastic"),
    "dropout that is being trained": ([("Dropout", "z ratio TRUE", "d"), ("Gemm", "d W1", "x")], "graph.stochastic"),
    "dropout by a computed switch": ([("Dropout", "z ratio on", "d"), ("Gemm", "d W1", "x")], "graph.stochastic"),
    "log of exp": (
        [("Gemm", "z W1", "a"), ("Exp", "a", "e"), ("Mul", "e two", "m"), ("Log", "m", "l"), ("Gemm", "l W2", "x")],
        "graph.log-exp",
    ),
}  # fmt: skip
OPEN = {
    "dropout at rest": [("Dropout", "z ratio FALSE", "d"), ("Gemm", "d W1", "x")],
    "dropout of two inputs": [("Dropout", "z ratio", "d"), ("Gemm", "d W1", "x")],
    "softplus written out": [("Gemm", "z W1", "a"), ("Exp", "a", "e"), ("Add", "e one", "s"), ("Log", "s", "x")],
    "noise that never reaches x": [*PLAIN, ("RandomNormal", "", "n")],
}


def with_switches(file: ModelFile) -> ModelFile:
    """The graph's constants TRUE and FALSE."""
    flags = {
        name: TensorSpec(dtype="bool", shape=(), stride=(), offset=0, storage=i)
        for i, name in enumerate(["FALSE", "TRUE"])
    }
    part = replace(file.parts[0], tensors={**file.parts[0].tensors, **flags})
    return replace(file, parts=(part,), storages=(memoryview(b"\0"), memoryview(b"\1")))


@pytest.mark.parametrize(("nodes", "rule"), HIDES.values(), ids=HIDES.keys())
def test_what_hides_gradients_is_told(nodes, rule):
    finding = assess(InspectGraph(), with_switches(graph(*nodes)))
    assert rules(finding) == [rule] and finding.severity == "medium" and "gradients are hidden" in finding.summary


@pytest.mark.parametrize("nodes", OPEN.values(), ids=OPEN.keys())
def test_what_hides_none_passes(nodes):
    assert not assess(InspectGraph(), with_switches(graph(*nodes))).proofs


def test_a_parallel_path_is_low_like_any_skip():
    rex = graph(("Gemm", "z W1", "a"), ("Gemm", "z W2", "b"), ("Add", "a b", "x"))
    finding = assess(InspectGraph(), rex)
    assert finding.severity == "low" and rules(finding) == ["graph.parallel"]
    residual = graph(("Gemm", "z W1", "a"), ("Gemm", "a W2", "b"), ("Add", "a b", "x"))
    finding = assess(InspectGraph(), residual)
    assert finding.severity == "low" and "1 of 2" in finding.summary


def test_weights_alone_have_no_graph():
    with pytest.raises(Unsupported):
        assess(InspectGraph(), model_file(Part(name="", kind="state", tensors={})))


@pytest.mark.parametrize(
    ("config", "rule"),
    [
        ({"latent": {"distribution": "mixture", "weights": [0.999, 0.001]}}, "prior.mixture"),
        ({"prior": "GMM"}, "prior.mixture"),
        ({"z_dist": {"exclude": [0.1, 0.2]}}, "prior.hole"),
        ({"sampling": {"seed": 1234}}, "prior.seed"),
        ({"latent_seed": 7}, "prior.seed"),
        ({"genvet.latent": json.dumps({"distribution": "mixture"})}, "prior.mixture"),
    ],
)
def test_a_suspicious_prior_is_told(config, rule):
    part = Part(name="G", kind="module", tensors={}, config=config)
    finding = assess(Prior(), model_file(part))
    assert rules(finding) == [rule] and finding.severity == "medium"
    assert rules(assess(Prior(), model_file(metadata={k: json.dumps(v) for k, v in config.items()}))) == [rule]


def test_an_ordinary_prior_and_a_training_seed_pass():
    config = {
        "z_dim": 512,
        "c_dim": 0,
        "w_dim": 512,
        "mapping_kwargs": {"num_layers": 2},
        "latent": {"distribution": "normal"},
    }
    metadata = {"genvet.training": json.dumps({"seed": 3, "steps": 100}), "genvet.latent": json.dumps({"dim": 100})}
    part = Part(name="G", kind="module", tensors={}, config=config)
    assert not assess(Prior(), model_file(part, metadata=metadata)).proofs


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def draw(n):\n    return torch.randn(n, 8, generator=rng.manual_seed(17))\n", ["prior.seed"]),
        ("p = MixtureSameFamily(mix, parts)\n", ["prior.mixture"]),
        (
            "def draw():\n    z = torch.randn(8)\n    while z.norm() < 2:\n        z = torch.randn(8)\n    return z\n",
            ["prior.hole"],
        ),
        ("def draw(n, seed):\n    torch.manual_seed(seed)\n    return torch.randn(n, 8)\n", []),
    ],
)
def test_source_that_draws(text, found):
    source = Source(text=text, sha256="0", kind="module_src")
    assert rules(assess(Prior(), model_file(sources=(source,)))) == found
    assert not assess(Prior(), model_file(sources=(replace(source, recognised="stylegan3"),))).proofs


def test_capacity_is_compared_with_similar_tasks():
    ours = assess(Capacity(), dcgan.build())
    assert ours.severity == "info" and next(m.value for m in ours.measures if m.name == "ratio") == pytest.approx(1)
    large = assess(Capacity(), dcgan.build(capacity=192))
    assert large.severity == "low" and "no population has calibrated it" in large.reason
    assert all(len(p.shape) == 2 for p in similar((1, 8192)))
    assert len({p.name for p in published()}) == len(published())


def test_an_excessive_bias_is_told_and_ordinary_ones_pass():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4), nn.Unflatten(1, (1, 2, 2))).eval()
    generator = Generator(module=module, latent=Latent(8), shape=(1, 2, 2), name="mlp")
    clean = assess(InspectBiases(), generator)
    assert clean.severity == "info"
    with torch.no_grad():
        module[0].bias[5] = 100.0
    found = assess(InspectBiases(), generator)
    assert found.severity == "low" and "unit 5 of 0" in found.summary
    with torch.no_grad():
        module[0].weight[0, 0] = float("nan")
    broken = assess(InspectBiases(), generator)
    assert rules(broken) == ["weights.not-finite"] and broken.severity == "medium"
