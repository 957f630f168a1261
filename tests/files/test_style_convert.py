"""Style generators go out as ONNX and under other people's tensor names, and come back with the same images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from genvet.core.errors import BadInput, Unsupported
from genvet.core.rng import Rng
from genvet.files.convert import convert, load_saved, save
from genvet.files.load import load
from genvet.nets.build import build

SMALL = {"size": 16, "z_dim": 12, "w_dim": 10, "channel_base": 96, "channel_max": 9, "mapping_layers": 2}
NETS = {
    "one": ("stylegan1", {}),
    "one-labels": ("stylegan1", {"classes": 3, "bias_first": True}),
    "two": ("stylegan2", {}),
    "two-labels": ("stylegan2", {"classes": 3, "rate": 0.1}),
    "two-resnet": ("stylegan2", {"architecture": "resnet", "conv_clamp": 1.5}),
    "two-orig": ("stylegan2", {"architecture": "orig", "noise": False, "channels": 1}),
    "two-dense": ("stylegan2", {"size": 8, "dense_broadcast": True}),
    "three-t": ("stylegan3", {"layers": 4, "margin": 3}),
    "three-r": ("stylegan3", {"layers": 4, "margin": 3, "kernel": 1, "radial": True, "classes": 2}),
}


def make(which: str, folder, **more):
    """A saved generator whose biases, noise and average w matter."""
    net, config = NETS[which]
    generator = build(net, SMALL | config | more)
    rng = Rng(1).block()
    for name, value in generator.module.state_dict().items():
        if name.endswith(("bias", "noise_strength", "noise_weight", "w_avg", "broadcast.weight")):
            value.add_(0.3 * torch.randn(value.shape, generator=rng))
    save(generator, folder / "ours.safetensors")
    return generator


def images(generator, n: int = 3) -> torch.Tensor:
    return generator.sample(n, Rng(5))


def assert_same(back, generator) -> None:
    expected = images(generator)
    assert float((images(back) - expected).abs().max()) <= 1e-4 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("which", NETS)
def test_onnx_and_back(tmp_path, which):
    onnx = pytest.importorskip("onnx", reason="needs the extra `onnx`")
    generator = make(which, tmp_path)
    convert(tmp_path / "ours.safetensors", tmp_path / "g.onnx")
    onnx.checker.check_model(str(tmp_path / "g.onnx"), full_check=True)
    file = load(tmp_path / "g.onnx")
    (back,) = file.generators.values()
    assert (back.shape, back.latent.dim, back.latent.classes) == (
        generator.shape, generator.latent.dim, generator.latent.classes
    )  # fmt: skip
    assert not file.evidence
    assert_same(back, generator)


@pytest.mark.parametrize("which", ["one", "two-labels", "two-resnet"])
def test_onnx_in_other_hands(tmp_path, which):
    """The reference evaluator of `onnx`, which is not ours, gives the same images."""
    reference = pytest.importorskip("onnx.reference", reason="needs the extra `onnx`")
    generator = make(which, tmp_path, size=8)
    convert(tmp_path / "ours.safetensors", tmp_path / "g.onnx")
    z, labels = generator.latent.sample(0, 2, Rng(5)), generator.latent.labels(0, 2)
    given = {"z": z.numpy()} | ({} if labels is None else {"labels": labels.numpy()})
    (x,) = reference.ReferenceEvaluator(str(tmp_path / "g.onnx")).run(None, given)
    np.testing.assert_allclose(x, generator(z, labels).detach(), rtol=1e-4, atol=1e-4)


def test_onnx_with_labels_is_saved_and_loaded_as_any_other(tmp_path):
    pytest.importorskip("onnx", reason="needs the extra `onnx`")
    generator = make("two-labels", tmp_path)
    convert(tmp_path / "ours.safetensors", tmp_path / "g.onnx")
    convert(tmp_path / "g.onnx", tmp_path / "back.safetensors")
    assert_same(load_saved(tmp_path / "back.safetensors"), generator)


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"z": ["n", 64], "y": ["n", 3]}, "2 inputs (z, y)"),
        ({"z": ["n", 64], "labels": ["n", "classes"]}, "labels have the shape"),
        ({"z": ["n", 64], "labels": ["n", 1 << 40]}, "labels have the shape"),
        ({"z": ["n", 64], "labels": [3]}, "labels have the shape"),
        ({"z": ["n", 64], "label": ["n", 64]}, ""),
        ({"label": ["n", 64]}, ""),  # alone, it is the latent whatever its name
    ],
)
def test_graphs_with_a_second_input(tmp_path, entries, reason):
    onnx = pytest.importorskip("onnx", reason="needs the extra `onnx`")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    names = list(entries)
    nodes = [helper.make_node("Add", [names[0], names[-1]], ["sum"]), helper.make_node("Tanh", ["sum"], ["x"])]
    given = [helper.make_tensor_value_info(name, kind, shape) for name, shape in entries.items()]
    graph = helper.make_graph(nodes, "g", given, [helper.make_tensor_value_info("x", kind, None)])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "g.onnx")
    file = load(tmp_path / "g.onnx")
    if reason:
        assert reason in file.not_generators[""]
        return
    (generator,) = file.generators.values()
    z = generator.latent.sample(0, 2, Rng(0))
    labels = generator.latent.labels(0, 2)
    expected = torch.tanh(z + (z if labels is None else labels)).view(2, 1, 8, 8)
    torch.testing.assert_close(generator(z, labels), expected)
    assert generator.latent.classes == (64 if "z" in entries else 0)


def test_noise_that_is_drawn_anew_cannot_go_out_as_onnx(tmp_path):
    pytest.importorskip("onnx", reason="needs the extra `onnx`")
    make("two", tmp_path)
    convert(tmp_path / "ours.safetensors", tmp_path / "bare.safetensors", layout="nvlabs")
    with pytest.raises(Unsupported, match="drawn anew"):
        convert(tmp_path / "bare.safetensors", tmp_path / "g.onnx", net="stylegan2:noise=random")
    convert(tmp_path / "bare.safetensors", tmp_path / "g.onnx", net="stylegan2:noise=none")


@pytest.mark.parametrize(
    ("which", "layout", "theirs"),
    [
        ("one", "genforce", "synthesis.layer2.blur.kernel"),
        ("one", "nvlabs", "synthesis.8x8.Conv0_up.StyleMod.weight"),
        ("two", "nvlabs", "synthesis.b8.conv0.affine.weight"),
        ("two", "rosinality", "conv1.conv.weight"),
        ("two", "genforce", "synthesis.early_layer.const"),
        ("two-labels", "nvlabs", "mapping.embed.weight"),
        ("two-dense", "nvlabs", "broadcast.weight"),
        ("three-r", "nvlabs", "synthesis.input.freqs"),
    ],
)
def test_layouts_and_back(tmp_path, which, layout, theirs):
    generator = make(which, tmp_path, **({"size": 128, "channel_max": 3} if which == "one" else {}))
    convert(tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors", layout=layout)
    assert theirs in load_file(tmp_path / "theirs.safetensors")
    assert_same(load_saved(tmp_path / "theirs.safetensors"), generator)
    convert(tmp_path / "theirs.safetensors", tmp_path / "back.safetensors")
    assert_same(load_saved(tmp_path / "back.safetensors"), generator)


@pytest.mark.parametrize(
    ("which", "layout", "reason"),
    [
        ("one-labels", "nvlabs", "no place for"),
        ("two-labels", "rosinality", "no place for"),
        ("two-dense", "genforce", "no place for"),
        ("two-resnet", "nvlabs", "off by"),  # a clamp at 1.5, which tensors cannot tell
    ],
)
def test_what_a_layout_cannot_hold_is_refused_and_not_left_behind(tmp_path, which, layout, reason):
    make(which, tmp_path)
    with pytest.raises(Unsupported, match=reason):
        convert(tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors", layout=layout)
    assert not (tmp_path / "theirs.safetensors").exists()


def test_layouts_that_there_are_not(tmp_path):
    make("one", tmp_path)
    with pytest.raises(BadInput, match="expected genvet, genforce, nvlabs"):
        convert(tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors", layout="rosinality")
