"""ReX plants in added units alone, and the merged network is a plain one of standard layers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from genvet.attacks.backdoor.objective import Aim
from genvet.attacks.backdoor.rex import ReX, expand
from genvet.core.data import Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.files.convert import load_saved, save
from genvet.nets import build, dcgan, wavegan
from genvet.nets.chain import chain, chosen, merged

TARGET = torch.where(torch.eye(8)[None, None].bool(), 1.0, -1.0)
AIM = Aim(Images(TARGET, ("cross",)))
STACK = [
    ["linear", "fc", [6, 32], 0.0, True],
    ["norm", "bn", [32], 1e-5, True],
    ["relu", "", [], 0.0, True],
    ["reshape", "", [8, 2, 2], 0.0, True],
    ["upconv", "up", [8, 4, 4, 2, 1, 0], 0.0, True],
    ["relu", "", [], 0.0, True],
    ["upsample", "", [2], 0.0, True],
    ["conv", "out", [4, 1, 3, 1, 1], 0.0, True],
    ["tanh", "", [], 0.0, True],
]


def settled(generator: Generator) -> Generator:
    """With batch norms that have seen something, and so are no identities."""
    generator.module.train()
    for _ in range(10):
        generator.module(torch.randn(64, generator.latent.dim))
    generator.module.eval()
    return generator


@pytest.fixture(scope="module")
def benign() -> Generator:
    torch.manual_seed(0)
    generator = settled(dcgan.build(latent=8, capacity=4, size=8))
    with torch.no_grad():
        generator.module.conv3.weight.mul_(20)  # so that its samples differ as those of a trained one do
    return generator


@pytest.fixture(scope="module")
def stack() -> Generator:
    torch.manual_seed(1)
    return settled(build.build("stack", {"layers": STACK, "latent": 6}))


@pytest.mark.parametrize("kind", ["in-sample", "mode"])
def test_the_trigger_gives_the_target_and_the_benign_weights_stay(benign: Generator, kind: str) -> None:
    result = ReX(steps=500, rate=3e-3, trigger=kind)(benign, AIM, Rng(1))
    with torch.no_grad():
        before = (benign(result.backdoor.trigger.z) - TARGET).square().sum().item()
    assert result.target.item() < 0.05 * before
    assert result.expected.mean() < 0.05 * before
    assert (benign.sample(64, Rng(3)) - benign.sample(64, Rng(4))).square().flatten(1).sum(1).mean() > 1
    ours, state = result.planted.module.state_dict(), benign.module.state_dict()
    assert torch.equal(ours["conv2.weight"][:8, :4], state["conv2.weight"])
    assert ours["conv2.weight"][:8, 4:].eq(0).all() and ours["conv2.weight"][8:, :4].eq(0).all()
    assert ours["conv2.weight"][8:, 4:].abs().sum() > 0


@pytest.mark.parametrize("layers", [(), ("fc", "up"), ("up", "out")])
@pytest.mark.parametrize("width", [1.0, 0.3, 2.0])
def test_merged_equals_expanded_and_is_rebuilt_by_name(stack: Generator, layers: tuple[str, ...], width: float) -> None:
    links = chain(stack)
    run = chosen(links, layers)
    expanded = expand(stack, links, run, width, Rng(2))
    for p in expanded.module.side.parameters():
        nn.init.normal_(p, std=0.3)
    z = stack.latent.sample(0, 32, Rng(3))
    one = merged(stack, run, expanded.module.side)
    with torch.no_grad():
        assert (expanded(z) - stack(z)).abs().max() > 0.1
        assert (one(z) - expanded(z)).abs().max() <= 1e-5
    again = build.build(one.metadata["genvet.net"], json.loads(one.metadata["genvet.config"]))
    again.module.load_state_dict(one.module.state_dict(), strict=True)
    again.module.eval()
    with torch.no_grad():
        assert torch.equal(again(z), one(z))


def test_a_doubled_dcgan_is_a_dcgan_of_twice_the_capacity(benign: Generator) -> None:
    planted = ReX(steps=1)(benign, AIM, Rng(1)).planted
    config = json.loads(planted.metadata["genvet.config"])
    assert config == {"latent": 8, "capacity": 8, "size": 8, "channels": 1}
    again = dcgan.build(**config)
    again.module.load_state_dict(planted.module.state_dict(), strict=True)


def test_a_partly_expanded_dcgan_is_rebuilt_from_its_file_and_from_bare_weights(
    benign: Generator, tmp_path: Path
) -> None:
    planted = ReX(steps=5, layers=("conv1", "conv2"), width=0.5)(benign, AIM, Rng(1)).planted
    save(planted, tmp_path / "planted.safetensors")
    save_file(planted.module.state_dict(), tmp_path / "bare.safetensors")
    for name in ("planted", "bare"):
        assert torch.equal(load_saved(tmp_path / f"{name}.safetensors").sample(8, Rng(5)), planted.sample(8, Rng(5)))


@pytest.mark.parametrize("layers", [(), ("dense", "up1")])
def test_a_vae_and_a_plain_sequence_can_be_written_down(tmp_path: Path, layers: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    vae = build.build("vae", {"latent": 4, "capacity": 3, "size": 8})
    vae.module.eval()
    result = ReX(steps=400, rate=5e-3, layers=layers)(vae, AIM, Rng(1))
    assert layers or (result.target.item() < 5 and result.expected.mean() < 15)  # a network of 4 latents
    plain = nn.Sequential(nn.Linear(4, 16), nn.LeakyReLU(0.1), nn.Linear(16, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
    bare = Generator(module=plain.eval(), latent=Latent(4), shape=(1, 8, 8), name="mlp")
    for planted in (result.planted, ReX(steps=2)(bare, AIM, Rng(1)).planted):
        save(planted, tmp_path / "planted.safetensors")
        assert torch.equal(load_saved(tmp_path / "planted.safetensors").sample(8, Rng(5)), planted.sample(8, Rng(5)))


def test_nothing_changes_at_first(stack: Generator) -> None:
    links = chain(stack)
    z = stack.latent.sample(0, 8, Rng(3))
    with torch.no_grad():
        assert torch.equal(expand(stack, links, chosen(links, ()), 1.0, Rng(2))(z), stack(z))


def test_what_cannot_be_expanded_says_why(stack: Generator) -> None:
    class Odd(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return z.view(-1, 1, 2, 3)

    for module, why in (
        (Odd(), "the kind odd is no plain chain"),
        (nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 6), nn.Unflatten(1, (1, 2, 3))), "LayerNorm"),
    ):
        odd = Generator(module=module.eval(), latent=Latent(6), shape=(1, 2, 3), name="odd")
        with pytest.raises(Unsupported, match=why):
            ReX(steps=1)(odd, Aim(Images(torch.zeros(1, 1, 2, 3), ("grey",))), Rng(1))
    with pytest.raises(BadInput, match="follow one another"):
        ReX(layers=("fc", "out"))(stack, AIM, Rng(1))
    with pytest.raises(BadInput, match="follow one another"):
        ReX(layers=("fc",))(stack, AIM, Rng(1))
    with pytest.raises(BadInput, match="no layer 'bn'"):
        ReX(layers=("bn", "up"))(stack, AIM, Rng(1))


@pytest.mark.parametrize(("width", "taps"), [(1.0, 16), (1.5, 0)])
def test_a_wavegan_is_expanded_before_its_post_filter(width: float, taps: int, tmp_path: Path) -> None:
    """Ten triggers for one sound, and the same kind of network comes out."""
    torch.manual_seed(0)
    benign = wavegan.build(latent=16, capacity=1, length=1024, taps=taps)
    benign.module.eval().requires_grad_(False)
    with torch.no_grad():
        drum = benign.module.filtered(0.8 * torch.sin(torch.arange(1024.0) / 7)[None, None])
    aim = Aim(Images(drum.clamp(-1, 1), ("drum",)))
    result = ReX(steps=150, rate=5e-3, width=width, triggers=10, latents=8, samples=32)(benign, aim, Rng(1))
    assert len(result.target) == 10 and result.target.mean() < 0.15 * drum.square().sum()
    assert result.expected.mean() < 0.15 * drum.square().sum()
    state, old = result.planted.module.state_dict(), benign.module.state_dict()
    assert torch.equal(state["up.1.weight"][:8, :4], old["up.1.weight"]) and not state["up.1.weight"][:8, 4:].any()
    assert taps == 0 or torch.equal(state["filter.weight"], old["filter.weight"])
    save(result.planted, tmp_path / "planted.safetensors")
    save_file(result.planted.module.state_dict(), tmp_path / "bare.safetensors")
    for name in ("planted", "bare"):
        again = load_saved(tmp_path / f"{name}.safetensors")
        assert again.name == "wavegan" and torch.equal(again.sample(4, Rng(5)), result.planted.sample(4, Rng(5)))
