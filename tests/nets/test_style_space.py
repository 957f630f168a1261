"""Editing z, w, w+ and s: unmoved points give the same images, and an edit moves what it says and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator, StyleGenerator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.nets import stylegan1, stylegan2, stylegan3
from genvet.nets.style_space import NAMES, S, WPlus, mean_w, numbers, space

SIZES = {"size": 16, "channels": 1, "z_dim": 8, "w_dim": 12, "channel_base": 64, "channel_max": 8, "mapping_layers": 2}


def make(net: str, **changes: int) -> StyleGenerator:
    sizes = {**SIZES, **changes, "rng": Rng(1)}
    if net == "stylegan3":
        sizes |= {"channel_base": 256}
        return stylegan3.build(**sizes)
    return {"stylegan1": stylegan1, "stylegan2": stylegan2}[net].build(**sizes)


NETS = ("stylegan1", "stylegan2", "stylegan3")


@pytest.mark.parametrize(("net", "classes"), [("stylegan1", 0), ("stylegan2", 3), ("stylegan3", 0)])
@torch.no_grad()
def test_in_every_space_unmoved_points_are_the_same_images(net: str, classes: int) -> None:
    generator = make(net, classes=classes)
    z = generator.latent.sample(0, 3, Rng(2))
    labels = generator.labels_of(torch.arange(3))
    x = generator(z, labels)
    for name in NAMES:
        here = space(generator, name)
        assert torch.allclose(here.rendered(here.drawn(z, labels, batch=2), labels, batch=2), x, atol=1e-5), name
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in generator.module.modules())


@pytest.mark.parametrize("net", NETS)
@torch.no_grad()
def test_a_move_of_w_is_the_same_move_at_all_layers_and_in_all_styles(net: str) -> None:
    generator = make(net)
    z = generator.latent.sample(0, 2, Rng(2))
    w, plus, s = (space(generator, name) for name in ("w", "w+", "s"))
    assert isinstance(plus, WPlus) and isinstance(s, S)
    moved = w.points(z) + 2 * w.axis(5)
    x = w.images(moved)
    assert not torch.allclose(x, generator(z), atol=1e-3)
    assert torch.allclose(plus.images(plus.points(z) + 2 * plus.axis(5)), x, atol=1e-5)
    assert torch.equal(plus.axis(5), plus.directions(w.axis(5)[None])[0])
    assert torch.allclose(s.images(s.styles(generator.broadcast(moved))), x, atol=1e-5)


@torch.no_grad()
def test_chosen_layers_alone_are_moved() -> None:
    generator = make("stylegan2")
    z = generator.latent.sample(0, 1, Rng(2))
    last = space(generator, "w+", "5")
    ws = generator.broadcast(generator.mapping(z)).clone()
    ws[:, 5, 3] += 4
    assert torch.equal(last.images(last.points(z) + 4 * last.axis(3)), generator.synthesis(ws))
    assert last.called(3) == "w5[3]"
    narrow, whole = space(generator, "s", "b8.conv1, b16.conv0"), space(generator, "s")
    assert isinstance(narrow, S) and isinstance(whole, S) and narrow.axes == 16 and narrow.dim == whole.dim == 56
    assert narrow.called(9) == "b16.conv0[1]" and narrow.axis(9).nonzero().item() == next(
        layer.start + 1 for layer in whole.all if layer.name == "b16.conv0"
    )
    assert torch.equal(narrow.directions(torch.eye(16)[9:10])[0], narrow.axis(9))
    changed = narrow.images(narrow.points(z) + 3 * narrow.axis(9))
    assert not torch.allclose(changed, generator(z), atol=1e-3)


@torch.no_grad()
def test_a_style_channel_of_the_image_moves_the_image_in_a_straight_line() -> None:
    generator = make("stylegan2")
    here = space(generator, "s", "b16.torgb")
    at = here.points(generator.latent.sample(0, 1, Rng(2)))
    one, two = (here.images(at + k * here.axis(2)) - here.images(at) for k in (1, 2))
    assert torch.allclose(two, 2 * one, atol=1e-5) and one.abs().max() > 1e-3


def test_gradients_flow_to_the_styles() -> None:
    here = space(make("stylegan1"), "s")
    at = here.points(torch.ones(1, 8)).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(here.images(at).sum(), at)
    assert gradient.abs().max() > 0


@torch.no_grad()
def test_blocks_that_are_not_run_have_no_styles() -> None:
    grown = stylegan1.build(**{**SIZES, "size": 8}, widths=(8, 8, 4, 4), rng=Rng(1))
    here = space(grown, "s")
    assert isinstance(here, S)
    assert [layer.name for layer in here.all] == ["b4.conv0", "b4.conv1", "b8.conv0", "b8.conv1"]
    assert [layer.reads for layer in here.all] == [0, 1, 2, 3] and here.dim == 4 * 16


def test_what_is_not_there_is_told() -> None:
    generator = make("stylegan2")
    with pytest.raises(BadInput, match=r"no dimension 12 of w, whose dimensions are 0 to 11"):
        space(generator, "w").axis(12)
    with pytest.raises(BadInput, match="no layer is called") as caught:
        space(generator, "s", "b8.con0")
    assert "b8.conv0" in caught.value.hint
    for layers in ("6", "4-9", "3-1", "one", ""):
        with pytest.raises(BadInput):
            numbers(layers, 6, "layer")
    with pytest.raises(BadInput, match="z has no layers"):
        space(generator, "z", "1")
    with pytest.raises(BadInput, match="no space 'x'"):
        space(generator, "x")
    generator.module.synthesis.noise = "random"
    with pytest.raises(Unsupported, match="no two images can be compared"):
        space(generator, "w")
    plain = Generator(module=nn.Flatten(), latent=Latent(4), shape=(1, 2, 2), name="mlp")
    assert space(plain, "z").axes == 4
    with pytest.raises(Unsupported, match="no style generator"):
        space(plain, "w")
    with pytest.raises(Unsupported, match="makes no images"):
        space(Generator(module=nn.Flatten(), latent=Latent(4), shape=(1, 16), name="wavegan"), "z")


def test_the_mean_of_w_is_the_stored_one_or_measured() -> None:
    generator = make("stylegan2")
    assert torch.allclose(mean_w(generator), generator.module.mapping.average(generator.latent))
    generator.module.mapping.w_avg.fill_(2.0)
    assert torch.equal(mean_w(generator), torch.full((12,), 2.0))
