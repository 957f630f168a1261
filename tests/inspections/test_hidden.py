"""The search without a target: what ReD hides in a small generator is found, and its clean twin shows nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from genvet.attacks.backdoor.objective import Aim
from genvet.attacks.backdoor.red import ReD
from genvet.core.backdoor import Kind
from genvet.core.data import Images
from genvet.core.errors import TooCostly
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.core.technique import Nothing
from genvet.inspections.output.hidden import Disagreement, Hidden
from genvet.nets.cost import Cost
from genvet.nets.disagreement import Pair, strengths
from genvet.nets.outskirts import outskirts

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


class Off(nn.Module):
    """A network that is off by the same wherever it is asked."""

    def __init__(self, net: nn.Module, error: torch.Tensor) -> None:
        super().__init__()
        self.net, self.error = net, error

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = self.net(z) + self.error
        return x


def test_only_what_students_agree_on_counts() -> None:
    """What each gets wrong on its own cancels; what all get wrong alike is the generator's own doing."""
    generator, z = clean(), torch.randn(5, DIM)
    errors = torch.zeros(3, 1, SIDE, SIDE)
    errors[0, 0, 0, 0], errors[1, 0, 0, 1], errors[2, 0, 0, 0] = 2.0, 3.0, 5.0
    students = [replace(generator, module=Off(generator.module, e)) for e in errors]
    none = torch.zeros(5, dtype=torch.long)

    def disagreement(*which: int) -> float:
        pair = Pair(generator=generator, students=tuple(students[i] for i in which), batch=4, diversity=1.0)
        return float(pair.measured(z, none).mean())

    assert disagreement(0) == pytest.approx(4)
    assert disagreement(0, 1) == pytest.approx(0, abs=1e-5)
    assert disagreement(0, 2) == pytest.approx(10)
    assert disagreement(0, 1, 2) == pytest.approx(10 / 3, rel=1e-4)


def test_a_style_generator_has_neither_mode_nor_far() -> None:
    module = nn.Sequential(Normalised(), clean().module)
    generator = replace(clean(), module=module.eval(), latent=Latent(DIM, "sphere"))
    result = Hidden(steps=5, search=2, starts=4, students=1)(generator, Nothing(), Rng(0))
    measures = {m.name: m for m in result.measures()}
    assert measures["mode"].value == measures["far"].value == 0 and "does not apply" in measures["far"].note
    assert result.hunt.z.norm(dim=1).allclose(torch.full((4,), DIM**0.5), rtol=1e-3)


class Normalised(nn.Module):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z / z.norm(dim=1, keepdim=True).clamp_min(1e-12) * DIM**0.5


def test_what_costs_too_much_is_cut_and_then_refused() -> None:
    cost = Cost(operations=10**8, largest=1000)
    whole = Hidden(nulls=2)
    plan = whole.affordable(cost)
    assert plan.nulls < 2 and plan.steps == whole.steps
    fewer = Hidden(operations=1.5e13).affordable(cost)
    assert fewer.nulls == 0 and 100 <= fewer.steps < whole.steps
    with pytest.raises(TooCostly):
        Hidden(operations=1e11).affordable(cost)


class OnlyFar(nn.Module):
    """A network that gives something mild where every number of z is large, and is itself elsewhere."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = self.net(z)
        return torch.where((z > 50).all(1)[:, None, None, None], 0.9 * target(), x)


def test_equal_numbers_far_outside_are_compared_with_drawn_signs() -> None:
    def far(generator: Generator) -> float:
        seen = outskirts(generator, lambda z, _: torch.zeros(len(z)), 1.0, 64, Rng(0))
        return seen.far

    honest_one = clean()
    assert far(replace(honest_one, module=OnlyFar(honest_one.module))) > 6 > far(honest_one)


def test_a_plateau_and_company_add_and_nothing_takes_away() -> None:
    apart, plateau = torch.eye(4), torch.tensor([0.3, 1.0, 1.5, 9.0])
    assert strengths(torch.ones(4), plateau, apart).tolist() == [1.0, 1.0, 1.5, 2.0]
    together = torch.cat([torch.ones(3, 4), -torch.ones(1, 4)])
    assert strengths(torch.ones(4), torch.ones(4), together).tolist() == [2.0, 2.0, 2.0, 1.0]
