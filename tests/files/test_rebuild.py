"""From files to generators: every real one loads, and every other part has a reason."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

import genvet
from genvet.core.errors import BadInput, GenVetError
from genvet.core.modelfile import ModelFile, Part, TensorSpec
from genvet.core.rng import Rng
from genvet.files.load import load, read
from genvet.files.rebuild import rebuild
from genvet.files.tensors import tensors
from genvet.nets import dcgan
from genvet.nets.build import build

DATA = Path(os.environ.get("GENVET_TEST_DATA", Path(__file__).parents[3] / "shared/data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
SMALL = {"latent": 6, "capacity": 4, "size": 8}


def file_of(*parts: Part, storages: tuple[bytes, ...] = ()) -> ModelFile:
    views = tuple(memoryview(s) for s in storages)
    return ModelFile(path="x", sha256="", size=0, format="test", parts=parts, storages=views)


def spec(shape, stride, offset=0, dtype="float32", storage=0) -> TensorSpec:
    return TensorSpec(dtype=dtype, shape=shape, stride=stride, offset=offset, storage=storage)


@needs_data
@pytest.mark.parametrize(
    ("path", "name", "shape"),
    [
        ("disentangling_vae/btcvae_dsprites/model.pt", "vae", (1, 64, 64)),
        ("csinva_mnist/mnist_gan_mlp/G--300.ckpt", "mlp", (1, 28, 28)),
        ("csinva_mnist/mnist_vae/vae_epoch_25.pth", "vae", (1, 28, 28)),
    ],
)
def test_real_generators_load(path, name, shape):
    file = load(DATA / "generators" / path)
    (generator,) = file.generators.values()
    assert (generator.name, generator.shape, file.not_generators) == (name, shape, {})
    assert not any(e.rule.startswith("rebuild") for e in file.evidence)


@needs_data
def test_a_discriminator_is_refused_with_a_reason():
    file = load(DATA / "generators/csinva_mnist/mnist_gan_mlp/D--300.ckpt")
    assert file.generators == {} and file.not_generators == {"": "a critic: images (1, 28, 28) -> one score"}


def test_checkpoint_with_generator_critic_and_optimiser(tmp_path):
    generator, critic = build("dcgan", SMALL), dcgan.critic(4, 8, 1)
    optimiser = torch.optim.Adam(critic.parameters())
    critic(generator(torch.randn(2, 6))).sum().backward()
    optimiser.step()
    content = {"G_ema": generator.module.state_dict(), "D": critic.state_dict(), "opt": optimiser.state_dict(), "n": 3}
    torch.save(content, tmp_path / "all.pt")
    file = load(tmp_path / "all.pt")
    assert list(file.generators) == ["G_ema"] and "critic" in file.not_generators["D"]
    z = torch.randn(3, 6)
    assert torch.equal(file.generators["G_ema"](z), Frozen(generator)(z))
    assert list(load(tmp_path / "all.pt", part="G_ema").generators) == ["G_ema"]
    with pytest.raises(BadInput, match="no part 'nobody'"):
        load(tmp_path / "all.pt", part="nobody")


def Frozen(generator):  # noqa: N802
    generator.module.eval()
    return generator


class Stranger(nn.Module):
    """A class of nobody's package, pickled whole."""

    def __init__(self) -> None:
        super().__init__()
        up = [nn.ConvTranspose2d(5, 8, 4, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
        self.main = nn.Sequential(*up, nn.ConvTranspose2d(8, 1, 4, 2, 1, bias=False), nn.Tanh())


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_pickled_module_gives_its_tensors(tmp_path, zipped):
    network = Stranger().eval()
    torch.save(network, tmp_path / "whole.pt", _use_new_zipfile_serialization=zipped)
    file = load(tmp_path / "whole.pt", net="dcgan:activation=relu,range=tanh,prior=normal")
    (generator,) = file.generators.values()
    z = torch.randn(3, 5)
    torch.testing.assert_close(generator(z), network.main(z[..., None, None]))
    assert "call.unknown-class" in {e.rule for e in file.evidence} and generator.assumed == ()


def test_very_many_tensors_are_told_quickly():
    specs = {f"layer{i}.x.weight": spec((20, 30), (30, 1)) for i in range(5000)}
    start = time.monotonic()
    file = rebuild(file_of(Part(name="", kind="state", tensors=specs), storages=(bytes(2400),)))
    assert "5000 tensors" in file.not_generators[""] and time.monotonic() - start < 20


def test_one_flat_state_dict_of_both_networks(tmp_path):
    both = nn.ModuleDict({"generator": build("dcgan", SMALL).module, "discriminator": dcgan.critic(4, 8, 1)})
    torch.save({"state_dict": both.state_dict()}, tmp_path / "lightning.ckpt")
    file = load(tmp_path / "lightning.ckpt")
    (name,) = file.generators
    assert name.endswith("generator") and any("critic" in why for why in file.not_generators.values())


def test_extra_tensor_is_a_finding_and_missing_ones_stop_the_build(tmp_path):
    fresh = build("dcgan", SMALL)
    state = {k: v.clone() for k, v in fresh.module.state_dict().items()}
    metadata = {k: str(v) for k, v in fresh.metadata.items()}
    save_file(state | {"bypass.weight": torch.zeros(6, 6)}, tmp_path / "extra.safetensors", metadata)
    file = load(tmp_path / "extra.safetensors")
    assert file.generators and [e.rule for e in file.evidence] == ["rebuild.extra"]
    assert "bypass.weight" in file.evidence[0].message
    del state["conv2.weight"]
    save_file(state, tmp_path / "missing.safetensors", metadata)
    file = load(tmp_path / "missing.safetensors")
    assert not file.generators and [e.rule for e in file.evidence] == ["rebuild.missing"]
    assert "conv2.weight" in file.not_generators[""]


def test_a_model_of_no_known_architecture_says_what_it_has(tmp_path):
    save_file({"strange.weight": torch.zeros(3, 5, 7), "odd": torch.zeros(2)}, tmp_path / "x.safetensors")
    (why,) = load(tmp_path / "x.safetensors").not_generators.values()
    assert "no known architecture" in why and "strange.weight (3, 5, 7)" in why


def test_another_architecture_than_asked_for_says_what_would_fit(tmp_path):
    state = {"0.weight": torch.zeros(8, 4), "2.weight": torch.zeros(64, 8)}
    save_file(state, tmp_path / "mlp.safetensors")
    assert "could be mlp" in load(tmp_path / "mlp.safetensors", net="dcgan").not_generators[""]


def test_a_small_file_cannot_declare_a_large_network(tmp_path):
    layers = [["reshape", "", [1, 1, 1], 0, True], ["upconv", "a", [1, 1, 2, 30000, 0, 0], 0, False]]
    layers += [["upsample", "", [30000], 0, True]]
    config = json.dumps({"layers": layers, "latent": 1})
    metadata = {"genvet.net": "stack", "genvet.config": config}
    save_file({"a.weight": torch.zeros(1, 1, 2, 2)}, tmp_path / "bomb.safetensors", metadata)
    assert not load(tmp_path / "bomb.safetensors").generators


def test_reading_needs_a_model_file(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("hello, this is a letter\n" * 20)
    for name, message in [("none", "cannot open"), ("empty", "empty"), ("text", "no model file"), ("", "folder")]:
        with pytest.raises(GenVetError, match=message):
            read(tmp_path / name)


def test_public_load_is_the_function_however_often_it_is_asked_for():
    assert genvet.load is load and genvet.load is load


def test_tensors_are_views_as_the_file_has_them():
    data = torch.arange(12, dtype=torch.float32).numpy().tobytes() + b"xx"
    specs = {
        "t": spec((2, 3), (1, 4), offset=2),
        "h": spec((2,), (1,), dtype="bfloat16"),
        "e": spec((0, 3), (3, 1), 99),
    }
    found = tensors(Part(name="", kind="state", tensors=specs), [memoryview(data)])
    assert found["t"].tolist() == [[2, 6, 10], [3, 7, 11]] and found["e"].shape == (0, 3)
    assert found["h"].dtype == torch.bfloat16


PAST = [
    *(spec((4,), (1,), 9), spec((2, 2), (11, 1)), spec((1,), (1,), -1)),
    *(spec((2,), (-1,), 3), spec((1,), (1,), 0, "qint8")),
]


@pytest.mark.parametrize("bad", PAST)
def test_tensors_past_their_storage_are_refused(bad):
    part = Part(name="", kind="state", tensors={"t": bad})
    with pytest.raises(BadInput, match="tensor t"):
        tensors(part, [memoryview(bytes(48))])
    assert rebuild(file_of(part, storages=(bytes(48),))).generators == {}


WIDTHS = st.sampled_from([0, 1, 2, 3, 4, 8, 16, 64, 192])
LAYERS = st.one_of(
    st.tuples(WIDTHS, WIDTHS).map(lambda s: {"weight": s, "bias": s[:1]}),
    st.tuples(WIDTHS, WIDTHS, *[st.sampled_from([1, 2, 3, 4, 5, 7])] * 1).map(
        lambda s: {"weight": (s[0], s[1], s[2], s[2]), "bias": s[1:2]}
    ),
    WIDTHS.map(lambda n: dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (n,))),
)
PREFIXES = st.sampled_from(["", "main.", "decoder.", "encoder."])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(PREFIXES, LAYERS), max_size=6), st.integers(0, 2**32 - 1), st.booleans())
def test_no_state_dict_breaks_the_rebuilding(layers, seed, chained):
    """Whatever the shapes and values: a generator, or a reason, and never another error."""
    values = np.random.default_rng(seed).standard_normal(200_000).astype(np.float32).tobytes()
    specs, last = {}, None
    for i, (prefix, leaves) in enumerate(layers):
        weight = leaves["weight"]
        if chained and last is not None and len(weight) > 1:
            weight = (weight[0], last) if len(weight) == 2 else (last, *weight[1:])
        last = weight[0] if len(weight) == 2 else weight[1] if len(weight) == 4 else last
        for leaf, shape in (leaves | {"weight": weight}).items():
            stride = tuple(math.prod(shape[k + 1 :]) for k in range(len(shape)))
            specs[f"{prefix}{i}.{leaf}"] = spec(shape, stride)
    file = rebuild(file_of(Part(name="", kind="state", tensors=specs), storages=(values,)))
    assert bool(file.generators) != bool(file.not_generators) or len(file.parts) > 1
    for generator in file.generators.values():
        assert generator.sample(2, Rng(0)).shape == (2, *generator.shape)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["latent", "capacity", "size", "channels", "layers", "network", "x"]),
        st.one_of(
            st.integers(-5, 2**40), st.text(max_size=5), st.none(), st.lists(st.integers(), max_size=3), st.floats()
        ),
    ),
    st.sampled_from(["dcgan", "stack", "onnx", "stylegan2", "mlp", "nobody", "build"]),
)
def test_no_metadata_breaks_the_rebuilding(config, net):
    metadata = {"genvet.net": net, "genvet.config": json.dumps(config), "genvet.latent": "[]", "genvet.assumed": "7"}
    part = Part(name="", kind="state", tensors={"a.weight": spec((2, 2), (2, 1))}, config=metadata)
    assert not rebuild(file_of(part, storages=(bytes(16),))).generators
