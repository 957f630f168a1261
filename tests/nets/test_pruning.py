"""Weights are told apart as they are used, masks cut what they say, and the smaller network is the masked one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.files.convert import load_saved, save
from genvet.maths.averages import normal_within
from genvet.nets import dcgan, stylegan1, stylegan2, stylegan3
from genvet.nets.channels import channels, contribution, fitting, share_of, shrunk, silenced
from genvet.nets.pruning import began, below, kinship, least, sparsity, untrained, weights, without, worth
from genvet.nets.weights import noised

SMALL = {"size": 16, "channels": 1, "z_dim": 16, "w_dim": 16, "channel_base": 128, "channel_max": 12}


def style(net: str = "stylegan2", seed: int = 1, **config: object) -> StyleGenerator:
    """A fresh network whose biases, noise and average are not 0, as after training."""
    module = {"stylegan1": stylegan1, "stylegan2": stylegan2, "stylegan3": stylegan3}[net]
    generator = module.build(**{**SMALL, "mapping_layers": 2, **config}, rng=Rng(seed))
    with Rng(seed).fork("more").seeded(), torch.no_grad():
        for name, p in generator.module.named_parameters():
            if name.endswith(("bias", "noise_strength", "noise_weight")):
                p.add_(0.3 * torch.randn_like(p))
    generator.module.eval().requires_grad_(False)
    return generator


@pytest.mark.parametrize("net", ["stylegan1", "stylegan2", "stylegan3"])
def test_raw_weights_of_an_untrained_network_are_standard_normal(net: str) -> None:
    """The founding paper's threshold axis is the normal distribution's, whatever the network has learned."""
    fresh = style(net, channel_max=48, channel_base=1024, w_dim=48)
    known = weights(fresh)
    n = sum(w.raw.numel() for w in known.values())
    for threshold in (0.4, 1.0):
        share, expected = sparsity(below(known, threshold)), normal_within(threshold)
        assert abs(share - expected) < 5 * (expected * (1 - expected) / n) ** 0.5, threshold
    assert set(weights(fresh, "mapping")) | set(weights(fresh, "synthesis")) == set(known)
    affine = known["mapping.fc0.weight"]
    assert torch.allclose(affine.raw * affine.scale, fresh.module.mapping.fc0.weight * fresh.module.mapping.fc0.scale)


@pytest.mark.parametrize("criterion", ["magnitude", "effective", "normalised", "activation", "random"])
def test_masks_take_the_share_that_was_asked_for(criterion: str) -> None:
    generator = style()
    known = weights(generator)
    masks = least(worth(criterion, generator, known, Rng(1)), 0.4)  # type: ignore[arg-type]
    pruned = without(generator, masks)
    cut = weights(pruned)
    assert sparsity(masks) == pytest.approx(0.4, abs=1e-3)
    zeros = sum(int((w.raw == 0).sum()) for w in cut.values())
    assert zeros == round(0.4 * sum(w.raw.numel() for w in known.values()))
    assert all(torch.equal(weights(generator)[n].raw, w.raw) for n, w in known.items())


def test_normalised_and_activation_do_not_depend_on_what_the_network_takes_out_again() -> None:
    """Demodulation takes a filter's scale out; the magnitude of its weights says nothing of their worth."""
    generator = style()
    scaled = without(generator, {})
    scaled.module.synthesis.b8.conv1.weight[3] *= 10
    z = generator.latent.sample(0, 4, Rng(2))
    assert torch.allclose(generator(z), scaled(z), atol=1e-5)
    for criterion, same in (("magnitude", False), ("normalised", True), ("activation", True)):
        one, other = (worth(criterion, g, weights(g), Rng(1)) for g in (generator, scaled))  # type: ignore[arg-type]
        assert all(torch.allclose(one[k], other[k], rtol=1e-4) for k in one) is same, criterion


def test_activation_sees_an_input_that_is_never_used() -> None:
    generator = style()
    generator.module.synthesis.b8.conv1.affine.weight[2] = 0
    generator.module.synthesis.b8.conv1.affine.bias[2] = 0  # a style of 0: this channel is never read
    values = worth("activation", generator, weights(generator), Rng(1))["synthesis.b8.conv1.weight"]
    assert (values[:, 2] == 0).all() and (values[:, 3] > 0).all()


@pytest.mark.parametrize("net", ["stylegan1", "stylegan2", "stylegan3"])
def test_what_is_heard_least_is_missed_least(net: str) -> None:
    generator = style(net)
    known, z = weights(generator), generator.latent.sample(0, 8, Rng(3))
    x = generator(z)
    moved = {}
    for criterion in ("activation", "normalised", "random"):
        masks = least(worth(criterion, generator, known, Rng(1)), 0.2)  # type: ignore[arg-type]
        moved[criterion] = float((without(generator, masks)(z) - x).square().mean())
    assert max(moved["activation"], moved["normalised"]) < 0.5 * moved["random"]


def test_movement_needs_the_network_before_training_and_knows_a_stranger() -> None:
    start = style(seed=4)
    trained = without(start, {})
    noised(trained.module, 0.1, Rng(9))
    r, kin = kinship(trained, start)
    assert kin and 0.98 < r < 1
    assert not kinship(style(seed=5), start)[1]
    with pytest.raises(BadInput, match="not the network before training"):
        kinship(style(size=8), start)
    with pytest.raises(Unsupported, match="where this training began"):
        worth("movement", trained, weights(trained), Rng(1))
    moved = worth("movement", trained, weights(trained), Rng(1), start)
    then, now = (g.module.synthesis.b4.conv1.weight for g in (start, trained))
    wanted = (now - then).abs() / (now - then).square().mean().sqrt()
    assert torch.allclose(moved["synthesis.b4.conv1.weight"], wanted)


def test_the_beginning_follows_from_the_training_record() -> None:
    with Rng(7).fork("weights").seeded():
        trained = stylegan2.build(**SMALL)
    first = {k: v.clone() for k, v in trained.module.state_dict().items()}
    noised(trained.module, 0.2, Rng(1))
    told = {**trained.metadata, "genvet.training": json.dumps({"seed": 7})}
    found = began(replace(trained, metadata=told))
    assert found and all(torch.equal(first[k], v) for k, v in found.module.state_dict().items())
    assert began(trained) is None
    for wrong in ('{"seed": 8}', "{", '{"seed": "x"}', "[]"):
        assert began(replace(trained, metadata={**told, "genvet.training": wrong})) is None


def test_an_untrained_twin_has_the_same_shapes_and_other_weights() -> None:
    for generator in (style(), dcgan.build(latent=4, capacity=2, size=8)):
        twin = untrained(generator, Rng(3))
        shapes, others = ({k: v.shape for k, v in g.module.state_dict().items()} for g in (generator, twin))
        assert shapes == others and not kinship(generator, twin)[1] and not twin.module.training


@pytest.mark.parametrize("net", ["stylegan1", "stylegan2", "resnet", "orig"])
def test_the_smaller_network_gives_what_the_masked_one_gives(net: str) -> None:
    plain = net.startswith("style")
    generator = style(net) if plain else style(architecture=net)
    z = generator.latent.sample(0, 6, Rng(3))
    for by in ("contribution", "random"):
        kept = share_of(generator, 0.6, Rng(2), by)  # type: ignore[arg-type]
        smaller = shrunk(generator, kept)
        masked = without(generator, silenced(generator, kept))
        assert smaller.parameters < 0.6 * generator.parameters
        off = (smaller(z) - masked(z)).abs().max()
        assert off < 1e-4 * masked(z).abs().max(), by
        assert (smaller(z) - generator(z)).abs().max() > 1e-2  # and it is not the whole network
    whole = shrunk(generator, share_of(generator, 1.0, Rng(2)))
    assert torch.allclose(whole(z), generator(z), atol=1e-5)


def test_the_smaller_network_can_be_kept_and_read(tmp_path: Path) -> None:
    generator = style()
    kept = fitting(generator, 0.5, Rng(1))
    assert kept is not None and fitting(generator, 0.999, Rng(1)) is None
    smaller = shrunk(generator, kept)
    save(smaller, tmp_path / "smaller.safetensors")
    again, z = load_saved(tmp_path / "smaller.safetensors"), generator.latent.sample(0, 3, Rng(2))
    assert torch.equal(again(z), smaller(z)) and again.name == "stylegan2"
    left = sum(w.raw.numel() for w in weights(again).values()) / sum(w.raw.numel() for w in weights(generator).values())
    assert abs(left - 0.5) < 0.08


def test_a_channel_that_nobody_hears_goes_first() -> None:
    generator = style()
    generator.module.synthesis.b8.torgb.weight[:, 5] = 0
    generator.module.synthesis.b16.conv0.weight[:, 5] = 0
    assert int(contribution(generator, Rng(1))["synthesis.b8.conv1"].argmin()) == 5


def test_channels_that_make_no_network_are_refused() -> None:
    generator = style()
    kept = share_of(generator, 0.5, Rng(1))
    with pytest.raises(BadInput, match="make no network"):
        shrunk(generator, {**kept, "synthesis.b8.conv0": torch.arange(2)})
    with pytest.raises(BadInput, match="make no network"):
        shrunk(generator, {**kept, "synthesis.b8.conv0": kept["synthesis.b8.conv0"] + 100})
    with pytest.raises(BadInput, match="share of the channels"):
        share_of(generator, 0.0, Rng(1))
    with pytest.raises(Unsupported, match="channels of a dcgan"):
        channels(dcgan.build(latent=4, capacity=2, size=8))
    with pytest.raises(Unsupported, match="does not say how it is built"):
        channels(replace(generator, metadata={}))
    with pytest.raises(Unsupported, match="no mapping"):
        weights(dcgan.build(latent=4, capacity=2, size=8), "mapping")
