"""StyleGAN2 against a slow textbook form: one convolution a sample, filters by zero insertion."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F
from style_oracle import linear, mapping, part_of, shake, upfirdn

from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.nets import stylegan2

SMALL = {"size": 16, "z_dim": 10, "w_dim": 12, "channel_base": 96, "channel_max": 9, "mapping_layers": 3}


def make(seed: int = 0, **changes):
    return shake(stylegan2.build(**(SMALL | changes), rng=Rng(seed)), seed)


def layer(x, w, s, name, up, clamp, gain=1.0):
    """Section 2.2 of the paper, sample by sample: modulate the weights, demodulate them, convolve."""
    style = linear(w, s[f"{name}.affine.weight"], s[f"{name}.affine.bias"])
    out = []
    for one, scales in zip(x, style, strict=True):
        weight = s[f"{name}.weight"] * scales[None, :, None, None]
        weight = weight / (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            wide = torch.zeros(1, one.shape[0], 2 * one.shape[1] + 3, 2 * one.shape[2] + 3)
            wide[..., 2:-1:2, 2:-1:2] = one  # zeros between and around
            y = F.conv2d(wide, weight.flip(2, 3))
            y = upfirdn(y, s[f"{name}.resample_filter"] * 4, pad=(1, 1))
        else:
            y = F.conv2d(one[None], weight, padding=1)
        out.append(y)
    x = torch.cat(out)
    if f"{name}.noise_const" in s:
        x = x + s[f"{name}.noise_const"] * s[f"{name}.noise_strength"]
    x = F.leaky_relu(x + s[f"{name}.bias"][:, None, None], 0.2) * math.sqrt(2) * gain
    return x if clamp is None else x.clamp(-clamp * gain, clamp * gain)


def textbook(generator, z, labels=None):
    s = generator.module.state_dict()
    config = json.loads(generator.metadata["genvet.config"])
    w, image, clamp = mapping(z, labels, s, config["rate"]), None, config["conv_clamp"]
    x = s["synthesis.b4.const"].repeat(len(z), 1, 1, 1)
    residual = config["architecture"] == "resnet"
    for size in (4 << i for i in range(len(config["widths"]))):
        b, beside = f"synthesis.b{size}", None
        if size > 4:
            if residual:
                fan = x.shape[1]
                beside = F.conv2d(x, s[f"{b}.skip.weight"] / math.sqrt(fan))
                beside = upfirdn(beside, s[f"{b}.skip.resample_filter"] * 4, up=2, pad=(2, 1)) * math.sqrt(0.5)
            x = layer(x, w, s, f"{b}.conv0", True, clamp)
        x = layer(x, w, s, f"{b}.conv1", False, clamp, math.sqrt(0.5) if beside is not None else 1.0)
        x = x if beside is None else x + beside
        if image is not None:
            image = upfirdn(image, s[f"{b}.resample_filter"] * 4, up=2, pad=(2, 1))
        if f"{b}.torgb.weight" in s:
            style = linear(w, s[f"{b}.torgb.affine.weight"], s[f"{b}.torgb.affine.bias"]) / math.sqrt(x.shape[1])
            y = torch.cat(
                [
                    F.conv2d(o[None], s[f"{b}.torgb.weight"] * t[None, :, None, None])
                    for o, t in zip(x, style, strict=True)
                ]
            )
            y = y + s[f"{b}.torgb.bias"][:, None, None]
            y = y if clamp is None else y.clamp(-clamp, clamp)
            image = y if image is None else image + y
    return image


@pytest.mark.parametrize(
    "changes",
    [{}, {"architecture": "resnet"}, {"architecture": "orig"}, {"classes": 3, "channels": 1}, {"conv_clamp": 0.7}],
    ids=["skip", "resnet", "orig", "conditional", "clamped"],
)
def test_equals_the_textbook(changes):
    generator = make(**changes)
    z, labels = torch.randn(3, 10, generator=Rng(5).block()), None
    if generator.latent.classes:
        labels = torch.eye(3)
    expected = textbook(generator, z, labels)
    with torch.no_grad():
        x = generator(z, labels)
    assert x.shape == (3, generator.shape[0], 16, 16)
    torch.testing.assert_close(x, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    torch.testing.assert_close(generator.synthesis(generator.broadcast(generator.mapping(z, labels))), x)


def test_fresh_networks_are_about_unit_scale_and_seeded():
    one, two, other = (make(s).module.state_dict() for s in (1, 1, 2))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(one["synthesis.b8.conv0.weight"], other["synthesis.b8.conv0.weight"])
    fresh = stylegan2.build(**SMALL, rng=Rng(0))
    assert 0.05 < float(fresh.sample(16, Rng(1)).std()) < 5


def test_gradients_are_those_of_the_textbook():
    generator = make()
    generator.module.requires_grad_(True)
    z = torch.randn(2, 10, generator=Rng(2).block(), requires_grad=True)
    target = torch.randn(2, 3, 16, 16, generator=Rng(3).block())
    weight = generator.module.get_parameter("synthesis.b8.conv0.weight")
    (z_fast, w_fast) = torch.autograd.grad((generator(z) * target).sum(), (z, weight))
    (z_slow,) = torch.autograd.grad((textbook(generator, z) * target).sum(), (z,))
    torch.testing.assert_close(z_fast, z_slow, rtol=1e-3, atol=1e-4 * float(z_slow.abs().max()))
    step = 1e-2 * torch.randn(weight.shape, generator=Rng(4).block())
    with torch.no_grad():
        before = (textbook(generator, z) * target).sum()
        weight.data.add_(step)  # the trap of a cache: `.data` leaves no trace in the version counter
        after = (textbook(generator, z) * target).sum()
        torch.testing.assert_close((generator(z) * target).sum(), after, rtol=1e-4, atol=1e-2)
    assert float(after - before) == pytest.approx(float((w_fast * step).sum()), rel=0.2, abs=0.5)


def test_z_and_its_multiples_are_one_input_and_truncation_pulls_to_the_average():
    generator = make()
    z = torch.randn(4, 10, generator=Rng(7).block())
    torch.testing.assert_close(generator(z), generator(7 * z), rtol=1e-4, atol=1e-4)
    average = generator.module.mapping.w_avg
    torch.testing.assert_close(generator.mapping(z, truncation=0.0), average.expand(4, -1))


def test_noise_modes():
    generator = make()
    z = torch.randn(2, 10, generator=Rng(8).block())
    const = generator(z)
    assert torch.equal(const, generator(z))
    generator.module.synthesis.noise = "none"
    without = generator(z)
    assert not torch.allclose(const, without)
    for value in generator.module.state_dict():
        if value.endswith("noise_strength"):
            generator.module.get_parameter(value).data.zero_()
    generator.module.synthesis.noise = "random"
    torch.testing.assert_close(generator(z), without)


@pytest.mark.parametrize("dtype, error", [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_half_precision_stays_near(dtype, error):
    generator = make(channel_max=16)
    z = torch.randn(2, 10, generator=Rng(9).block())
    exact = generator(z)
    generator.module.synthesis.precision = dtype
    x = generator(z)
    assert x.dtype == torch.float32
    assert 0 < float((x - exact).abs().max()) < error * float(exact.abs().max())
    generator.module.synthesis.precision = None
    generator.module.to(dtype)
    kinds = {key: value.dtype for key, value in generator.module.state_dict().items()}
    assert kinds["synthesis.b8.conv0.weight"] == dtype and kinds["synthesis.b8.conv0.affine.weight"] == torch.float32
    assert float((generator(z) - exact).abs().max()) < error * float(exact.abs().max())
    generator.module.to(torch.float32)
    assert float((generator(z) - exact).abs().max()) < error * float(exact.abs().max())


def test_a_file_of_nvlabs_names_is_rebuilt_with_its_config():
    generator = make(conv_clamp=0.7, classes=3)
    state = generator.module.state_dict()
    said = {"z_dim": 10, "c_dim": 3, "w_dim": 12, "img_resolution": 16, "img_channels": 3}
    said |= {"mapping_kwargs": {"num_layers": 3}}
    said |= {"synthesis_kwargs": {"channel_base": 96, "channel_max": 9, "conv_clamp": 0.7}}
    (candidate,) = stylegan2.hypotheses(part_of(state, said))
    assert (candidate.net, candidate.layout, candidate.score, candidate.differences) == ("stylegan2", "nvlabs", 1.0, ())
    rebuilt = candidate.build(state)
    z, labels = torch.randn(3, 10, generator=Rng(5).block()), torch.eye(3)
    assert torch.equal(rebuilt(z, labels), generator(z, labels))
    assert rebuilt.assumed == () and rebuilt.latent == generator.latent and not rebuilt.module.training
    again = stylegan2.build(**json.loads(rebuilt.metadata["genvet.config"]))
    again.module.load_state_dict(rebuilt.module.state_dict())
    torch.testing.assert_close(again(z, labels), rebuilt(z, labels))
    (bare,) = stylegan2.hypotheses(part_of(state))
    assert any("clamped" in words for words in bare.build(state).assumed)


@pytest.mark.parametrize(
    "hurt, rule, built",
    [
        (lambda s: s.pop("synthesis.b8.conv0.weight"), "rebuild.missing", False),
        (lambda s: s.update({"synthesis.b8.side.weight": torch.zeros(2)}), "rebuild.extra", True),
        (lambda s: s.update({"synthesis.b8.conv0.bias": torch.zeros(2)}), "rebuild.shape", False),
        (lambda s: s.update({"mapping.fc0.weight": torch.zeros(3)}), "rebuild.shape", False),
        (lambda s: s.pop("synthesis.b4.const"), "rebuild.missing", False),
    ],
    ids=["missing", "extra", "misshapen", "flat", "const"],
)
def test_every_difference_is_told(hurt, rule, built):
    state = make().module.state_dict()
    hurt(state)
    (candidate,) = stylegan2.hypotheses(part_of(state))
    assert [note.rule for note in candidate.differences] == [rule] * len(
        candidate.differences
    ) and candidate.differences
    assert candidate.score < 1
    if built:
        assert torch.isfinite(candidate.build(state).sample(2, Rng(0))).all()
    else:
        with pytest.raises(BadInput):
            candidate.build(state)


def test_a_config_that_contradicts_the_tensors_is_told_and_a_mad_one_does_no_harm():
    state = make().module.state_dict()
    (candidate,) = stylegan2.hypotheses(part_of(state, {"z_dim": 512, "img_resolution": 1 << 40}))
    assert {note.rule for note in candidate.differences} == {"rebuild.config"} and len(candidate.differences) == 2
    mad = {"conv_clamp": math.nan, "lr_multiplier": "1", "synthesis_kwargs": [1], "channel_base": -1, "channel_max": 0}
    (candidate,) = stylegan2.hypotheses(part_of(state, mad))
    assert torch.isfinite(candidate.build(state).sample(2, Rng(0))).all()


def test_absurd_sizes_allocate_nothing():
    state = {f"synthesis.b{4 << i}.conv1.affine.weight": (1 << 20, 1 << 20) for i in range(40)}
    (candidate,) = stylegan2.hypotheses(part_of(state))
    assert candidate.score < 0.5 and len(candidate.differences) > 10


@pytest.mark.parametrize(
    "changes", [{"size": 24}, {"size": 8192}, {"z_dim": 0}, {"widths": [4]}, {"architecture": "x"}]
)
def test_no_such_network(changes):
    with pytest.raises(BadInput):
        stylegan2.build(**(SMALL | changes))
