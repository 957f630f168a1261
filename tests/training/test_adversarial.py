"""The recipe learns, gives the same weights for the same seed, and hands over a network at rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.core.technique import TrainedGenerator
from genvet.training.adversarial import Adversarial, Given
from genvet.training.regularised import Regularised


def bars(n: int = 256, size: int = 8) -> Images:
    """A bright bar in one of the columns: something that a tiny GAN can learn."""
    x = -torch.ones(n, 1, size, size)
    for i in range(n):
        x[i, :, :, i % size] = 1
    return Images(x, tuple(map(str, range(n))))


def train(seed: int = 0, **knobs: float) -> TrainedGenerator:
    return Adversarial.model_validate({"steps": 3, "batch": 16, "capacity": 4, "latent": 8, **knobs})(
        Given(bars()), Rng(seed)
    )


def test_same_seed_same_weights_whatever_the_global_state() -> None:
    first = train().generator.module.state_dict()
    torch.manual_seed(12345)
    second, other = train().generator.module.state_dict(), train(seed=1).generator.module.state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not torch.equal(first["conv3.weight"], other["conv3.weight"])


def test_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train()
    assert torch.equal(torch.get_rng_state(), before)


def test_it_learns_the_images() -> None:
    """One bright column out of eight: the others are dark, and which one is bright depends on z."""
    trained = train(seed=1, steps=300, batch=32, rate=2e-3, average=0.98)
    x = trained.generator.sample(64, Rng(7))
    columns, brightest = x.mean((1, 2)).sort(dim=1).values, x.mean((1, 2)).argmax(1)
    assert x.min() >= -1 and x.max() <= 1
    assert columns[:, :4].mean() < -0.8 and columns[:, -1].mean() > -0.4 and len(brightest.unique()) >= 3
    untrained = train(steps=1).generator.sample(64, Rng(7)).mean((1, 2)).sort(dim=1).values
    assert untrained[:, :4].mean() > -0.5
    assert all(t.shape == (300,) and torch.isfinite(t).all() for t in trained.losses.values())


def test_what_it_hands_over_is_at_rest_and_says_how_it_was_made() -> None:
    generator = train().generator
    assert not generator.module.training and not any(p.requires_grad for p in generator.module.parameters())
    assert json.loads(generator.metadata["genvet.training"])["steps"] == 3
    assert all(m.momentum == 0.01 for m in generator.module.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_colour_images_of_another_size_get_a_network_of_their_own() -> None:
    x = torch.rand(20, 3, 12, 12, generator=Rng(0, "colours").block()) * 2 - 1
    trained = Adversarial(steps=2, batch=4, capacity=2, latent=4)(Given(Images(x, ("",) * 20)), Rng(0))
    assert trained.generator.shape == (3, 12, 12) and trained.generator.sample(2, Rng(0)).shape == (2, 3, 12, 12)


def test_images_of_an_impossible_shape_are_refused() -> None:
    with pytest.raises(BadInput, match="multiple of 4"):
        Adversarial(steps=1)(Given(Images(torch.zeros(4, 1, 8, 10), ("",) * 4)), Rng())


def test_without_decay_and_at_the_usual_dropout_the_regularised_recipe_is_the_plain_one() -> None:
    images = Images(torch.rand(24, 1, 8, 8, generator=torch.manual_seed(2)) * 2 - 1, ("",) * 24)
    knobs: dict[str, Any] = {"steps": 3, "batch": 8, "capacity": 2, "latent": 4}
    plain, same = Adversarial(**knobs)(Given(images), Rng(1)), Regularised(**knobs)(Given(images), Rng(1))
    other = Regularised(**knobs, decay=0.5)(Given(images), Rng(1))
    for key, weight in plain.generator.module.state_dict().items():
        assert torch.equal(weight, same.generator.module.state_dict()[key]), key
    assert other.critic is not None and plain.critic is not None
    assert not torch.equal(other.critic.conv1.weight, plain.critic.conv1.weight)  # type: ignore[union-attr]
