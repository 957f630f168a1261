"""StyleGAN3 against a slow textbook form: one convolution a sample, resampling by zero insertion and filtering."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F
from style_oracle import linear, mapping, part_of, shake, upfirdn

from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.nets import stylegan3
from genvet.nets.style_mapping import MappingConfig
from genvet.nets.stylegan3_network import Config, lowpass, padding

SMALL = {"size": 16, "z_dim": 10, "w_dim": 12, "channel_base": 96, "channel_max": 6, "mapping_layers": 2, "layers": 5}
KINDS = {"T": {}, "R": {"kernel": 1, "radial": True}}


def make(seed: int = 0, **changes):
    generator = shake(stylegan3.build(**(SMALL | changes), rng=Rng(seed)), seed)
    rng = Rng(seed).fork("magnitudes").block()
    for name, buffer in generator.module.named_buffers():
        if name.endswith("magnitude_ema"):
            buffer.copy_(torch.rand((), generator=rng) + 0.5)
        if name.endswith("transform"):
            buffer.copy_(torch.tensor([[0.8, -0.6, 0.1], [0.6, 0.8, -0.2], [0, 0, 1]]))
    return generator


def waves(w, s, config):
    """Sine waves whose frequencies and phases w turns and shifts, sampled at pixel centres, then mixed."""
    t = linear(w, s["synthesis.input.affine.weight"], s["synthesis.input.affine.bias"])
    size, rate, band = config.sizes[0], config.rates[0], config.cutoffs[0]
    out = []
    for row in t / t[:, :2].norm(dim=1, keepdim=True):
        turn = torch.tensor([[row[0], -row[1], 0], [row[1], row[0], 0], [0, 0, 1]])
        shift = torch.tensor([[1, 0, -row[2]], [0, 1, -row[3]], [0, 0, 1]])
        moved = turn @ shift @ s["synthesis.input.transform"]
        freqs = s["synthesis.input.freqs"] @ moved[:2, :2]
        phases = s["synthesis.input.phases"] + s["synthesis.input.freqs"] @ moved[:2, 2]
        grid = F.affine_grid(torch.eye(2, 3)[None] * 0.5 * size / rate, [1, 1, size, size], align_corners=False)[0]
        x = torch.sin(2 * math.pi * (grid @ freqs.T + phases))
        x = x * (1 - (freqs.norm(dim=1) - band) / (rate / 2 - band)).clamp(0, 1)
        out.append(x @ (s["synthesis.input.weight"] / math.sqrt(x.shape[-1])).T)
    return torch.stack(out).permute(0, 3, 1, 2)


def layer(x, w, s, stage, clamp):
    name = f"synthesis.{stage.name}"
    style = linear(w, s[f"{name}.affine.weight"], s[f"{name}.affine.bias"])
    weight, out = s[f"{name}.weight"], []
    if stage.rgb:
        style = style / math.sqrt(weight[0].numel())
    for one, scales in zip(x, style, strict=True):
        scaled = weight * scales[None, :, None, None]
        if not stage.rgb:
            scaled = scaled / scaled.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
        scaled = scaled / s[f"{name}.magnitude_ema"].sqrt()
        out.append(F.conv2d(one[None], scaled, padding=stage.kernel - 1))
    x = torch.cat(out) + s[f"{name}.bias"][:, None, None]
    if stage.rgb:
        return x.clamp(-clamp, clamp)
    up, down = s[f"{name}.up_filter"], s[f"{name}.down_filter"]
    pad = padding(stage, x.shape[2], len(up), len(down))
    x = upfirdn(x, up * stage.up, up=stage.up, pad=pad)
    x = (F.leaky_relu(x, 0.2) * math.sqrt(2)).clamp(-clamp, clamp)
    return upfirdn(x, down, down=stage.down)


def textbook(generator, z, labels=None):
    s, config = generator.module.state_dict(), config_of(generator)
    w = mapping(z, labels, s, config.mapping.rate)
    x = waves(w, s, config)
    for stage in config.stages:
        x = layer(x, w, s, stage, config.conv_clamp)
        assert x.shape[1:] == (stage.outputs, stage.out_size, stage.out_size)
    return x * config.output_scale


def config_of(generator) -> Config:
    (candidate,) = stylegan3.hypotheses(part_of(generator.module.state_dict()))
    said = json.loads(candidate.build(generator.module.state_dict()).metadata["genvet.config"])
    mapping = {k: said.pop(k) for k in ("z_dim", "w_dim", "classes", "hidden", "embed", "rate")}
    mapping["layers"] = said.pop("mapping_layers")
    said["widths"] = tuple(said["widths"])
    return Config(mapping=MappingConfig(**mapping), **said)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [{}, {"classes": 3, "channels": 1}], ids=["plain", "conditional"])
def test_equals_the_textbook(kind, changes):
    generator = make(**KINDS[kind], **changes)
    z, labels = torch.randn(3, 10, generator=Rng(5).block()), None
    if generator.latent.classes:
        labels = torch.eye(3)
    expected = textbook(generator, z, labels)
    x = generator(z, labels)
    assert x.shape == (3, generator.shape[0], 16, 16) and float(expected.std()) > 1e-3
    torch.testing.assert_close(x, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    torch.testing.assert_close(generator.synthesis(generator.broadcast(generator.mapping(z, labels))), x)


def test_names_sizes_and_parameters_of_the_256_pixel_networks():
    # From the paper's table of configurations, for 256 pixels and 512 channels at most.
    with torch.device("meta"):
        wide = stylegan3.build(size=256, channel_base=32768, channel_max=512)
        turned = stylegan3.build(size=256, channel_base=65536, channel_max=1024, kernel=1, radial=True)
    names = {key.split(".")[1] for key in wide.module.state_dict() if key.startswith("synthesis.L")}
    expected = "L0_36_512 L1_36_512 L2_36_512 L3_52_512 L4_52_512 L5_84_512 L6_84_512 L7_148_512 L8_148_512 L9_148_362"
    assert names == set(f"{expected} L10_276_256 L11_276_181 L12_276_128 L13_256_128 L14_256_3".split())
    synthesis = [sum(p.numel() for p in g.module.synthesis.parameters()) / 1e6 for g in (wide, turned)]
    assert sum(p.numel() for p in wide.module.parameters()) / 1e6 == pytest.approx(28.5, abs=0.6), synthesis
    assert turned.module.state_dict()["synthesis.L0_36_1024.down_filter"].shape == (12, 12)
    assert turned.module.state_dict()["synthesis.L13_256_256.down_filter"].shape == (12,)


def test_filters_are_kaiser_lowpass_filters():
    signal = pytest.importorskip("scipy.signal")
    ours = lowpass(24, 6.0, 5.0, 64)
    theirs = signal.firwin(numtaps=24, cutoff=6.0, width=10.0, fs=64)
    torch.testing.assert_close(ours, torch.from_numpy(theirs).float(), rtol=0, atol=1e-7)
    disc = lowpass(12, 4.0, 4.0, 32, radial=True)
    assert float(disc.sum()) == pytest.approx(1) and torch.allclose(disc, disc.T) and torch.allclose(disc, disc.flip(0))
    assert lowpass(1, 4.0, 4.0, 32) is None


def test_a_shift_of_the_waves_shifts_the_image():
    """What the architecture is for: the image follows its input, whatever the weights."""
    generator = make(layers=8, channel_max=16, size=32)
    z = torch.randn(4, 10, generator=Rng(6).block())
    transform = generator.module.get_buffer("synthesis.input.transform")
    transform.copy_(torch.eye(3))
    still = generator(z)
    transform[0, 2] = 4 / 32
    moved = generator(z)
    inner = (slice(None), slice(None), slice(8, 24), slice(8, 24))
    best = max((-6, -5, -4, -3, 0, 3, 4, 5, 6), key=lambda d: -float((moved.roll(d, 3) - still)[inner].square().mean()))
    error = (moved.roll(best, 3) - still)[inner].square().mean()
    assert abs(best) == 4 and float(error) < 0.05 * float(still[inner].var())


def test_gradients_flow_to_z():
    generator = make()
    z = torch.randn(2, 10, generator=Rng(2).block(), requires_grad=True)
    target = torch.randn(2, 3, 16, 16, generator=Rng(3).block())
    (fast,) = torch.autograd.grad((generator(z) * target).sum(), z)
    step = 1e-3 * torch.randn(2, 10, generator=Rng(4).block())
    with torch.no_grad():
        rise = ((textbook(generator, z + step) - textbook(generator, z - step)) * target).sum() / 2
    assert float((fast * step).sum()) == pytest.approx(float(rise), rel=0.05, abs=1e-4)


@pytest.mark.parametrize("dtype, error", [(torch.bfloat16, 0.08), (torch.float16, 0.01)])
def test_half_precision_stays_near(dtype, error):
    generator = make()
    z = torch.randn(2, 10, generator=Rng(9).block())
    exact = generator(z)
    generator.module.synthesis.precision = dtype
    x = generator(z)
    assert x.dtype == torch.float32
    assert 0 < float((x - exact).abs().max()) < error * float(exact.abs().max())
    generator.module.synthesis.precision = None
    generator.module.to(dtype)
    assert float((generator(z) - exact).abs().max()) < error * float(exact.abs().max())


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_rebuilt_with_its_config(kind):
    generator = make(**KINDS[kind], classes=3, output_scale=0.5, conv_clamp=1.5)
    state = generator.module.state_dict()
    said = {"z_dim": 10, "c_dim": 3, "w_dim": 12, "img_resolution": 16, "img_channels": 3}
    said |= {"mapping_kwargs": {"num_layers": 2}, "num_layers": 5, "output_scale": 0.5, "conv_clamp": 1.5}
    said |= {"conv_kernel": 3, "use_radial_filters": False} if kind == "T" else KINDS["R"]
    (candidate,) = stylegan3.hypotheses(part_of(state, said))
    assert (candidate.net, candidate.score, candidate.differences) == ("stylegan3", 1.0, ())
    assert f"StyleGAN3-{kind}" in candidate.explanation
    rebuilt = candidate.build(state)
    z, labels = torch.randn(3, 10, generator=Rng(5).block()), torch.eye(3)
    assert torch.equal(rebuilt(z, labels), generator(z, labels)) and rebuilt.assumed == ()
    again = stylegan3.build(**json.loads(rebuilt.metadata["genvet.config"]))
    again.module.load_state_dict(rebuilt.module.state_dict())
    torch.testing.assert_close(again(z, labels), rebuilt(z, labels))
    (bare,) = stylegan3.hypotheses(part_of(state))
    assert bare.build(state).assumed


@pytest.mark.parametrize(
    "hurt, rule",
    [
        (lambda s: s.pop("synthesis.L1_36_6.weight"), "rebuild.missing"),
        (lambda s: s.pop("synthesis.input.freqs"), "rebuild.missing"),
        (lambda s: s.update({"synthesis.side": torch.zeros(2)}), "rebuild.extra"),
        (lambda s: s.update({"synthesis.L1_36_6.up_filter": torch.zeros(13)}), "rebuild.shape"),
        (lambda s: s.update({"synthesis.L0_36_6.weight": torch.zeros(())}), "rebuild.shape"),
    ],
)
def test_every_difference_is_told(hurt, rule):
    state = make().module.state_dict()
    assert "synthesis.L1_36_6.weight" in state
    hurt(state)
    (candidate,) = stylegan3.hypotheses(part_of(state))
    assert [note.rule for note in candidate.differences] == [rule] and candidate.score < 1
    if rule == "rebuild.extra":
        assert torch.isfinite(candidate.build(state).sample(2, Rng(0))).all()
    else:
        with pytest.raises(BadInput):
            candidate.build(state)


@pytest.mark.parametrize(
    "said",
    [
        {"first_cutoff": math.nan, "num_critical": 99, "margin_size": -5, "filter_size": "6", "conv_clamp": []},
        {"first_cutoff": 1e300, "first_stopband": 1e-300, "lrelu_upsampling": 3, "mapping_kwargs": 3},
        {"num_layers": 1 << 70, "img_resolution": -1, "synthesis_kwargs": {"output_scale": math.inf}},
    ],
)
def test_a_mad_config_does_no_harm(said):
    state = make().module.state_dict()
    (candidate,) = stylegan3.hypotheses(part_of(state, said))
    assert candidate.score == 1.0
    assert torch.isfinite(candidate.build(state).sample(2, Rng(0))).all()


def test_names_that_lie_about_sizes_are_told():
    state = make().module.state_dict()
    state = {key.replace("L2_36_", "L2_4000_"): value for key, value in state.items()}
    (candidate,) = stylegan3.hypotheses(part_of(state))
    assert candidate.score < 1 and {note.rule for note in candidate.differences} == {"rebuild.missing", "rebuild.extra"}


@pytest.mark.parametrize("changes", [{"size": 24}, {"size": 8}, {"critical": 5}, {"first_cutoff": 9.0}, {"z_dim": 0}])
def test_no_such_network(changes):
    with pytest.raises(BadInput):
        stylegan3.build(**(SMALL | changes))
