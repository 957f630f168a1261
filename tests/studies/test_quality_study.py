"""The quality study tells a good generator from a bad one, and real from real it finds no difference."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from genvet.core.data import Images, Labelled
from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.engine import assess
from genvet.nets.classifiers import build
from genvet.nets.random_features import random_features
from genvet.studies.quality import Given, Quality
from genvet.training.classifier import Given as Given_
from genvet.training.classifier import Supervised


def digits() -> torch.Tensor:
    """Shuffled: they come writer by writer."""
    x = torch.from_numpy(load_digits().images).float()[:, None] / 8 - 1
    return x[torch.randperm(len(x), generator=Rng(0, "shuffled").block())]


class Replay(nn.Module):
    """Gives digits of a list, by z, with some noise."""

    def __init__(self, x: torch.Tensor, noise: float) -> None:
        super().__init__()
        self.x, self.noise = x, noise

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        picked = self.x[(z[:, 0].abs() * 1e4).long() % len(self.x)]
        return (picked + self.noise * z[:, 1:].reshape(-1, 1, 8, 8)).clamp(-1, 1)


def measured(x: torch.Tensor, noise: float, given: Given) -> dict[str, float]:
    generator = Generator(module=Replay(x, noise), latent=Latent(65), shape=(1, 8, 8), name="replay")
    finding = assess(Quality(samples=400), generator, given)
    assert finding.access == "Samples" and finding.queries == 400 and given.reference.names is not None
    return {m.name: m.value for m in finding.measures if m.value is not None}


@pytest.mark.parametrize("space", ["random-conv-1", "classifier"])
def test_noise_costs_precision_and_collapse_costs_recall(space: str) -> None:
    x = digits()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = build("0123456789", 8, 8) if space == "classifier" else None
    given = Given(Images(x[:900], ("",) * 900), classifier)
    good, noisy, narrow = (
        measured(x[900:], 0.0, given),
        measured(x[900:], 0.8, given),
        measured(x[900:905], 0.01, given),
    )
    assert good["frechet"] < 2.5 * good["frechet.real"] and good["precision"] > good["precision.real"] - 0.12
    for bad in (noisy, narrow):
        assert bad["frechet"] > 3 * good["frechet"] and bad["kernel"] > 5 * abs(good["kernel.real"])
        assert bad["frechet.real"] == good["frechet.real"]  # the floor does not depend on the generator
    assert noisy["precision"] < good["precision"] - 0.3 and narrow["recall"] < 0.3 < good["recall"]
    assert ("class-score" in good) == (space == "classifier")


def test_the_class_score_falls_where_classes_are_missing() -> None:
    x, labels = digits(), torch.from_numpy(load_digits().target)
    labels = labels[torch.randperm(len(labels), generator=Rng(0, "shuffled").block())]
    given = Labelled(x, ("",) * len(x), labels=labels, classes=tuple("0123456789"))
    classifier = Supervised(steps=250, batch=64, capacity=4, rate=5e-3, average=0.9)(Given_(given), Rng(1)).classifier
    reference = Given(Images(x[:900], ("",) * 900), classifier)
    whole, fours = measured(x[900:], 0.0, reference), measured(x[labels == 4], 0.0, reference)
    assert whole["class-score"] > 0.9 * whole["class-score.real"] > 5
    assert 1 <= fours["class-score"] < 0.5 * whole["class-score"]


def test_the_random_space_is_always_the_same_and_takes_sounds_and_colours() -> None:
    x = torch.linspace(-1, 1, 3 * 3 * 16 * 16).reshape(3, 3, 16, 16)
    torch.manual_seed(7)
    first = random_features(x)
    assert first.shape == (3, 128) and torch.equal(first, random_features(x))
    assert random_features(torch.sin(torch.arange(4096.0) / 9).expand(2, 1, -1)).shape == (2, 128)
    assert random_features(x[:, :1, :4, :4]).shape == (3, 128)
    assert torch.allclose(first, random_features(x, batch=1), atol=1e-5)


def test_too_few_real_samples_are_told() -> None:
    few = Given(Images(digits()[:30], ("",) * 30))
    generator = Generator(module=Replay(digits(), 0.0), latent=Latent(65), shape=(1, 8, 8), name="replay")
    with pytest.raises(Unsupported, match="30 real samples are too few"):
        Quality()(generator, few, Rng())
