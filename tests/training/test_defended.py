"""Classifiers trained against inversion: each defence does what it says, and costs what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from genvet.cli.train import recipe_for
from genvet.cli.training_report import measures, of_accuracy
from genvet.core.data import Labelled
from genvet.core.rng import Rng
from genvet.files.classifiers import load_classifier, save_classifier
from genvet.maths.dependency import dependency, gaussian, linear
from genvet.training.bido import BiDO, Forgetting
from genvet.training.checkpoints import Folder, kept_by
from genvet.training.classifier import Given, Supervised
from genvet.training.mid import MID
from genvet.training.robust import Robust, moved
from genvet.training.supervision import Lessons

KNOBS: dict[str, Any] = {"steps": 100, "batch": 64, "capacity": 4, "rate": 1e-2, "average": 0.8, "held_out": 0.2}


def digits() -> Labelled:
    bunch = load_digits()
    x, labels = torch.from_numpy(bunch.images).float()[:, None] / 8 - 1, torch.from_numpy(bunch.target)
    return Labelled(x, ("",) * len(x), labels=labels, classes=tuple("0123456789"))


def train(recipe: Any, **knobs: Any) -> Any:
    return recipe.model_validate({**KNOBS, **knobs})(Given(digits()), Rng(0))


def test_less_passes_a_narrower_bottleneck(tmp_path: Path) -> None:
    loose, tight = train(MID, beta=1e-4, bottleneck=8), train(MID, beta=0.3, bottleneck=8)
    assert tight.losses["nats"][-20:].mean() < 0.5 * loose.losses["nats"][-20:].mean()
    assert loose.record["accuracy"] > 0.75 and tight.record["accuracy"] > 0.2
    x = digits().x[:9]
    save_classifier(tight.classifier, tmp_path / "c.safetensors")
    again = load_classifier(tmp_path / "c.safetensors")
    assert again.features(x).shape == (9, 8) and torch.equal(again(x), tight.classifier(x))
    assert torch.equal(again(x), again(x))  # its mean answers, without noise


def test_a_bottleneck_is_resumed_with_what_is_left_behind(tmp_path: Path) -> None:
    whole = train(MID, steps=6)
    with kept_by(Folder(tmp_path, every=3)):
        train(MID, steps=3)
        again = train(MID, steps=6)
    assert torch.equal(whole.losses["nats"], again.losses["nats"])


def test_dependency_is_the_trace_of_the_definition() -> None:
    x, y = torch.randn(12, 5, generator=Rng(0).block()).double(), torch.randn(12, 3, generator=Rng(1).block()).double()
    centring = torch.eye(12).double() - 1 / 12
    parts = [centring @ k @ centring for k in (gaussian(x), linear(y))]
    slow = [k @ torch.linalg.inv(k + 1e-5 * 12 * torch.eye(12).double()) for k in parts]
    assert torch.allclose(dependency(gaussian(x), linear(y)), (slow[0] @ slow[1]).trace())
    assert torch.allclose(gaussian(x)[2, 3], (-(x[2] - x[3]).square().sum() / (2 * 25 * 5)).exp())
    alike, apart = dependency(linear(y), linear(y * 2)), dependency(linear(y), linear(x[:, :1]))
    assert alike > 2.9 > 1 > apart >= 0


def test_layers_forget_the_image_where_that_is_asked_for() -> None:
    data = digits()

    def kept(**knobs: Any) -> tuple[float, float]:
        trained = train(BiDO, steps=150, **knobs)
        x, labels = data.x[:64], data.labels[:64]
        hidden = gaussian(trained.classifier.features(x))
        kinds = linear(F.one_hot(labels, 10).float())
        return float(dependency(gaussian(x), hidden)), float(dependency(hidden, kinds))

    plain, defended = kept(forget=0.0, keep=0.0), kept(forget=0.3, keep=3.0)
    assert defended[0] < plain[0] - 2 and defended[1] > 0.8 * plain[1]


def test_a_layer_of_every_family_is_looked_at() -> None:
    data = digits()
    for family, layers in {"cnn": 5, "resnet": 4, "vgg": 2, "allconv": 2, "mixer": 5}.items():
        recipe = BiDO(steps=1, batch=8, capacity=2, family=family)  # type: ignore[arg-type]
        pupil = recipe.pupil(recipe.fresh(data), Lessons(data.x, data.labels, torch.arange(9)), Rng(0))
        assert isinstance(pupil, Forgetting)
        scores, hidden = pupil.seen_through(data.x[:3])
        assert scores.shape == (3, 10) and len(hidden) == layers, (family, len(hidden))


def test_images_moved_against_it_stay_near_and_hurt_less() -> None:
    data = digits()
    plain = train(Supervised, steps=150).classifier
    robust = train(Robust, steps=150, epsilon=0.25, moves=3)
    x, labels = data.x[:200], data.labels[:200]
    before = x.clone()
    worst = moved(plain.module, x, labels, 0.25, 5, torch.zeros_like(x))
    assert torch.equal(x, before) and (worst - x).abs().max() <= 0.2501 and worst.abs().max() <= 1
    hurt = plain.accuracy(x, labels) - plain.accuracy(worst, labels)
    again = moved(robust.classifier.module, x, labels, 0.25, 5, torch.zeros_like(x))
    resisted = robust.classifier.accuracy(x, labels) - robust.classifier.accuracy(again, labels)
    assert hurt > 0.2 and resisted < 0.7 * hurt
    assert 0 < robust.record["robust_accuracy"] <= robust.record["accuracy"]


def test_the_usual_recipe_of_a_classifier_is_the_plain_one() -> None:
    assert recipe_for("classifier").name() == "classifier" and recipe_for("classifier", "mid").name() == "mid"


def test_the_report_tells_what_was_asked_for_and_what_was_reached() -> None:
    trained = train(Robust, steps=2, utility=1.0, moves=1)
    found = {m.name: m for m in measures(trained)}
    assert found["accuracy"].low is not None and found["accuracy"].low <= (found["accuracy"].value or 0)
    assert found["utility"].note.endswith("not reached") and found["robust-accuracy"].value is not None
    assert "1.0 was asked for" in of_accuracy(trained.record)


@pytest.mark.parametrize(("utility", "reached"), [(0.3, True), (1.0, False)])
def test_a_stated_utility_is_told_apart_from_a_missed_one(utility: float, reached: bool) -> None:
    assert train(Supervised, utility=utility).record["reached"] is reached
