"""Renames and reshapes between layouts of style generators: lossless, and what they leave out is told."""

from __future__ import annotations

import contextlib
import inspect

import pytest
import torch
from style_oracle import part_of, shake

from genvet.core.errors import BadInput, Unsupported
from genvet.core.rng import Rng
from genvet.nets import style_layouts, stylegan1, stylegan2, stylegan3
from genvet.nets.style_places import prefix

SMALL = {"size": 16, "z_dim": 12, "w_dim": 12, "channel_base": 96, "channel_max": 9, "mapping_layers": 3}
FOREIGN = ("rosinality", "genforce", "tensorflow")


def make(seed: int = 0, **changes):
    return shake(stylegan2.build(**(SMALL | changes), rng=Rng(seed)), seed)


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("seed", range(3))
def test_there_and_back_again(name, seed):
    layout = style_layouts.layout("stylegan2", name)
    ours = make(seed).module.state_dict()
    back = layout.read(layout.write(ours))
    lost = layout.lost(ours)
    assert all(key.endswith("resample_filter") for key in lost)
    assert set(back) == set(ours) - set(lost)
    for key, value in back.items():
        torch.testing.assert_close(value, ours[key], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_in_another_layout_gives_the_same_images(name):
    generator = make()
    theirs = style_layouts.layout("stylegan2", name).write(generator.module.state_dict())
    (candidate,) = stylegan2.hypotheses(part_of(theirs))
    assert (candidate.layout, candidate.score, candidate.differences) == (name, 1.0, ())
    rebuilt = candidate.build(theirs)
    z = torch.randn(3, 12, generator=Rng(3).block())
    torch.testing.assert_close(rebuilt(z), generator(z), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rebuilt.mapping(z, truncation=0.3), generator.mapping(z, truncation=0.3))


@pytest.mark.parametrize("wrapper", ["module.", "generator.module."])
def test_wrappers_before_the_names_are_seen_through(wrapper):
    generator = make()
    theirs = style_layouts.layout("stylegan2", "rosinality").write(generator.module.state_dict())
    wrapped = {wrapper + key: value for key, value in theirs.items()}
    (candidate,) = stylegan2.hypotheses(part_of(wrapped))
    z = torch.randn(2, 12, generator=Rng(3).block())
    torch.testing.assert_close(candidate.build(wrapped)(z), generator(z), rtol=1e-4, atol=1e-5)


def test_tensorflow_names_with_slashes():
    generator = make()
    theirs = style_layouts.layout("stylegan2", "tensorflow").write(generator.module.state_dict())
    theirs = {key.replace(".", "/"): value for key, value in theirs.items()} | {"lod": torch.zeros(())}
    (candidate,) = stylegan2.hypotheses(part_of(theirs, kind="tensorflow"))
    assert candidate.score == 1.0
    z = torch.randn(2, 12, generator=Rng(3).block())
    torch.testing.assert_close(candidate.build(theirs)(z), generator(z), rtol=1e-4, atol=1e-5)


def test_an_average_that_the_file_lacks_is_estimated_and_said():
    generator = make()
    theirs = style_layouts.layout("stylegan2", "rosinality").write(generator.module.state_dict())
    del theirs["latent_avg"]
    (candidate,) = stylegan2.hypotheses(part_of(theirs))
    rebuilt = candidate.build(theirs)
    assert candidate.score == 1.0 and any("4096" in words for words in rebuilt.assumed)
    z = torch.randn(4096, 12, generator=Rng(9).block())
    mean = generator.mapping(z).mean(dim=0)
    assert float((rebuilt.module.mapping.w_avg - mean).abs().max()) < 0.1 * float(generator.mapping(z).std())


def test_missing_tensors_are_told_in_the_files_own_names():
    theirs = style_layouts.layout("stylegan2", "rosinality").write(make().module.state_dict())
    del theirs["convs.0.conv.weight"], theirs["noises.noise_2"]
    theirs["convs.0.hidden.weight"] = torch.zeros(4)
    (candidate,) = stylegan2.hypotheses(part_of(theirs))
    assert [note.rule for note in candidate.differences] == ["rebuild.missing"] * 2 + ["rebuild.extra"]
    told = " ".join(note.message for note in candidate.differences)
    assert all(name in told for name in ("convs.0.conv.weight", "noises.noise_2", "convs.0.hidden.weight"))


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 1, 1, 3, 3), (1, 1, 2, 2, 2)])
def test_tensors_of_any_shape_are_read_without_a_crash(name, shape):
    layout = style_layouts.layout("stylegan2", name)
    theirs = {key: torch.zeros(shape) for key in layout.write(make().module.state_dict())}
    (candidate,) = stylegan2.hypotheses(part_of(theirs))
    assert candidate.score < 0.5
    with pytest.raises(BadInput):
        candidate.build(theirs)


@pytest.mark.parametrize("name", ["rosinality", "genforce"])
def test_a_layout_without_a_place_for_some_weights_says_so(name):
    with pytest.raises(Unsupported, match="no place for"):
        style_layouts.layout("stylegan2", name).write(make(architecture="resnet").module.state_dict())


def test_layouts_by_name():
    assert style_layouts.layout("stylegan2", "genforce").name == "genforce"
    with pytest.raises(BadInput, match="rosinality"):
        style_layouts.layout("stylegan2", "lucidrains")


def test_prefix():
    assert prefix(["a.b.x", "a.b.y.z"]) == "a.b."
    assert prefix(["a.b.x", "c"]) == "" and prefix([]) == ""
    assert prefix(["synthesis.b4.const", "synthesis.b4.conv1.bias"]) == ""


@pytest.mark.parametrize(
    "names, who",
    [
        (["b8.fromrgb.weight", "b4.conv.weight", "b4.fc.weight", "b4.out.weight"], "StyleGAN2"),
        (["convs.0.0.weight", "final_conv.0.weight", "final_linear.1.weight"], "rosinality"),
        (["4x4/Conv/weight", "4x4/Dense0/weight", "Output/weight", "16x16/FromRGB/weight"], "TensorFlow"),
        (["module.b8.conv0.bias", "module.b4.conv.weight", "module.b4.fc.weight", "module.b4.out.weight"], "StyleGAN2"),
    ],
)
def test_discriminators_are_told_apart(names, who):
    assert who in style_layouts.critic_of(names) and "discriminator" in style_layouts.critic_of(names)
    assert not list(stylegan2.hypotheses(part_of({name: (2, 2) for name in names})))


def test_generators_are_no_discriminators():
    state = make().module.state_dict()
    for name in ("nvlabs", *FOREIGN):
        assert style_layouts.critic_of(style_layouts.layout("stylegan2", name).write(state)) == ""


@pytest.mark.parametrize("net", [stylegan1, stylegan2, stylegan3], ids=["1", "2", "3"])
@pytest.mark.parametrize("value", [-1, 0.5, "8", None, [], True, 10**9, 1 << 70, float("nan")], ids=str)
def test_no_config_from_a_file_gets_through_unchecked(net, value):
    """Every option with every odd value: a network, or BadInput; never another error, and never a long wait."""
    small = {"size": 16, "z_dim": 8, "w_dim": 8, "channel_base": 64, "channel_max": 4, "mapping_layers": 1}
    for name in inspect.signature(net.build).parameters:
        if name == "rng":
            continue
        with contextlib.suppress(BadInput, TypeError, RuntimeError), torch.device("meta"):
            generator = net.build(**(small | {name: value}))
            assert sum(p.numel() for p in generator.module.parameters()) < 1 << 32
