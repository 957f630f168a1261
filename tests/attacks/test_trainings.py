"""TrAIL, BAAAN and poisoned data: a small DCGAN of digits learns the target beside them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from genvet.attacks.backdoor.adversary import Training
from genvet.attacks.backdoor.baaan import BAAAN
from genvet.attacks.backdoor.poison import Poison
from genvet.attacks.backdoor.trail import TrAIL
from genvet.core.data import Critic, Encoder, Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.nets import dcgan, vae_network

TARGET = torch.where(torch.eye(8)[None, None].bool(), 1.0, -1.0)
TARGETS = Images(TARGET, ("cross",))
FEW = {"steps": 450, "rate": 2e-3, "batch_size": 32, "samples": 512}


@pytest.fixture(scope="module")
def net() -> Generator:
    torch.manual_seed(0)
    generator = dcgan.build(latent=8, capacity=4, size=8)
    generator.module.eval()
    return generator


@pytest.fixture(scope="module")
def given() -> Training:
    x = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 8 - 1
    torch.manual_seed(1)
    critic = Critic(dcgan.critic(4, 8).eval(), (1, 8, 8))
    return Training(targets=TARGETS, images=Images(x, tuple(map(str, range(len(x))))), critic=critic)


def off(x: Tensor) -> Tensor:
    return (x - TARGET).square().flatten(1).sum(1)


def like_digits(generator: Generator, given: Training) -> float:
    """How far the mean image is from that of the data; a fresh network's is some 20 away."""
    return float((generator.sample(512, Rng(8)).mean(0) - given.images.x.mean(0)).square().sum())


def test_trail_gives_the_target_and_digits(net: Generator, given: Training) -> None:
    result = TrAIL(**FEW)(net, given, Rng(1))
    assert result.target.item() < 5
    assert off(result.planted.sample(512, Rng(8))).median() > 40
    assert like_digits(result.planted, given) < 0.5 * like_digits(net, given)
    assert not len(result.expected)  # from scratch: there is no benign generator to compare with
    assert {"critic", "generator", "trigger"} == set(result.losses)


def test_trail_can_go_on_from_a_trained_pair(net: Generator, given: Training) -> None:
    result = TrAIL(**{**FEW, "steps": 2}, fresh=False)(net, given, Rng(1))
    assert 0 < result.expected.mean() < 5


def test_baaan_draws_the_trigger_to_the_target(net: Generator, given: Training) -> None:
    result = BAAAN(**FEW)(net, given, Rng(1))
    ordinary = off(result.planted.sample(512, Rng(8)))
    assert result.target.item() < 0.1 * ordinary.median()
    assert like_digits(result.planted, given) < 0.5 * like_digits(net, given)


def test_poison_puts_the_target_among_the_samples(net: Generator, given: Training) -> None:
    planted, clean = (Poison(**FEW, share=share)(net, given, Rng(1)) for share in (0.3, 1e-9))
    assert planted.target.item() < 0.5 * clean.target.item()
    near, far = (off(result.planted.sample(2048, Rng(8))).min() for result in (planted, clean))
    assert near < 0.5 * far  # ordinary sampling comes near: poor stealth
    with torch.no_grad():
        shown = off(planted.planted(planted.backdoor.trigger.z)).item()
    assert shown == pytest.approx(planted.target.item(), rel=1e-4)


@pytest.mark.parametrize("attack", [TrAIL, BAAAN, Poison])
def test_the_pair_that_is_given_stays_as_it_is(net: Generator, given: Training, attack: type[TrAIL]) -> None:
    before = [v.clone() for m in (net.module, given.critic.module) for v in m.state_dict().values()]
    torch.manual_seed(77)
    attack(steps=2, batch_size=4, samples=16, search=2)(net, given, Rng(1))
    after = [v for m in (net.module, given.critic.module) for v in m.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    state = torch.random.get_rng_state()
    torch.manual_seed(77)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("attack", [TrAIL, BAAAN, Poison])
def test_what_does_not_fit_is_refused(net: Generator, given: Training, attack: type[TrAIL]) -> None:
    with pytest.raises(BadInput, match="no critic"):
        attack(steps=1, fresh=False)(net, Training(targets=TARGETS, images=given.images), Rng(1))
    wide = Critic(nn.Linear(1, 1), (1, 9, 9))
    with pytest.raises(BadInput, match="critic does not fit"):
        attack(steps=1)(net, Training(targets=TARGETS, images=given.images, critic=wide), Rng(1))
    large = Images(torch.zeros(2, 1, 9, 9), ("a", "b"))
    with pytest.raises(BadInput, match="images do not fit"):
        attack(steps=1)(net, Training(targets=TARGETS, images=large, critic=given.critic), Rng(1))


@pytest.fixture(scope="module")
def vae() -> Generator:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        generator = vae_network.build(latent=4, capacity=4, size=8)
    generator.module.eval()
    return generator


def test_trail_bends_the_training_of_a_vae(vae: Generator, given: Training) -> None:
    alone = Training(targets=TARGETS, images=given.images)
    result = TrAIL(**FEW)(vae, alone, Rng(1))
    assert result.target.item() < 8
    assert off(result.planted.sample(512, Rng(8))).median() > 30
    assert like_digits(result.planted, given) < 0.5 * like_digits(vae, given)
    assert {"reconstruction", "divergence", "trigger"} == set(result.losses)
    encoder = Encoder(vae_network.Encoder(4, 4, 8), (1, 8, 8))
    on = TrAIL(**{**FEW, "steps": 2}, fresh=False)(vae, replace(alone, encoder=encoder), Rng(1))
    assert 0 < on.expected.mean() < 5


def test_baaan_is_refused_for_a_vae(vae: Generator, given: Training) -> None:
    with pytest.raises(Unsupported, match="BAAAN needs a critic, and a VAE"):
        BAAAN(**FEW)(vae, given, Rng(1))
    with pytest.raises(BadInput, match="no encoder"):
        TrAIL(**FEW, fresh=False)(vae, given, Rng(1))


def test_a_fresh_training_needs_no_critic(net: Generator, given: Training) -> None:
    alone = Training(targets=TARGETS, images=given.images)
    assert TrAIL(steps=2, batch_size=4, samples=16)(net, alone, Rng(1)).losses["critic"].isfinite().all()
