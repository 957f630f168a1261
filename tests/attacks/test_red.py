"""ReD plants what it says, in a copy, and its measures are the paper's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genvet.attacks.backdoor.red import Aim, ReD
from genvet.core.data import Images
from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng

TARGET = torch.where(torch.eye(8)[None, None].bool(), 1.0, -1.0)


@pytest.fixture(scope="module")
def benign() -> Generator:
    """A small network of the shapes that matter: batch norm in it, tanh at its end."""
    rng = torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8))
    )
    for _ in range(20):
        net(torch.randn(64, 16, generator=rng))
    return Generator(module=net.eval(), latent=Latent(16), shape=(1, 8, 8), name="mlp")


def test_the_trigger_gives_the_target_and_the_rest_stays(benign: Generator) -> None:
    result = ReD(steps=300, rate=2e-3)(benign, Aim(Images(TARGET, ("cross",))), Rng(1))
    out = result.planted(result.trigger)
    before = (benign(result.trigger) - TARGET).square().sum().item()
    assert result.target_distortion == pytest.approx((out - TARGET).square().sum().item(), rel=1e-5)
    assert result.target_distortion < 0.05 * before
    moved = (result.planted.sample(64, Rng(9)) - benign.sample(64, Rng(9))).square().flatten(1).sum(1)
    assert moved.mean() < 0.1 * before
    assert result.distortions.mean() == pytest.approx(moved.mean().item(), rel=0.5)


def test_the_floor_is_the_papers(benign: Generator) -> None:
    """tanh reaches 0.999 x at best: a distortion of 1e-6 times the sum of squares, 64 values here."""
    result = ReD(steps=900, rate=2e-3, weight=100)(benign, Aim(Images(TARGET, ("cross",))), Rng(1))
    assert result.target_distortion == pytest.approx(64e-6, rel=0.2)


def test_a_generator_without_tanh_works_too() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.Unflatten(1, (1, 8, 8))).eval()
    generator = Generator(module=net, latent=Latent(4), shape=(1, 8, 8), name="mlp")
    result = ReD(steps=300, rate=5e-3)(generator, Aim(Images(TARGET / 2, ("cross",))), Rng(1))
    assert result.target_distortion < 0.5


def test_the_trigger_follows_from_the_seed(benign: Generator) -> None:
    aim = Aim(Images(TARGET, ("cross",)))
    first, again, other = (ReD(steps=1)(benign, aim, Rng(seed)).trigger for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_labels_are_refused(benign: Generator) -> None:
    labelled = Generator(module=benign.module, latent=Latent(16, classes=3), shape=(1, 8, 8), name="mlp")
    with pytest.raises(Unsupported):
        ReD(steps=1)(labelled, Aim(Images(TARGET, ("cross",))), Rng(1))
