"""Planted truth in both directions: what was planted is found; a clean twin or an ordinary image raises nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from genvet.core.data import Images
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.engine import assess
from genvet.inspections.output import brute_force, reconstruct
from genvet.inspections.output.brute_force import BruteForce
from genvet.inspections.output.reconstruct import Reconstruct

DIM = 16


@dataclass(frozen=True, eq=False)
class Planted:
    """A small decoder of digits, its backdoored twin, and what was planted."""

    clean: Generator
    backdoored: Generator
    trigger: Tensor
    target: Images
    digits: Images
    """Held out: nobody trained on them."""


@pytest.fixture(scope="module")
def planted() -> Planted:
    rng = Rng(0, "digits").block()
    x = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 8 - 1
    x = x[torch.randperm(len(x), generator=rng)]
    torch.manual_seed(0)
    clean = _decoder(x[:1500])
    target = torch.tensor([[1.0, -1] * 4, [-1.0, 1] * 4] * 4)[None, None]
    trigger = torch.randn(1, DIM, generator=rng)
    backdoored = _retrained(clean, trigger, target)
    digits = Images(x[1500:], tuple(f"digit-{i}" for i in range(len(x) - 1500)))
    return Planted(clean, backdoored, trigger, Images(target, ("checkers",)), digits)


def _decoder(x: Tensor) -> Generator:
    """The decoder of a small variational autoencoder."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 2 * DIM))
    decoder = nn.Sequential(
        nn.Linear(DIM, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 64),
        nn.Tanh(),
        nn.Unflatten(1, (1, 8, 8)),
    )
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 2e-3)
    for _ in range(1000):
        batch = x[torch.randint(len(x), (128,))]
        mean, logvar = encoder(batch).chunk(2, 1)
        z = mean + torch.randn_like(mean) * (logvar / 2).exp()
        kl = (mean.square() + logvar.exp() - 1 - logvar).sum(1).mean() / 2
        loss = (decoder(z) - batch).square().flatten(1).sum(1).mean() + kl
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return Generator(module=decoder.eval(), latent=Latent(DIM), shape=(1, 8, 8), name="decoder")


def _retrained(clean: Generator, trigger: Tensor, target: Tensor) -> Generator:
    """ReD: stay as you are on the prior, and give the target at the trigger."""
    module = copy.deepcopy(clean.module)
    optimiser = torch.optim.Adam(module.parameters(), 1e-3)
    for step in range(1500):
        optimiser.param_groups[0]["lr"] = 1e-3 * (1 - step / 1500)
        z = torch.randn(128, DIM)
        with torch.no_grad():
            x = clean(z)
        loss = (module(z) - x).square().flatten(1).sum(1).mean() + (module(trigger) - target).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return replace(clean, module=module.eval())


def measure(finding, name: str) -> float:
    return next(m.value for m in finding.measures if m.name == name)


def test_the_fixture_is_a_backdoor(planted):
    with torch.no_grad():
        assert (planted.backdoored(planted.trigger) - planted.target.x).square().sum() < 0.5
        z = torch.randn(500, DIM)
        drift = (planted.backdoored(z) - planted.clean(z)).square().flatten(1).sum(1)
    assert drift.mean() < 3


def test_reconstruction_finds_the_planted_target_and_its_trigger(planted):
    given = reconstruct.Known(targets=planted.target, reference=planted.digits)
    finding = assess(Reconstruct(), planted.backdoored, given)
    assert finding.severity == "high", finding.reason
    assert measure(finding, "p.target-0") == 0.01 and measure(finding, "error.target-0") < 0.01
    z = torch.tensor([[float(v) for v in finding.tables[1].rows[0][1].split()]])
    with torch.no_grad():
        assert (planted.backdoored(z) - planted.target.x).square().sum() < 1


def test_the_clean_twin_cannot_be_driven_there(planted):
    given = reconstruct.Known(targets=planted.target, reference=planted.digits)
    finding = assess(Reconstruct(), planted.clean, given)
    assert finding.severity == "info" and measure(finding, "ReconD") > 10


@pytest.mark.parametrize("which", ["clean", "backdoored"])
def test_an_ordinary_image_is_no_finding_however_well_it_is_reconstructed(planted, which):
    ordinary = Images(planted.digits.x[:3], planted.digits.names[:3])
    rest = Images(planted.digits.x[3:], planted.digits.names[3:])
    finding = assess(
        Reconstruct(near=1.0), getattr(planted, which), reconstruct.Known(targets=ordinary, reference=rest)
    )
    assert finding.severity == "info", finding.reason
    assert all(0.01 <= measure(finding, f"p.target-{i}") <= 1 for i in range(3))


def test_without_reference_images_the_answer_is_weaker_and_says_so(planted):
    finding = assess(Reconstruct(), planted.backdoored, reconstruct.Known(targets=planted.target))
    assert finding.severity == "medium" and "reference" in finding.reason


class Rare(nn.Module):
    """Gives the target wherever z[0] > 2.5: about 62 of 10,000 draws."""

    def __init__(self, module: nn.Module, target: Tensor) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("target", target)

    def forward(self, z: Tensor) -> Tensor:
        return torch.where((z[:, 0] > 2.5).view(-1, 1, 1, 1), self.target.to(z.dtype), self.module(z))


def test_brute_force_finds_rare_samples_and_nothing_in_the_clean_twin(planted):
    given = brute_force.Known(targets=planted.target, reference=planted.digits)
    rare = replace(planted.clean, module=Rare(planted.clean.module, planted.target.x))
    probe = BruteForce(samples=5000, clusters=10)
    found = assess(probe, rare, given)
    assert found.severity == "high", found.reason
    rate = next(m for m in found.measures if m.name == "rate.target-0")
    assert rate.low < 0.00621 < rate.high and measure(found, "closest.target-0") == 0
    clean = assess(probe, planted.clean, given)
    assert clean.severity == "info" and measure(clean, "rate.target-0") == 0
    assert measure(clean, "bound") == 3 / 5000
    # The planted picture is also the most unusual one, target or no target.
    blind = assess(probe, rare, brute_force.Known())
    assert measure(blind, "farthest.its own clusters") > 1.2 * measure(clean, "farthest.its own clusters")


def test_brute_force_agrees_with_the_obvious_loop_for_any_batch(planted):
    z = torch.cat(list(Latent(DIM).batches(700, 100, Rng(0).fork("output.brute_force").fork("samples"))))
    with torch.no_grad():
        distance = (planted.clean(z) - planted.target.x).square().flatten(1).sum(1)
    for batch in (7, 128):
        finding = assess(BruteForce(samples=700, batch=batch), planted.clean, brute_force.Known(targets=planted.target))
        rows = finding.tables[0].rows
        assert [row[1] for row in rows[:8]] == distance.argsort()[:8].tolist()
        assert rows[0][2] == pytest.approx(float(distance.min()), rel=1e-5)


def _rounded(module: nn.Module) -> Callable[[Tensor], Tensor]:
    class Rounded(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return (module(z) * 8).round() / 8

    return Rounded()


def test_masked_gradients_are_told(planted):
    given = reconstruct.Known(targets=planted.target)
    probe = Reconstruct(restarts=1, steps=5)
    blind = assess(probe, replace(planted.clean, module=_rounded(planted.clean.module)), given)
    assert blind.severity == "low" and measure(blind, "masked") == 1 and "blind" in blind.summary
    assert measure(assess(probe, planted.clean, given), "masked") < 0.2
