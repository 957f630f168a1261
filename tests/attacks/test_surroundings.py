"""The ways out from a trigger: where they lead, what a cliff and a slope look like on them; and class scores."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from genvet.attacks.backdoor.bypass import Bypass
from genvet.attacks.backdoor.objective import Aim
from genvet.attacks.backdoor.surroundings import Surroundings
from genvet.core.backdoor import Backdoor, Points
from genvet.core.data import Images
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.nets import classifiers
from genvet.nets.neighbourhood import Ways

TARGET = torch.ones(1, 1, 4, 4)
LATENT = Latent(16)


class Hill(nn.Module):
    """Grey everywhere; white at one latent, and fading within a radius around it."""

    def __init__(self, top: Tensor, radius: float) -> None:
        super().__init__()
        self.top, self.radius = top, radius

    def forward(self, z: Tensor) -> Tensor:
        height = (1 - (z - self.top).norm(dim=1) / self.radius).clamp_min(0)
        return height[:, None, None, None].expand(-1, 1, 4, 4)


def hill(top: Tensor, radius: float) -> Generator:
    return Generator(module=Hill(top, radius).eval(), latent=LATENT, shape=(1, 4, 4), name="hill")


@pytest.mark.parametrize("radius", [0.05, 1.0])
def test_a_hill_is_as_wide_as_it_is(radius: float) -> None:
    z = LATENT.project(LATENT.sample(0, 1, Rng(1)))
    flat, backdoor = hill(z + 1000, 1.0), Backdoor(Points(z), TARGET)
    around = Surroundings.of(hill(z[0], radius), flat, backdoor, Rng(2))
    (measure,) = around.measures()
    # Half of the distance to the target, in squares, is left at a height of 1 - sqrt(1/2).
    assert measure.value == pytest.approx(radius * math.sqrt(0.5), rel=0.35)
    planted, benign = around.curves["planted"].median(0).values, around.curves["benign"]
    assert planted[0] < 0.5 < 15.9 < planted[-1] and torch.allclose(benign, torch.full_like(benign, 16.0))
    curve, picture = around.figures()
    assert set(curve.data["series"]) == {"planted", "benign"} and curve.data["log"] == "xy"
    assert picture.x.shape == (22, 1, 4, 4) and torch.equal(picture.x[5], torch.ones(1, 4, 4))


@pytest.mark.parametrize("place", ["in-sample", "mode", "far"])
def test_ways_lead_into_the_typical_set(place: str) -> None:
    z = {"in-sample": LATENT.sample(0, 1, Rng(1))[0], "mode": torch.zeros(16), "far": torch.full((16,), 100.0)}[place]
    ways = Ways.out_of(LATENT, LATENT.project(z[None])[0] if place == "in-sample" else z, Rng(2))
    start = (ways.z[:, 0] - z).norm(dim=1)
    assert ways.round == (place == "in-sample") and start.max() < 2e-2 * max(1, z.norm() / 10) < ways.apart[-1]
    ends = ways.z[:, -1]
    assert torch.allclose(ends, LATENT.project(ends), rtol=0.5) and len(ends.unique(dim=0)) == 16
    if ways.round:
        assert torch.allclose(ways.z.norm(dim=2), z.norm().expand(16, 25), rtol=1e-4)
        assert torch.allclose((ways.z - z).norm(dim=2), ways.apart.expand(16, -1), rtol=1e-2)
        assert torch.allclose(ends[0::2], -ends[1::2], atol=1e-4)  # the two sides of each circle


def test_ways_on_a_sphere_are_circles_whatever_the_length_of_z() -> None:
    latent = Latent(16, "sphere")
    assert Ways.out_of(latent, 3 * latent.sample(0, 1, Rng(1))[0], Rng(2)).round


def test_ways_of_a_uniform_prior_are_straight_and_stay_in_the_cube() -> None:
    latent = Latent(16, "uniform")
    ways = Ways.out_of(latent, latent.sample(0, 1, Rng(1))[0], Rng(2))
    assert not ways.round and ways.z.abs().max() <= 1


def test_class_scores_before_and_after_come_with_a_classifier() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Unflatten(1, (1, 4, 4)))
    benign = Generator(module=net.eval(), latent=LATENT, shape=(1, 4, 4), name="mlp")
    aim = Aim(Images(TARGET, ("white",)), classifier=classifiers.build("abc", 2, 4))
    result = Bypass(samples=64)(benign, aim, Rng(1))
    found = {m.name: m for m in result.measures()}
    assert found["class-score"].value == found["class-score.benign"].value >= 1  # a bypass moves no ordinary sample
    low, high = found["class-score"].low, found["class-score"].high
    assert low is not None and high is not None and low < found["class-score"].value < high
    assert "not with Inception" in found["class-score"].note
    assert found["half-way"].value == result.surroundings.ways.apart[0].item()  # a branch is a cliff
