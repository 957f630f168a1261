"""What is converted gives the same images, bit for bit, and keeps its hash from file to file."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from genvet.core.errors import BadInput, Unsupported
from genvet.core.rng import Rng
from genvet.files.convert import convert, load_saved, save, tensor_hash
from genvet.files.load import load
from genvet.nets.build import build

DATA = Path(os.environ.get("GENVET_TEST_DATA", Path(__file__).parents[3] / "shared/data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")


def test_hash_sees_every_change_and_no_order():
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(()), "c": torch.ones(3, dtype=torch.int64)}
    shuffled = list(state.items())
    random.Random(0).shuffle(shuffled)
    digest = tensor_hash(state)
    assert digest == tensor_hash(dict(shuffled)) == tensor_hash({**state, "a": state["a"].T.contiguous().T})
    changes = [
        {"a": state["a"].reshape(3, 2)}, {"a": state["a"].double()}, {"b": torch.zeros(1)}, {"d": torch.zeros(0)},
        {"a": state["a"] + torch.tensor([[0, 0, 1e-6], [0, 0, 0]])},
    ]  # fmt: skip
    hashes = {tensor_hash(state | change) for change in changes}
    hashes.add(tensor_hash({"ab": state["a"], **{k: v for k, v in state.items() if k != "a"}}))
    assert len(hashes) == 6 and digest not in hashes
    # A fixed value, so that hashes of old reports stay good.
    assert tensor_hash({"w": torch.tensor([1.0, -2.0])}).startswith("7be6a3b5f4c16b20")


@pytest.mark.parametrize("net", ["dcgan", "stylegan2"])
def test_saved_generators_come_back_bit_for_bit(tmp_path, net):
    torch.manual_seed(0)
    config = {"dcgan": {"latent": 5, "capacity": 4, "size": 8}, "stylegan2": {"size": 16, "z_dim": 8, "w_dim": 8}}[net]
    extra = {"stylegan2": {"channel_base": 128, "channel_max": 16}, "dcgan": {}}[net]
    generator = build(net, config | extra)
    generator.module.eval()
    digest = save(generator, tmp_path / "a.safetensors", {"genvet.data": "none", "genvet.net": "a lie"})
    back = load_saved(tmp_path / "a.safetensors")
    assert type(back) is type(generator) and back.name == net
    assert torch.equal(back.sample(3, Rng(3)), generator.sample(3, Rng(3)))
    assert convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors") == digest
    with safe_open(tmp_path / "b.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["genvet.tensors"] == f"sha256:{digest}" and metadata["genvet.net"] == net
    assert metadata["genvet.data"] == "none" and len(metadata["genvet.source"]) == 71


@needs_data
@pytest.mark.parametrize("path", ["disentangling_vae/VAE_mnist/model.pt", "csinva_mnist/mnist_gan_mlp/G--300.ckpt"])
def test_strangers_converted_twice_are_the_same(tmp_path, path):
    original = next(iter(load(DATA / "generators" / path).generators.values()))
    first = convert(DATA / "generators" / path, tmp_path / "one.safetensors")
    second = convert(tmp_path / "one.safetensors", tmp_path / "two.safetensors")
    back = load_saved(tmp_path / "two.safetensors")
    assert first == second == tensor_hash(load_file(tmp_path / "one.safetensors"))
    assert torch.equal(back.sample(4, Rng(1)), original.sample(4, Rng(1)))
    assert (back.name, back.assumed, back.output) == (original.name, original.assumed, original.output)


def test_of_several_the_average_is_taken(tmp_path):
    g, ema = (build("dcgan", {"latent": 5, "capacity": 4, "size": 8}) for _ in range(2))
    torch.save({"G": g.module.state_dict(), "G_ema": ema.module.state_dict()}, tmp_path / "x.pt")
    digest = tensor_hash(ema.module.state_dict())
    assert convert(tmp_path / "x.pt", tmp_path / "x.safetensors") == digest
    assert convert(tmp_path / "x.pt", tmp_path / "x.safetensors", part="G") == tensor_hash(g.module.state_dict())


def test_what_cannot_be_written_is_told(tmp_path):
    torch.save({"odd": torch.zeros(3)}, tmp_path / "x.pt")
    with pytest.raises(BadInput, match=r"\.safetensors or \.onnx"):
        convert(tmp_path / "x.pt", tmp_path / "x.pkl")
    with pytest.raises(Unsupported) as error:
        convert(tmp_path / "x.pt", tmp_path / "x.safetensors")
    assert "no known architecture" in error.value.hint
    save(build("dcgan", {"latent": 5, "capacity": 4, "size": 8}), tmp_path / "g.safetensors")
    with pytest.raises(BadInput, match="no layout"):
        convert(tmp_path / "g.safetensors", tmp_path / "h.safetensors", layout="nvlabs")
    save(build("wavegan", {"latent": 4, "capacity": 1, "length": 1024}), tmp_path / "s.safetensors")
    with pytest.raises(Unsupported, match="ONNX"):
        convert(tmp_path / "s.safetensors", tmp_path / "s.onnx")
    assert not (tmp_path / "s.onnx").exists()
    with pytest.raises(BadInput, match="cannot write"):
        convert(tmp_path / "g.safetensors", tmp_path / "g.safetensors" / "h.safetensors")


WHOLE = [
    ["linear", "main.0", [6, 32], 0, False], ["norm", "main.1", [32], 1e-5, True], ["leaky_relu", "", [], 0.2, True],
    ["reshape", "", [8, 2, 2], 0, True], ["upconv", "main.3", [8, 6, 3, 2, 1, 1], 0, True], ["elu", "", [], 0, True],
    ["upsample", "", [2], 0, True], ["conv", "main.4", [6, 4, 3, 1, 1], 0, True], ["norm", "n", [4], 1e-3, True],
    ["selu", "", [], 0, True], ["upconv", "last", [4, 1, 4, 2, 1, 0], 0, False], ["sigmoid", "", [], 0, True],
]  # fmt: skip


@pytest.mark.parametrize(
    ("net", "config"),
    [
        ("dcgan", {"latent": 5, "capacity": 4, "size": 12, "channels": 3}),
        ("stack", {"layers": WHOLE, "latent": 6, "output": "unit"}),
    ],
)
def test_plain_generators_go_out_as_onnx_and_come_back(tmp_path, net, config):
    onnx = pytest.importorskip("onnx", reason="needs the extra `onnx`")
    torch.manual_seed(0)
    generator = build(net, config)
    for name, value in generator.module.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_()
    generator.module.eval()
    save(generator, tmp_path / "g.safetensors")
    convert(tmp_path / "g.safetensors", tmp_path / "g.onnx")
    onnx.checker.check_model(str(tmp_path / "g.onnx"), full_check=True)
    (back,) = load(tmp_path / "g.onnx").generators.values()
    assert (back.output, back.shape) == (generator.output, generator.shape)
    torch.testing.assert_close(back.sample(5, Rng(0)), generator.sample(5, Rng(0)), rtol=1e-5, atol=1e-5)
