"""Real MLP and VAE files: the rebuilt generator is the network that its authors describe."""

from __future__ import annotations

import pytest
import torch
from state_parts import needs_data, part_of, real
from torch import nn

from genvet.core.rng import Rng
from genvet.nets import vae
from genvet.nets.recognise import candidates

CHANNELS = {"VAE_celeba": 3, "btcvae_celeba": 3, "VAE_mnist": 1, "betaH_mnist": 1, "btcvae_dsprites": 1}


def described_decoder(state) -> nn.Module:
    """The decoder as its README describes it: ReLU between, sigmoid last, kernels of 4 at stride 2."""
    names = ["lin1", "lin2", "lin3", "convT_64", "convT1", "convT2", "convT3"]
    layers: list[nn.Module] = []
    for name in names:
        weight = state.get(f"decoder.{name}.weight")
        if weight is None:
            continue
        if weight.ndim == 2:
            layer: nn.Module = nn.Linear(weight.shape[1], weight.shape[0])
        else:
            layer = nn.ConvTranspose2d(*weight.shape[:2], 4, 2, 1)
        layer.load_state_dict({k: state[f"decoder.{name}.{k}"] for k in ("weight", "bias")})
        layers += [layer, nn.ReLU()]
        if name == "lin3":
            layers.append(nn.Unflatten(1, (32, 4, 4)))
    return nn.Sequential(*layers[:-1], nn.Sigmoid())


@needs_data
@pytest.mark.parametrize(("name", "shuffled"), [(name, name == "VAE_celeba") for name in CHANNELS])
def test_disentangling_vaes_are_the_described_decoders(name, shuffled):
    state = real(f"generators/disentangling_vae/{name}/model.pt")
    given = dict(sorted(state.items())) if shuffled else state
    best, *_ = candidates(part_of(given))
    generator = best.build(given)
    side = 32 if "mnist" in name else 64
    assert (generator.name, generator.shape, generator.output) == ("vae", (CHANNELS[name], side, side), "unit")
    z = generator.latent.sample(0, 8, Rng(1))
    torch.testing.assert_close(generator(z), described_decoder(state)(z) * 2 - 1)


@needs_data
def test_mlp_vae_is_the_pytorch_example():
    state = real("generators/csinva_mnist/mnist_vae/vae_epoch_25.pth")
    best, *_ = candidates(part_of(state))
    generator = best.build(state)
    z = torch.randn(5, 20)
    hidden = torch.relu(nn.functional.linear(z, state["fc3.weight"], state["fc3.bias"]))
    expected = torch.sigmoid(nn.functional.linear(hidden, state["fc4.weight"], state["fc4.bias"]))
    torch.testing.assert_close(generator(z), expected.reshape(5, 1, 28, 28) * 2 - 1)
    assert any("r = 0.9" in a for a in generator.assumed)


@needs_data
def test_mlp_gan_is_rebuilt_and_says_what_is_assumed():
    state = real("generators/csinva_mnist/mnist_gan_mlp/G--300.ckpt")
    best, *_ = candidates(part_of(state))
    generator = best.build(state)
    z = torch.randn(5, 64)
    x = z
    for i in (0, 2, 4):
        x = nn.functional.linear(x, state[f"{i}.weight"], state[f"{i}.bias"])
        x = torch.tanh(x) if i == 4 else torch.relu(x)
    torch.testing.assert_close(generator(z), x.reshape(5, 1, 28, 28))
    assert len(generator.assumed) == 3


def test_encoder_decides_where_the_decoder_alone_cannot():
    """A linear pair: only by the sigmoid hypothesis does encoding undo decoding, unless --net says otherwise."""
    torch.manual_seed(0)
    up, down = torch.randn(64, 3), torch.randn(3, 64) * 0
    down[:, :] = torch.linalg.pinv(up)
    state = {
        "encoder.0.weight": torch.eye(64), "encoder.0.bias": torch.zeros(64),
        "encoder.2.weight": down, "encoder.2.bias": torch.zeros(3),
        "encoder.3.weight": down * 0, "encoder.3.bias": torch.zeros(3),
        "decoder.0.weight": torch.cat([torch.eye(3), -torch.eye(3)]), "decoder.0.bias": torch.zeros(6),
        "decoder.2.weight": torch.cat([up, -up], 1) / 4, "decoder.2.bias": torch.zeros(64),
    }  # fmt: skip
    (candidate,) = vae.hypotheses(part_of(state))
    generator = candidate.build(state)
    assert generator.output == "unit" and any("follows z" in a for a in generator.assumed)
    (asked,) = vae.hypotheses(part_of(state), {"range": "tanh", "activation": "elu"})
    assert asked.build(state).output == "symmetric" and asked.build(state).assumed == ()
