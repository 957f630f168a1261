"""The search without a target: what ReD hides in a small generator is found, and its clean twin shows nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from genvet.attacks.backdoor.objective import Aim
from genvet.attacks.backdoor.red import ReD
from genvet.core.backdoor import Kind
from genvet.core.data import Images
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.core.technique import Nothing
from genvet.inspections.output.hidden import Disagreement, Hidden

SIDE, DIM = 8, 16
CONFIG = {"steps": 500, "restarts": 1, "search": 40, "starts": 32, "nulls": 0}


def clean() -> Generator:
    """Blobs whose places and brightness follow z: a small network with a bottleneck, not too easy to predict."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(DIM, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, SIDE * SIDE))
    whole = nn.Sequential(net, nn.Tanh(), nn.Unflatten(1, (1, SIDE, SIDE)))
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(2)
    return Generator(module=whole.eval().requires_grad_(False), latent=Latent(DIM), shape=(1, SIDE, SIDE), name="mlp")


def target() -> torch.Tensor:
    grid = torch.arange(SIDE)
    return (((grid[:, None] + grid) % 4 < 2) * 2.0 - 1)[None, None] * 0.99


def planted(trigger: Kind) -> Generator:
    attack = ReD(steps=600, rate=2e-3, trigger=trigger, samples=64)
    made = attack(clean(), Aim(Images(target(), ("target",))), Rng(1))
    assert made.target.mean() < 5, "the attack itself must work"
    return made.planted


def inspected(generator: Generator) -> Disagreement:
    return Hidden(**CONFIG)(generator, Nothing(), Rng(0))


@pytest.fixture(scope="module")
def honest() -> Disagreement:
    return inspected(clean())


def value(result: Disagreement, name: str) -> float:
    found = next(m.value for m in result.measures() if m.name == name)
    assert found is not None and math.isfinite(found)
    return found


def test_a_hidden_output_is_found_and_shown(honest: Disagreement) -> None:
    result = inspected(planted("in-sample"))
    assert value(result, "hidden") > 1.5 * value(honest, "hidden")
    distance = (result.x - target()).square().flatten(1).sum(1)
    usual = (honest.x - target()).square().flatten(1).sum(1)
    assert distance[0] < usual.min() / 2


@pytest.mark.parametrize(("trigger", "signal", "clear"), [("mode", "mode", 0.2), ("subspace", "subspace", 1.0)])
def test_where_the_prior_never_draws(honest: Disagreement, trigger: Kind, signal: str, clear: float) -> None:
    assert value(honest, signal) < clear < value(inspected(planted(trigger)), signal)
