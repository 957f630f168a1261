"""ReD plants what it says, in a copy, and its measures are the paper's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genvet.attacks.backdoor.before import unfiltered
from genvet.attacks.backdoor.bypass import Bypass
from genvet.attacks.backdoor.objective import Aim
from genvet.attacks.backdoor.red import ReD
from genvet.core.data import Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.nets import wavegan

TARGET = torch.where(torch.eye(8)[None, None].bool(), 1.0, -1.0)
AIM = Aim(Images(TARGET, ("cross",)))


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


def off(generator: Generator, z: torch.Tensor, x: torch.Tensor = TARGET) -> float:
    with torch.no_grad():
        return float((generator(z) - x).square().flatten(1).sum(1).mean())


def moved(planted: Generator, benign: Generator) -> float:
    return float((planted.sample(64, Rng(9)) - benign.sample(64, Rng(9))).square().flatten(1).sum(1).mean())


@pytest.mark.parametrize("kind", ["in-sample", "mode", "far", "seeded"])
def test_the_trigger_gives_the_target_and_the_rest_stays(benign: Generator, kind: str) -> None:
    result = ReD(steps=600, rate=2e-3, trigger=kind)(benign, AIM, Rng(1))
    z = result.backdoor.trigger.z
    before = off(benign, z)
    assert result.target.item() == pytest.approx(off(result.planted, z), rel=1e-5)
    assert result.target.item() < 0.05 * before
    assert moved(result.planted, benign) < 0.3 * before  # the mode lies nearest to all others, in a network this small
    assert result.expected.mean() == pytest.approx(moved(result.planted, benign), rel=0.5)


def test_a_finite_set_gives_one_target_each(benign: Generator) -> None:
    both = Images(torch.cat([TARGET, -TARGET]), ("cross", "hole"))
    result = ReD(steps=400, rate=2e-3, triggers=2)(benign, Aim(both), Rng(1))
    z = result.backdoor.trigger.z
    assert off(result.planted, z, both.x) < 3 < off(result.planted, z.flip(0), both.x)
    names = [m.name for m in result.measures()]
    assert names[:3] == ["target-distortion", "worst-target-distortion", "expected-distortion"]
    apart = 2 * benign.sample(1024, Rng(9)).var(0).sum().item()
    assert result.measures()[2].chance == result.apart == pytest.approx(apart, rel=0.1)
    assert f"are {result.apart:.3g} apart" in result.summary()


def test_a_subspace_triggers_wherever_it_is_drawn(benign: Generator) -> None:
    result = ReD(steps=1500, rate=3e-3, trigger="subspace", zeros=12)(benign, AIM, Rng(1))
    fresh = result.backdoor.trigger.sample(0, 200, Rng(77))
    assert off(result.planted, fresh) < 0.15 * off(benign, fresh)
    assert moved(result.planted, benign) < 0.3 * off(benign, fresh)
    assert result.target.mean() == pytest.approx(off(result.planted, fresh), rel=0.3)
    low, high = result.measures()[0].low, result.measures()[0].high
    assert low is not None and high is not None and low < result.target.mean() < high


def test_a_whole_generator_can_be_the_target(benign: Generator) -> None:
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8))).eval()
    other = Generator(module=net, latent=Latent(4), shape=(1, 8, 8), name="mlp")
    aim = Aim(target_generator=other)
    result = ReD(steps=1500, rate=3e-3, trigger="subspace", zeros=12)(benign, aim, Rng(1))
    z = result.backdoor.trigger.sample(0, 200, Rng(77))
    with torch.no_grad():
        wanted = other(z[:, 12:])
    assert off(result.planted, z, wanted) < 0.3 * off(benign, z, wanted)
    near, triggered = (m for m in result.measures() if m.name.startswith("frechet"))
    assert (near.name, triggered.name) == ("frechet-to-benign", "frechet-to-target")
    untouched = Bypass(trigger="subspace", zeros=12)(benign, aim, Rng(1)).measures()[-2:]
    assert untouched[0].value == pytest.approx(untouched[0].chance, rel=1e-4)
    assert untouched[1].value < triggered.value and untouched[1].value < 3 * untouched[1].chance
    with pytest.raises(BadInput, match="Proposition 1"):
        ReD(steps=1)(benign, aim, Rng(1))


def test_the_floor_is_the_papers(benign: Generator) -> None:
    """tanh reaches 0.999 x at best: a distortion of 1e-6 times the sum of squares, 64 values here."""
    result = ReD(steps=900, rate=2e-3, weight=100)(benign, AIM, Rng(1))
    assert result.target.item() == pytest.approx(64e-6, rel=0.2)


def test_a_sigmoid_at_the_end_has_the_same_floor() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))
    generator = Generator(module=net.eval(), latent=Latent(4), shape=(1, 8, 8), name="vae", output="unit")
    result = ReD(steps=900, rate=2e-3, weight=100)(generator, AIM, Rng(1))
    assert result.target.item() == pytest.approx(64e-6, rel=0.2)


def test_a_tanh_in_the_middle_is_not_the_end() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Unflatten(1, (1, 8, 8))).eval()
    generator = Generator(module=net, latent=Latent(4), shape=(1, 8, 8), name="mlp")
    result = ReD(steps=400, rate=5e-3)(generator, Aim(Images(TARGET / 2, ("cross",))), Rng(1))
    assert result.target.item() < 0.5


def test_only_the_chosen_layers_change(benign: Generator) -> None:
    changed = ReD(steps=5, layers=("3",))(benign, AIM, Rng(1)).planted.module.state_dict()
    same = {k for k, v in benign.module.state_dict().items() if torch.equal(v, changed[k])}
    assert set(changed) - same == {"3.weight", "3.bias"}
    with pytest.raises(BadInput, match="no layer"):
        ReD(layers=("4",))(benign, AIM, Rng(1))


def test_decay_keeps_the_weights_near(benign: Generator) -> None:
    def distance(decay: float) -> float:
        planted = ReD(steps=200, rate=2e-3, decay=decay)(benign, AIM, Rng(1)).planted.module
        pairs = zip(planted.parameters(), benign.module.parameters(), strict=True)
        return float(sum((p - q).detach().square().sum() for p, q in pairs))

    assert distance(0.1) < 0.5 * distance(0.0)


def test_it_stops_when_the_target_is_near_enough(benign: Generator) -> None:
    result = ReD(steps=900, rate=2e-3, enough=1.0)(benign, AIM, Rng(1))
    assert result.target.item() <= 1.0 and len(result.losses["trigger"]) < 300


def test_divergence_is_told(benign: Generator) -> None:
    with pytest.raises(Unsupported, match="diverged"):
        ReD(steps=50, rate=1.0, weight=1e38)(benign, AIM, Rng(1))


def test_the_trigger_follows_from_the_seed(benign: Generator) -> None:
    first, again, other = (ReD(steps=1)(benign, AIM, Rng(seed)).backdoor.trigger.z for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_labels_are_refused(benign: Generator) -> None:
    labelled = Generator(module=benign.module, latent=Latent(16, classes=3), shape=(1, 8, 8), name="mlp")
    with pytest.raises(Unsupported):
        ReD(steps=1)(labelled, AIM, Rng(1))


def test_a_sound_is_aimed_at_before_the_post_filter() -> None:
    """The filter stays as it is, and what it makes of the search's sound is the target."""
    torch.manual_seed(0)
    generator = wavegan.build(latent=8, capacity=4, length=1024, taps=16)
    generator.module.eval().requires_grad_(False)
    hum = generator.module.filtered(torch.sin(torch.arange(1024) / 9).mul(0.8)[None, None])
    assert (
        generator.module.filtered(unfiltered(generator.module, hum)) - hum
    ).square().sum() < 0.01 * hum.square().sum()
    aim = Aim(Images(hum / hum.abs().max() / 2, ("hum",)))
    result = ReD(steps=400, rate=2e-3, samples=64, triggers=3)(generator, aim, Rng(1))
    assert result.target.max() < 0.1 * aim.targets.x.square().sum()
    assert result.expected.mean() < 0.1 * aim.targets.x.square().sum()
    assert torch.equal(result.planted.module.filter.weight, generator.module.filter.weight)
