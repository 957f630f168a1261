"""Families of classifiers, what a few drawings a class need, and the null control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits

from genvet.core.data import Labelled
from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.core.technique import TrainedClassifier
from genvet.files.classifiers import load_classifier, save_classifier
from genvet.files.load import load
from genvet.nets import classifiers
from genvet.training.checkpoints import Folder, kept_by
from genvet.training.classifier import Given, Supervised
from genvet.training.supervision import parted, smoothed

KNOBS: dict[str, Any] = {"steps": 80, "batch": 64, "capacity": 4, "rate": 5e-3, "average": 0.8, "held_out": 0.2}
FAMILIES = ("resnet", "vgg", "allconv", "mixer")


def digits(n: int = 1797) -> Labelled:
    bunch = load_digits()
    x, labels = torch.from_numpy(bunch.images[:n]).float()[:, None] / 8 - 1, torch.from_numpy(bunch.target[:n])
    return Labelled(x, ("",) * len(x), labels=labels, classes=tuple("0123456789"))


def train(data: Labelled, **knobs: Any) -> TrainedClassifier:
    return Supervised.model_validate({**KNOBS, **knobs})(Given(data), Rng(0))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_learns_and_is_read_back(family: str, tmp_path: Path) -> None:
    data = digits()
    trained = train(data, family=family)
    assert 0.85 < trained.record["accuracy_low"] < trained.record["accuracy"] < trained.record["accuracy_high"] <= 1
    assert 0.1 < trained.record["chance"] < 0.15
    path = tmp_path / "classifier.safetensors"
    save_classifier(trained.classifier, path)
    again = load_classifier(path)
    assert classifiers.family_of(again) == family and torch.equal(again(data.x[:9]), trained.classifier(data.x[:9]))
    assert load(path).generators == {}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [4, 28, 33, 64])
def test_every_family_takes_every_size(family: Any, size: int) -> None:
    fresh = classifiers.build("abc", 2, size, 3, family)
    x = torch.zeros(2, 3, size, size, requires_grad=True)
    assert fresh(x).shape == (2, 3) and fresh.features(x).ndim == 2
    fresh.logits(x).sum().backward()
    assert x.grad is not None and any(isinstance(m, torch.nn.BatchNorm2d) for m in fresh.module.modules()) is (
        family in ("resnet", "vgg")
    )


def test_batch_norms_have_the_moments_of_the_images() -> None:
    data = digits(200)
    trained = train(data, steps=3, family="resnet", average=0.0)
    features: Any = trained.classifier.module.features
    _, seen = parted(data.labels, 0.2, "random", Rng(0))
    maps = features.conv(data.x[seen])
    assert torch.allclose(features.norm.running_mean, maps.mean((0, 2, 3)), atol=1e-5)


def test_each_class_keeps_some_and_the_last_are_the_last() -> None:
    labels = torch.tensor([0] * 20 + [1] * 20 + [2] * 2 + [3])
    for split in ("each", "last"):
        unseen, seen = parted(labels, 0.3, split, Rng(0))
        assert labels[unseen].bincount(minlength=4).tolist() == [6, 6, 1, 0]
        assert sorted([*unseen.tolist(), *seen.tolist()]) == list(range(43))
    assert parted(labels, 0.3, "last", Rng(0))[0].tolist() == [*range(14, 20), *range(34, 40), 41]
    assert not torch.equal(parted(labels, 0.3, "each", Rng(0))[0], parted(labels, 0.3, "each", Rng(1))[0])
    with pytest.raises(BadInput, match="too few images"):
        parted(torch.tensor([0, 1]), 0.5, "each", Rng(0))


def test_shuffled_labels_teach_nothing_and_keep_their_counts() -> None:
    data = digits()
    record = train(data, shuffled=True).record
    assert record["accuracy_low"] < 0.15 and record["shuffled"] is True
    assert train(data, family="resnet").record["accuracy"] > 0.85  # which the same steps reach with the true ones


def test_smoothing_is_torchs_above_zero_and_drives_others_down_below() -> None:
    scores, labels = torch.randn(6, 4, generator=Rng(0).block()), torch.tensor([0, 1, 2, 3, 0, 1])
    expected = torch.nn.functional.cross_entropy(scores, labels, label_smoothing=0.2)
    assert torch.allclose(smoothed(scores, labels, 0.2), expected)
    data = digits()
    plain, hard = (train(data, smoothing=s).classifier.logits(data.x).log_softmax(1) for s in (0.0, -0.2))
    assert hard.min(1).values.mean() < plain.min(1).values.mean() - 1


def test_changed_images_are_resumed_to_the_same_bit(tmp_path: Path) -> None:
    data, knobs = digits(100), {"family": "vgg", "shift": 0.1, "turn": 10, "zoom": 0.1, "mirror": True, "decay": 0.1}
    whole = train(data, steps=6, **knobs)
    with kept_by(Folder(tmp_path, every=3)):
        train(data, steps=3, **knobs)
        again = train(data, steps=6, **knobs)
    states = whole.classifier.module.state_dict(), again.classifier.module.state_dict()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert whole.losses["classifier"][0] != train(data, steps=1, family="vgg").losses["classifier"][0]


def test_claims_of_a_file_are_compared_before_anything_is_made(tmp_path: Path) -> None:
    fresh = classifiers.build("ab", 2, 8, 1, "vgg")
    huge = fresh.metadata["genvet.classifier"].replace('"size": 8', '"size": 1024')
    path = tmp_path / "c.safetensors"
    save_classifier(fresh, path)
    assert load_classifier(path).shape == (1, 8, 8)
    object.__setattr__(fresh, "metadata", {"genvet.classifier": huge.replace('"capacity": 2', '"capacity": 1024')})
    save_classifier(fresh, path)
    with pytest.raises(BadInput, match="no classifier that GenVet wrote"):
        load_classifier(path)
