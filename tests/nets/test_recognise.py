"""Parts that are no generators are told apart; what fits nothing is explained."""

from __future__ import annotations

import json

import pytest
import torch
from state_parts import needs_data, part_of, real
from torch import nn

from genvet.core.errors import BadInput
from genvet.nets import dcgan
from genvet.nets.build import build
from genvet.nets.critics import what_else
from genvet.nets.recognise import candidates, nearest, split


@needs_data
@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("generators/csinva_mnist/mnist_gan_mlp/D--300.ckpt", "a critic: images (1, 28, 28) -> one score"),
        ("generators/csinva_mnist/mnist_dcgan/netD_epoch_99.pth", "a critic: images (1, 32, 32) -> one score"),
        ("classifiers/cifar10_small_captum/cifar_torchvision.pt", "a classifier: images of 3 channels -> 10 scores"),
        (
            "classifiers/mnist_lenet_csinva/lenet_epoch=12_test_acc=0.991.pth",
            "a classifier: images of 1 channel -> 10 scores",
        ),
    ],
)
def test_real_critics_and_classifiers_are_told_apart(path, sentence):
    part = part_of(real(path))
    assert candidates(part) == [] and what_else(part) == sentence


def test_our_own_critic_is_a_critic():
    part = part_of(dcgan.critic(4, 8, 3).state_dict())
    assert candidates(part) == [] and what_else(part) == "a critic: images of 3 channels -> one score"


def test_other_parts_are_told_by_their_names():
    w = torch.zeros(4, 4)
    assert "optimiser" in what_else(part_of({"state.0.exp_avg": w}))
    assert "transformer" in what_else(part_of({"model.layers.0.self_attn.q_proj.weight": w}))
    assert "diffusion" in what_else(part_of({"model.diffusion_model.input_blocks.0.0.weight": w}))
    assert "critic" in what_else(part_of({"b4.w": w}, class_name="training.networks.Discriminator"))
    assert "encoder" in what_else(part_of({"enc.0.weight": torch.zeros(9, 784), "enc.2.weight": torch.zeros(5, 9)}))
    assert what_else(part_of({"a.weight": w, "b.weight": torch.zeros(7, 9)})) == ""


def test_metadata_names_the_network_and_the_tensors_must_fit():
    fresh = build("dcgan", {"latent": 6, "capacity": 4, "size": 8})
    state = fresh.module.state_dict()
    config = dict(fresh.metadata) | {"genvet.latent": json.dumps({"dim": 6, "distribution": "uniform"})}
    best, *_ = candidates(part_of(state, config=config))
    assert best.layout == "genvet" and best.score == 1 and best.differences == ()
    assert best.build(state).latent.distribution == "uniform"

    broken = {k: v for k, v in state.items() if k != "norm1.bias"} | {"conv3.weight": torch.zeros(4, 2, 5, 5)}
    part = part_of(broken | {"extra.path.weight": torch.zeros(2)}, config=config)
    best, *_ = candidates(part)
    assert {e.rule for e in best.differences} == {"rebuild.missing", "rebuild.shape", "rebuild.extra"}
    assert "norm1.bias" in nearest(part, [best]) and "dcgan" in nearest(part, [best])


@pytest.mark.parametrize("config", ['{"latent": 1e99}', "[" * 5000, '{"capacity": 1000000000}', '"x"', '{"evil": 1}'])
def test_lying_metadata_builds_nothing(config):
    state = build("dcgan", {"latent": 6, "capacity": 4, "size": 8}).module.state_dict()
    part = part_of(state, config={"genvet.net": "dcgan", "genvet.config": config})
    for candidate in candidates(part):
        assert candidate.differences or candidate.build(state).latent.dim == 6


def test_one_state_dict_of_both_networks_is_split():
    torch.manual_seed(0)
    both = nn.ModuleDict({"G": build("dcgan", {"capacity": 2, "size": 8}).module, "D": dcgan.critic(2, 8, 1)})
    parts = {p.name: p for p in split(part_of(both.state_dict(), name="state"))}
    assert set(parts) == {"state.G", "state.D"}
    assert candidates(parts["state.G"])[0].score == 1 and "critic" in what_else(parts["state.D"])


def test_unknown_names_and_options_get_the_nearest():
    part = part_of({"a.weight": torch.zeros(2, 2)})
    for net, hint in [("dcgn", "dcgan"), ("dcgan:activaton=relu", "activation"), ("dcgan:activation=relux", "relu")]:
        with pytest.raises(BadInput) as error:
            candidates(part, net)
        assert hint in error.value.hint
    with pytest.raises(BadInput):
        candidates(part, "dcgan:size=big")
    part = part_of({"m.0.weight": torch.zeros(9, 8, 4, 4), "m.2.weight": torch.zeros(7, 3, 4, 4)})
    assert "m.0 gives 8 channels and m.2 takes 7" in nearest(part, [])
    assert "2 tensors" in nearest(part_of({"a.weight": torch.zeros(2, 2), "b": torch.zeros(1)}), [])
