"""StyleGAN against slow textbook forms in the conventions of genforce, TensorFlow, huangzh13 and rosinality."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F
from style_oracle import linear, normalise, part_of, shake

from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.nets import stylegan1
from genvet.nets.style_layouts import LAYOUTS, critic_of

Z, W = 10, 12
WIDTHS = (7, 7, 6, 5, 4, 3)
"""At 4 to 128 pixels: from 128 on, up-convolutions are fused."""
BLUR = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16


def numbers(*shape, at: list[int] = [0]):  # noqa: B006 - a counter of draws on purpose
    at[0] += 1
    return torch.randn(*shape, generator=Rng(3).block(at[0]))


def genforce_state(widths=WIDTHS):
    s = {"truncation.w_avg": numbers(W), "synthesis.lod": torch.zeros(())}
    for i, inputs in enumerate((Z, W, W)):
        s |= {f"mapping.dense{i}.weight": numbers(W, inputs) * 100, f"mapping.dense{i}.bias": numbers(W) * 30}
    s["synthesis.layer0.const"] = numbers(1, widths[0], 4, 4)
    for j in range(2 * len(widths)):
        n, c, before = f"synthesis.layer{j}", widths[j // 2], widths[max(j - 1, 0) // 2]
        if j:
            s[f"{n}.weight"] = numbers(c, before, 3, 3)
        if j and j % 2 == 0:
            s[f"{n}.blur.kernel"] = BLUR.expand(c, 1, 3, 3).clone()
        s |= {f"{n}.bias": numbers(c), f"{n}.apply_noise.weight": numbers(c)}
        s[f"{n}.apply_noise.noise"] = numbers(1, 1, 4 << j // 2, 4 << j // 2)
        s |= {f"{n}.style.weight": numbers(2 * c, W), f"{n}.style.bias": numbers(2 * c)}
    for i, c in enumerate(widths):
        s |= {f"synthesis.output{i}.weight": numbers(3, c, 1, 1), f"synthesis.output{i}.bias": numbers(3)}
    return s


def boxes(weight):
    """The 4x4 kernel of doubling and convolving at once: four shifted copies added up."""
    wide = F.pad(weight, (1, 1, 1, 1))
    return wide[..., 1:, 1:] + wide[..., :-1, 1:] + wide[..., 1:, :-1] + wide[..., :-1, :-1]


def genforce_textbook(s, z, epsilon=1e-8):
    w = normalise(z)
    for i in range(3):
        weight = s[f"mapping.dense{i}.weight"] * 0.01 * math.sqrt(2 / w.shape[1])
        w = F.leaky_relu(F.linear(w, weight, s[f"mapping.dense{i}.bias"] * 0.01), 0.2)
    x = s["synthesis.layer0.const"].repeat(len(z), 1, 1, 1)
    for j in range(2 * len(WIDTHS)):
        n, size = f"synthesis.layer{j}", 4 << j // 2
        if j:
            weight = s[f"{n}.weight"] * math.sqrt(2 / s[f"{n}.weight"][0].numel())
            if j % 2 == 0 and size >= 128:
                x = F.conv_transpose2d(x, boxes(weight).transpose(0, 1), stride=2, padding=1)
            else:
                x = F.interpolate(x, scale_factor=2) if j % 2 == 0 else x
                x = F.conv2d(x, weight, padding=1)
        if j and j % 2 == 0:
            x = F.conv2d(x, s[f"{n}.blur.kernel"], padding=1, groups=x.shape[1])
        x = x + s[f"{n}.apply_noise.noise"] * s[f"{n}.apply_noise.weight"][:, None, None]
        x = F.leaky_relu(x + s[f"{n}.bias"][:, None, None], 0.2)
        x = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True, correction=0) + epsilon).sqrt()
        scale, shift = linear(w, s[f"{n}.style.weight"], s[f"{n}.style.bias"])[:, :, None, None].chunk(2, 1)
        x = x * (scale + 1) + shift
    top = f"synthesis.output{len(WIDTHS) - 1}"
    return F.conv2d(x, s[f"{top}.weight"] / math.sqrt(x.shape[1]), s[f"{top}.bias"])


def tensorflow_state(s):
    """TensorFlow's names and axes for the same network."""
    t = {"dlatent_avg": s["truncation.w_avg"], "lod": torch.zeros(())}
    for i in range(3):
        t[f"mapping/Dense{i}/weight"] = s[f"mapping.dense{i}.weight"].T
        t[f"mapping/Dense{i}/bias"] = s[f"mapping.dense{i}.bias"]
    t["synthesis/4x4/Const/const"] = s["synthesis.layer0.const"]
    for j in range(2 * len(WIDTHS)):
        n, size = f"synthesis.layer{j}", 4 << j // 2
        name = {0: "Const", 1: "Conv"}.get(j, "Conv1" if j % 2 else "Conv0_up")
        k = f"synthesis/{size}x{size}/{name}"
        if j:
            t[f"{k}/weight"] = s[f"{n}.weight"].permute(2, 3, 1, 0)
        t |= {f"{k}/bias": s[f"{n}.bias"], f"{k}/Noise/weight": s[f"{n}.apply_noise.weight"]}
        t[f"synthesis/noise{j}"] = s[f"{n}.apply_noise.noise"]
        t |= {f"{k}/StyleMod/weight": s[f"{n}.style.weight"].T, f"{k}/StyleMod/bias": s[f"{n}.style.bias"]}
    for i in range(len(WIDTHS)):
        k = f"synthesis/ToRGB_lod{len(WIDTHS) - 1 - i}"
        t[f"{k}/weight"] = s[f"synthesis.output{i}.weight"].permute(2, 3, 1, 0)
        t[f"{k}/bias"] = s[f"synthesis.output{i}.bias"]
    return t


def huangzh13_state(s, *, filtered):
    """huangzh13's names for the same network; its noise is always drawn."""
    t = {"truncation.avg_latent": s["truncation.w_avg"], "g_synthesis.init_block.const": s["synthesis.layer0.const"]}
    for i in range(3):
        t |= {f"g_mapping.map.dense{i}.{k}": s[f"mapping.dense{i}.{k}"] for k in ("weight", "bias")}
    for j in range(2 * len(WIDTHS)):
        n, i = f"synthesis.layer{j}", j // 2
        block = f"g_synthesis.blocks.{i - 1}" if i else "g_synthesis.init_block"
        conv = f"{block}.{('conv1' if j % 2 else 'conv0_up') if i else 'conv'}"
        t[f"{conv}.bias" if j else f"{block}.bias"] = s[f"{n}.bias"]
        if j:
            t[f"{conv}.weight"] = s[f"{n}.weight"]
        if filtered and j and j % 2 == 0:
            t[f"{conv}.intermediate.kernel"] = BLUR[None, None]
        epilogue = f"{block}.epi{j % 2 + 1}"
        t[f"{epilogue}.top_epi.noise.weight"] = s[f"{n}.apply_noise.weight"]
        t |= {f"{epilogue}.style_mod.lin.{k}": s[f"{n}.style.{k}"] for k in ("weight", "bias")}
    for i in range(len(WIDTHS)):
        t |= {f"g_synthesis.to_rgb.{i}.{k}": s[f"synthesis.output{i}.{k}"] for k in ("weight", "bias")}
    return t


def rosinality_state(widths=WIDTHS):
    s = {}
    for i in range(3):
        s |= {f"style.{2 * i + 1}.linear.weight_orig": numbers(W, W), f"style.{2 * i + 1}.linear.bias": numbers(W)}
    for i, c in enumerate(widths):
        b, before = f"generator.progression.{i}", widths[max(i - 1, 0)]
        if i == 0:
            s[f"{b}.conv1.input"] = numbers(1, c, 4, 4)
        elif 4 << i >= 128:
            s |= {f"{b}.conv1.0.weight": numbers(before, c, 3, 3), f"{b}.conv1.0.bias": numbers(c)}
            s |= {f"{b}.conv1.1.weight": BLUR.expand(c, 1, 3, 3), f"{b}.conv1.1.weight_flip": BLUR.expand(c, 1, 3, 3)}
        else:
            s |= {f"{b}.conv1.1.conv.weight_orig": numbers(c, before, 3, 3), f"{b}.conv1.1.conv.bias": numbers(c)}
            s |= {f"{b}.conv1.2.weight": BLUR.expand(c, 1, 3, 3), f"{b}.conv1.2.weight_flip": BLUR.expand(c, 1, 3, 3)}
        s |= {f"{b}.conv2.conv.weight_orig": numbers(c, c, 3, 3), f"{b}.conv2.conv.bias": numbers(c)}
        for j in (1, 2):
            s[f"{b}.noise{j}.weight_orig"] = numbers(1, c, 1, 1)
            s[f"{b}.adain{j}.style.linear.weight_orig"] = numbers(2 * c, W)
            s[f"{b}.adain{j}.style.linear.bias"] = numbers(2 * c)
        k = f"generator.to_rgb.{i}.conv"
        s |= {f"{k}.weight_orig": numbers(3, c, 1, 1), f"{k}.bias": numbers(3)}
    return s


def equalised(weight):
    return weight * math.sqrt(2 / (weight.shape[1] * weight[0][0].numel()))


def rosinality_textbook(s, z, noise, steps):
    w = normalise(z)
    for i in (1, 3, 5):
        w = F.leaky_relu(F.linear(w, equalised(s[f"style.{i}.linear.weight_orig"]), s[f"style.{i}.linear.bias"]), 0.2)
    x = s["generator.progression.0.conv1.input"].repeat(len(z), 1, 1, 1)
    for i in range(steps):
        b = f"generator.progression.{i}"
        if f"{b}.conv1.0.weight" in s:
            weight = s[f"{b}.conv1.0.weight"]
            kernel = boxes(weight * math.sqrt(2 / (weight.shape[0] * 9))) / 4
            x = F.conv_transpose2d(x, kernel, s[f"{b}.conv1.0.bias"], stride=2, padding=1)
            x = F.conv2d(x, s[f"{b}.conv1.1.weight"], padding=1, groups=x.shape[1])
        elif i:
            x, k = F.interpolate(x, scale_factor=2), f"{b}.conv1.1.conv"
            x = F.conv2d(x, equalised(s[f"{k}.weight_orig"]), s[f"{k}.bias"], padding=1)
            x = F.conv2d(x, s[f"{b}.conv1.2.weight"], padding=1, groups=x.shape[1])
        for j in (1, 2):
            if j == 2:
                k = f"{b}.conv2.conv"
                x = F.conv2d(x, equalised(s[f"{k}.weight_orig"]), s[f"{k}.bias"], padding=1)
            x = F.leaky_relu(x + equalised(s[f"{b}.noise{j}.weight_orig"]) * noise[i], 0.2)
            k = f"{b}.adain{j}.style.linear"
            scale, shift = F.linear(w, equalised(s[f"{k}.weight_orig"]), s[f"{k}.bias"])[:, :, None, None].chunk(2, 1)
            x = scale * F.instance_norm(x) + shift
    k = f"generator.to_rgb.{steps - 1}.conv"
    return F.conv2d(x, equalised(s[f"{k}.weight_orig"]), s[f"{k}.bias"])


def close(x, expected):
    torch.testing.assert_close(x, expected, rtol=1e-3, atol=3e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("layout", ["genforce", "tensorflow"])
def test_files_of_genforce_and_tensorflow(layout):
    state = genforce_state()
    z = numbers(2, Z)
    expected = genforce_textbook(state, z)
    theirs = state if layout == "genforce" else tensorflow_state(state)
    (candidate,) = stylegan1.hypotheses(part_of(theirs))
    assert (candidate.net, candidate.layout, candidate.score, candidate.differences) == ("stylegan1", layout, 1.0, ())
    generator = candidate.build(theirs)
    assert generator.shape == (3, 128, 128) and generator.num_ws == 12
    close(generator(z), expected)
    close(generator.synthesis(generator.broadcast(generator.mapping(z))), expected)
    torch.testing.assert_close(generator.module.mapping.w_avg, state["truncation.w_avg"])


@pytest.mark.parametrize("filtered", [True, False])
def test_files_of_huangzh13(filtered):
    state, z = genforce_state(), numbers(2, Z)
    theirs = huangzh13_state(state, filtered=filtered)
    for key in state:
        if key.endswith("apply_noise.noise"):
            state[key].zero_()
        elif key.endswith("blur.kernel") and not filtered:
            state[key].copy_(F.pad(torch.ones(1, 1), (1, 1, 1, 1)))
    (candidate,) = stylegan1.hypotheses(part_of(theirs))
    assert (candidate.layout, candidate.score, candidate.differences) == ("huangzh13", 1.0, ())
    close(candidate.build(theirs)(z), genforce_textbook(state, z, epsilon=1e-5))


@pytest.mark.parametrize("size", [128, 32])
def test_files_of_rosinality(size):
    state = rosinality_state()
    z, noise = numbers(2, W), [numbers(1, 1, 4 << i, 4 << i) for i in range(6)]
    (candidate,) = stylegan1.hypotheses(part_of(state), {"size": str(size)})
    assert (candidate.layout, candidate.score, candidate.differences) == ("rosinality", 1.0, ())
    generator = candidate.build(state)
    assert {words.split(":")[0] for words in generator.assumed} == {"size", "noise", "average w"}
    steps = size.bit_length() - 2
    close(generator(z), rosinality_textbook(state, z, [0.0] * 6, steps))
    for i in range(6):
        for j in (0, 1):
            generator.module.get_buffer(f"synthesis.b{4 << i}.conv{j}.noise_const").copy_(noise[i][0, 0])
    close(generator(z), rosinality_textbook(state, z, noise, steps))


def test_fresh_networks_are_seeded_and_come_back_from_their_own_names():
    config = {"size": 16, "z_dim": 10, "w_dim": 12, "channel_base": 64, "channel_max": 8, "mapping_layers": 2}
    generator = shake(stylegan1.build(**config, classes=3, channels=1, rng=Rng(1)))
    again = stylegan1.build(**config, classes=3, channels=1, rng=Rng(1))
    name = "synthesis.b8.conv0.weight"
    assert torch.equal(generator.module.get_parameter(name), again.module.get_parameter(name))
    state = generator.module.state_dict()
    (candidate,) = stylegan1.hypotheses(part_of(state))
    assert (candidate.layout, candidate.score) == ("genvet", 1.0)
    z, labels = numbers(3, 10), torch.eye(3)
    torch.testing.assert_close(candidate.build(state)(z, labels), generator(z, labels))
    rebuilt = stylegan1.build(**json.loads(generator.metadata["genvet.config"]))
    rebuilt.module.load_state_dict(state)
    torch.testing.assert_close(rebuilt(z, labels), generator(z, labels))
    assert 0.05 < float(generator.sample(8, Rng(1)).std()) < 10


@pytest.mark.parametrize("dtype, error", [(torch.bfloat16, 0.08), (torch.float16, 0.02)])
def test_half_precision_stays_near(dtype, error):
    generator = shake(stylegan1.build(16, z_dim=10, w_dim=12, channel_base=128, channel_max=16, rng=Rng(2)))
    z = numbers(2, 10)
    exact = generator(z)
    generator.module.synthesis.precision = dtype
    x = generator(z)
    assert x.dtype == torch.float32 and 0 < float((x - exact).abs().max()) < error * float(exact.abs().max())
    generator.module.synthesis.precision = None
    generator.module.to(dtype)
    assert float((generator(z) - exact).abs().max()) < error * float(exact.abs().max())


def test_every_difference_is_told_in_the_files_own_names():
    state = genforce_state()
    del state["synthesis.layer4.weight"]
    state["synthesis.layer3.side"] = torch.zeros(2)
    state["synthesis.layer5.bias"] = torch.zeros(9)
    (candidate,) = stylegan1.hypotheses(part_of(state))
    assert {note.rule for note in candidate.differences} == {"rebuild.missing", "rebuild.extra", "rebuild.shape"}
    told = " ".join(note.message for note in candidate.differences)
    assert all(f"synthesis.layer{name}" in told for name in ("4.weight", "3.side", "5.bias"))
    with pytest.raises(BadInput):
        candidate.build(state)


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (2, 1, 1, 3, 3)])
@pytest.mark.parametrize("make", [genforce_state, rosinality_state, lambda: tensorflow_state(genforce_state())])
def test_tensors_of_any_shape_are_read_without_a_crash(make, shape):
    theirs = {key: torch.zeros(shape) for key in make()}
    (candidate,) = stylegan1.hypotheses(part_of(theirs))
    assert candidate.score < 0.7
    with pytest.raises(BadInput):
        candidate.build(theirs)


def test_it_is_taken_for_no_stylegan2_and_for_no_critic():
    for state in (genforce_state(), rosinality_state(), tensorflow_state(genforce_state())):
        assert critic_of(state) == ""
        assert not any(layout.recognises(state) for layout in LAYOUTS["stylegan2"])


@pytest.mark.parametrize("changes", [{"size": 24}, {"widths": [4]}, {"z_dim": 0}, {"epsilon": 0.0}])
def test_no_such_network(changes):
    with pytest.raises(BadInput):
        stylegan1.build(**changes)
