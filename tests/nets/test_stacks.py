"""Stacks of other people are rebuilt from bare weights: the same function where weights can tell, told where not."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from state_parts import part_of
from torch import nn

from genvet.core.errors import GenVetError
from genvet.nets import dcgan, mlp
from genvet.nets.build import build
from genvet.nets.recognise import candidates


def tutorial(act: nn.Module, latent: int, kernels: tuple[tuple[int, int, int], ...], channels: int) -> nn.Module:
    """The DCGAN of the PyTorch tutorial, with `main.N` names: kernels as (size, stride, padding)."""
    widths = [latent, *(16 * 2**i for i in reversed(range(len(kernels) - 1))), channels]
    layers: list[nn.Module] = []
    for (inputs, outputs), (kernel, stride, padding) in zip(itertools.pairwise(widths), kernels, strict=True):
        last = outputs == channels
        layers.append(nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding, bias=False))
        layers += [nn.Tanh()] if last else [nn.BatchNorm2d(outputs), act]
    network = nn.Module()
    network.main = nn.Sequential(*layers)
    return network


def settled_norms(network: nn.Module, latents) -> nn.Module:
    """Batch norms with scales of their own, and with the statistics of many latents, as training leaves them."""
    for p in network.parameters():
        if p.ndim == 1:
            nn.init.normal_(p, float(p.detach().mean()), 0.3)
    network.train()
    with torch.no_grad():
        for _ in range(70):
            network(latents())
    return network.eval()


@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("act", [nn.ReLU(), nn.LeakyReLU(0.2), nn.LeakyReLU(0.3), nn.ELU()], ids=repr)
def test_batch_norms_tell_activation_and_prior(act, uniform):
    torch.manual_seed(0)
    network = tutorial(act, 24, ((4, 1, 0), (4, 2, 1), (4, 2, 1), (4, 2, 1)), 3)
    draw = (lambda: torch.rand(64, 24) * 2 - 1) if uniform else (lambda: torch.randn(64, 24))
    network.forward = lambda z: network.main(z[..., None, None])
    settled_norms(network, draw)
    state = network.state_dict()
    (candidate,) = dcgan.hypotheses(part_of(state))
    generator = candidate.build(state)
    z = draw()
    assert generator.shape == (3, 32, 32)
    torch.testing.assert_close(generator(z), network(z))
    assert generator.latent.distribution == ("uniform" if uniform else "normal")
    assert any("range tanh" in a for a in generator.assumed)


def test_batch_norms_tell_strides():
    """Dense to 7x7, then kernels of 5 with strides 1, 2, 2: 25 taps or 6 a pixel give another variance."""
    torch.manual_seed(0)
    layers = [
        nn.Linear(16, 32 * 49, bias=False), nn.BatchNorm1d(32 * 49), nn.LeakyReLU(0.3), nn.Unflatten(1, (32, 7, 7)),
        nn.ConvTranspose2d(32, 16, 5, 1, 2, bias=False), nn.BatchNorm2d(16), nn.LeakyReLU(0.3),
        nn.ConvTranspose2d(16, 8, 5, 2, 2, 1, bias=False), nn.BatchNorm2d(8), nn.LeakyReLU(0.3),
        nn.ConvTranspose2d(8, 1, 5, 2, 2, 1, bias=False), nn.Tanh(),
    ]  # fmt: skip
    network = settled_norms(nn.Sequential(*layers), lambda: torch.randn(64, 16))
    (candidate,) = dcgan.hypotheses(part_of(network.state_dict()))
    z = torch.randn(9, 16)
    generator = candidate.build(network.state_dict())
    torch.testing.assert_close(generator(z), network(z))


def test_upsampling_convolutions_and_a_much_copied_slip():
    """Dense, then twice Upsample and Conv with BatchNorm2d(n, 0.8), whose second argument is the epsilon."""
    torch.manual_seed(0)
    network = nn.Module()
    network.l1 = nn.Sequential(nn.Linear(20, 32 * 64))
    network.conv_blocks = nn.Sequential(
        nn.BatchNorm2d(32),
        nn.Upsample(scale_factor=2), nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32, 0.8), nn.LeakyReLU(0.2),
        nn.Upsample(scale_factor=2), nn.Conv2d(32, 16, 3, padding=1), nn.BatchNorm2d(16, 0.8), nn.LeakyReLU(0.2),
        nn.Conv2d(16, 1, 3, padding=1), nn.Tanh(),
    )  # fmt: skip
    network.forward = lambda z: network.conv_blocks(network.l1(z).reshape(-1, 32, 8, 8))
    settled_norms(network, lambda: torch.randn(48, 20))
    best, *_ = candidates(part_of(network.state_dict()))
    generator = best.build(network.state_dict())
    z = torch.randn(4, 20)
    assert generator.shape == (1, 32, 32) and "upsampling" in best.explanation
    torch.testing.assert_close(generator(z), network(z))


def test_net_option_settles_what_is_open():
    network = tutorial(nn.LeakyReLU(0.1), 8, ((4, 1, 0), (4, 2, 1), (4, 2, 3)), 1)
    state = {k: v for k, v in network.state_dict().items() if v.ndim == 4}
    open_, *_ = candidates(part_of(state))
    assert any("activation relu" in a for a in open_.build(state).assumed)
    settled, *_ = candidates(part_of(state), "dcgan:activation=leaky_relu_0.1,range=sigmoid,prior=uniform,size=12")
    generator = settled.build(state)
    assert generator.assumed == () and generator.shape == (1, 12, 12)
    assert (generator.latent.distribution, generator.output) == ("uniform", "unit")


def test_mlp_with_norms_is_rebuilt_in_any_order_of_its_names():
    torch.manual_seed(0)

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2, self.fc3 = nn.Linear(8, 32), nn.Linear(32, 64), nn.Linear(64, 192)
            self.bn1, self.bn2 = nn.BatchNorm1d(32), nn.BatchNorm1d(64)

        def forward(self, z):
            x = torch.nn.functional.leaky_relu(self.bn1(self.fc1(z)), 0.2)
            return torch.tanh(self.fc3(torch.nn.functional.leaky_relu(self.bn2(self.fc2(x)), 0.2)))

    network = settled_norms(Named(), lambda: torch.randn(256, 8))
    z = torch.randn(4, 8)
    for state in (network.state_dict(), dict(sorted(network.state_dict().items()))):
        (candidate,) = mlp.hypotheses(part_of(state))
        generator = candidate.build(state)
        assert generator.shape == (3, 8, 8)
        torch.testing.assert_close(generator(z).flatten(1), network(z))


def test_own_dcgan_is_known_by_its_names_and_written_form_rebuilds():
    fresh = build("dcgan", {"latent": 6, "capacity": 4, "size": 8, "channels": 3})
    state = fresh.module.state_dict()
    best, *_ = candidates(part_of(state))
    assert best.layout == "genvet" and best.score == 1
    z = torch.randn(3, 6)
    fresh.module.eval()
    assert torch.equal(best.build(state)(z), fresh(z))


@pytest.mark.parametrize(
    "config",
    [
        {"layers": [["linear", "a", [4, 2**40], 0, True]], "latent": 4},
        {"layers": [["linear", "a", [4, 4], 0, True]] * 5000, "latent": 4},
        {"layers": [["linear", "a", [4, 4], 0, True]] * 2, "latent": 4},
        {"layers": [["reshape", "", [2, 1, 1], 0, True], ["upsample", "", [2**20], 0, True]], "latent": 2},
        {"layers": [["system", "a", [4, 4], 0, True]], "latent": 4},
        {"layers": [["linear", "a", [3, 4], 0, True]], "latent": 4},
        {"layers": [["linear", "forward", [4, 4], 0, True]], "latent": 4},
        {"layers": [["linear", "a", ["x"], 0, True]], "latent": 4},
        {"layers": [], "latent": 4},
        {"layers": [["tanh", "", [], 0, True]], "latent": 4, "prior": "evil"},
    ],
)
def test_hostile_written_forms_are_refused(config):
    with pytest.raises(GenVetError), torch.device("meta"):
        build("stack", config)


SHAPES = st.lists(st.integers(0, 5), min_size=0, max_size=5).map(tuple)
LEAVES = st.sampled_from(["weight", "bias", "running_mean", "running_var", "num_batches_tracked", "x"])
NAMES = st.tuples(st.sampled_from(["0", "1", "a.2", "decoder.0", "encoder.0", "encoder.1", "fc1", ""]), LEAVES)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(NAMES.map(".".join), SHAPES, max_size=8))
def test_no_set_of_shapes_breaks_recognition(shapes):
    state = {key: torch.zeros(shape) for key, shape in shapes.items()}
    for candidate in candidates(part_of(state)):
        assert 0 <= candidate.score <= 1
