"""One noisy mean: its noise, its epsilon, and that the generator goes where it points."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.maths.mean_embedding import embedded, frequencies, gaussian_delta, gaussian_epsilon, gaussian_noise
from genvet.training.adversarial import Given
from genvet.training.dp_merf import DPMERF, noisy_mean


def test_the_noise_of_one_sum_is_exact() -> None:
    assert gaussian_epsilon(1.0, 1e-5) == pytest.approx(4.3775, abs=1e-3), "Balle and Wang 2018"
    for epsilon in (0.5, 3.0, 10.0):
        noise = gaussian_noise(epsilon, 1e-5)
        assert gaussian_delta(epsilon, noise) == pytest.approx(1e-5, rel=1e-3)
        assert gaussian_epsilon(0.9 * noise, 1e-5) > epsilon > gaussian_epsilon(1.1 * noise, 1e-5)


def test_one_image_moves_the_sum_by_its_norm_and_the_noise_is_as_stated() -> None:
    x, waves = torch.rand(50, 1, 8, 8) * 2 - 1, frequencies(64, 4000, (4.0,), Rng(1))
    one, other = (noisy_mean(some, waves, 1e-9, Rng(2)) * len(some) for some in (x, x[1:]))
    assert float((one - other).norm()) == pytest.approx(1.0, abs=1e-4)
    noise = noisy_mean(x, waves, 3.0, Rng(2)) - embedded(x, waves).mean(0)
    assert float(noise.std()) * 50 == pytest.approx(3.0, rel=0.05)
    other = noisy_mean(x, waves, 3.0, Rng(3)) - embedded(x, waves).mean(0)
    assert float((noise @ other) / noise.norm() / other.norm()) < 0.1


def train(n: int = 400, **knobs: Any) -> Any:
    x = torch.full((n, 1, 8, 8), -0.8)
    x[:, :, 2:6, 2:6] = 0.8
    recipe = DPMERF(**{"steps": 150, "batch": 32, "capacity": 4, "latent": 4, "features": 400, "rate": 0.01, **knobs})
    return recipe(Given(Images(x, ("",) * n)), Rng(1))


def test_it_learns_what_the_mean_tells_and_states_its_epsilon() -> None:
    trained = train(epsilon=1.0)
    drawn = trained.generator.sample(64, Rng(2)).mean(0)[0]
    assert float(drawn[2:6, 2:6].mean()) > 0.4 and float(drawn[0].mean()) < -0.4
    told = trained.record["privacy"]
    assert told["epsilon"] == pytest.approx(1.0) and told["noise"] == pytest.approx(3.73, abs=0.01)
    assert not {"seed", "data", "loss"} & set(json.loads(trained.generator.metadata["genvet.training"]))


@pytest.mark.parametrize("knobs", [{}, {"epsilon": 1.0, "noise": 1.0}, {"epsilon": 1.0, "delta": 0.01}])
def test_what_cannot_be_promised_is_refused(knobs: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        train(steps=1, **knobs)
