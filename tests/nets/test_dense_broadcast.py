"""A dense layer where a style generator repeats w: it runs, it is written and read again, and strangers' are told."""

from __future__ import annotations

import pytest
import torch
from style_oracle import part_of, shake

from genvet.core.errors import Unsupported
from genvet.core.rng import Rng
from genvet.files.convert import load_saved, save
from genvet.files.load import load
from genvet.nets import style_layouts, stylegan1, stylegan2, stylegan3

SMALL = {"size": 16, "channels": 1, "z_dim": 12, "w_dim": 12, "channel_base": 96, "channel_max": 9, "mapping_layers": 2}
NETS = [(stylegan1, {}), (stylegan2, {}), (stylegan3, {"layers": 6})]
Z = torch.randn(3, 12, generator=Rng(3).block())


def disturbed(net, more):
    """A network whose dense layer does a little more than to repeat w."""
    generator = shake(net.build(**SMALL, **more, dense_broadcast=True, rng=Rng(1)), 2)
    with torch.no_grad():
        generator.module.broadcast.weight += 0.1 * torch.randn(12 * generator.num_ws, 12, generator=Rng(4).block())
    return generator


@pytest.mark.parametrize(("net", "more"), NETS)
def test_at_first_it_repeats_and_then_the_view_follows_it(net, more):
    plain = net.build(**SMALL, **more, rng=Rng(1))
    dense = net.build(**SMALL, **more, dense_broadcast=True, rng=Rng(1))
    torch.testing.assert_close(plain(Z), dense(Z), rtol=0, atol=0)
    assert plain.dense_broadcast is None and dense.parameters == plain.parameters + 12 * 12 * plain.num_ws
    with torch.no_grad():
        dense.module.broadcast.weight[12:24] *= 2  # the first places the waves of StyleGAN3, which begin at rest
    ws = dense.broadcast(dense.mapping(Z))
    torch.testing.assert_close(ws[:, 1], 2 * ws[:, 0])
    torch.testing.assert_close(dense.synthesis(ws), dense(Z))
    assert (plain(Z) - dense(Z)).abs().max() > 0


@pytest.mark.parametrize(("net", "more"), NETS)
def test_it_is_written_and_read_and_said(net, more, tmp_path):
    generator = disturbed(net, more)
    save(generator, tmp_path / "g.safetensors")
    torch.testing.assert_close(load_saved(tmp_path / "g.safetensors")(Z), generator(Z), rtol=0, atol=0)
    assert [e.rule for e in load(tmp_path / "g.safetensors").evidence] == ["rebuild.broadcast"]
    save(net.build(**SMALL, **more), tmp_path / "clean.safetensors")
    assert not load(tmp_path / "clean.safetensors").evidence


@pytest.mark.parametrize(("net", "more"), NETS)
@pytest.mark.parametrize("turned", [False, True])
def test_a_strangers_is_told_by_its_shape_whatever_its_name(net, more, turned):
    generator = disturbed(net, more)
    state = generator.module.state_dict()
    matrix = state.pop("broadcast.weight")
    state["dlatent_expander.w"] = matrix.T.contiguous() if turned else matrix
    (candidate,) = net.hypotheses(part_of(state))
    assert [e.rule for e in candidate.differences] == ["rebuild.broadcast"]
    assert "dlatent_expander.w" in candidate.differences[0].message
    torch.testing.assert_close(candidate.build(state)(Z), generator(Z))


def test_two_such_matrices_have_no_place():
    generator = disturbed(stylegan2, {})
    state = generator.module.state_dict()
    state["other.weight"] = state["broadcast.weight"].clone()
    (candidate,) = stylegan2.hypotheses(part_of(state))
    assert {e.rule for e in candidate.differences} == {"rebuild.extra"}


def test_other_layouts_have_no_place_for_it():
    with pytest.raises(Unsupported, match=r"broadcast\.weight"):
        style_layouts.layout("stylegan2", "rosinality").write(disturbed(stylegan2, {}).module.state_dict())
