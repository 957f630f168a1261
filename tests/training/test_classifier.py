"""A classifier learns digits, is measured on what it never saw, and labels are found wherever they lie."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from genvet.cli import main
from genvet.core.data import Labelled
from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.core.technique import TrainedClassifier
from genvet.files.classifiers import load_classifier
from genvet.files.labelled import load_labelled
from genvet.files.load import load
from genvet.training.checkpoints import Folder, kept_by
from genvet.training.classifier import Given, Supervised

KNOBS = {"steps": 150, "batch": 64, "capacity": 8, "rate": 5e-3, "average": 0.9, "held_out": 0.2}


def digits() -> Labelled:
    bunch = load_digits()
    x, labels = torch.from_numpy(bunch.images).float()[:, None] / 8 - 1, torch.from_numpy(bunch.target)
    return Labelled(x, ("",) * len(x), labels=labels, classes=tuple("0123456789"))


def train(data: Labelled, **knobs: float) -> TrainedClassifier:
    return Supervised.model_validate({**KNOBS, **knobs})(Given(data), Rng(0))


def test_it_learns_digits_and_nothing_from_shuffled_labels() -> None:
    data = digits()
    trained = train(data)
    assert trained.record["measured_on"] == 359 and 0.93 < trained.record["accuracy"] <= 1
    assert torch.allclose(trained.classifier(data.x[:9]).sum(1), torch.ones(9))
    assert trained.classifier.features(data.x[:9]).shape == (9, 32)
    shuffled = data.labels[torch.randperm(len(data), generator=torch.manual_seed(0))]
    assert train(Labelled(data.x, data.names, labels=shuffled, classes=data.classes)).record["accuracy"] < 0.3


def test_other_labels_are_another_run(tmp_path: Path) -> None:
    data = digits()
    with kept_by(Folder(tmp_path)):
        train(data, steps=2)
        with pytest.raises(BadInput, match="by its data"):
            train(Labelled(data.x, data.names, labels=9 - data.labels, classes=data.classes), steps=2)


def write_idx(path: Path, array: np.ndarray) -> None:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes()))


def test_labels_are_found_beside_within_and_above(tmp_path: Path) -> None:
    x, y = (load_digits().images[:40] * 15).astype(np.uint8), load_digits().target[:40] + 3
    write_idx(tmp_path / "a-images-idx3-ubyte.gz", x)
    write_idx(tmp_path / "a-labels-idx1-ubyte.gz", y)
    np.savez(tmp_path / "b.npz", images=x, subject=y)
    for i, (picture, label) in enumerate(zip(x, y, strict=True)):
        (tmp_path / "c" / f"{label:02d}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "c" / f"{label:02d}" / f"{i}.png")
    for name in ("a-images-idx3-ubyte.gz", "b.npz"):
        found, some = load_labelled(tmp_path / name), load_labelled(f"{tmp_path / name}#5:9")
        assert found.classes == some.classes == tuple(str(n) for n in range(3, 13))
        assert found.labels.tolist() == (y - 3).tolist() and some.labels.tolist() == (y[5:9] - 3).tolist()
        assert torch.equal(found.x[5:9], some.x)
    folder = load_labelled(tmp_path / "c")
    assert folder.classes == tuple(f"{n:02d}" for n in range(3, 13))
    assert sorted(folder.labels.tolist()) == sorted((y - 3).tolist()) and len(folder) == 40


def test_labels_that_are_missing_or_too_few_are_told(tmp_path: Path) -> None:
    x = np.zeros((6, 8, 8), np.uint8)
    np.savez(tmp_path / "none.npz", images=x)
    np.savez(tmp_path / "few.npz", images=x, y=np.zeros(5, np.int64))
    np.savez(tmp_path / "real.npz", images=x, y=np.zeros(6))
    write_idx(tmp_path / "images-idx3-ubyte", x)
    for name, said in [
        ("none.npz", "no labels come with"),
        ("few.npz", "expected 6 whole numbers"),
        ("real.npz", "expected 6 whole numbers; got float64"),
        ("images-idx3-ubyte", "there is no"),
    ]:
        with pytest.raises(BadInput, match=said):
            load_labelled(tmp_path / name)


def test_the_command_writes_a_classifier_that_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bunch = load_digits()
    np.savez("digits.npz", images=(bunch.images * 15).astype(np.uint8), labels=bunch.target)
    words = "train classifier --data digits.npz --steps 30 --capacity 4 --rate 0.01 --average 0.5 --device cpu --out o"
    with pytest.raises(SystemExit) as stop:
        main(words.split())
    assert stop.value.code == 0
    x = load_labelled("digits.npz")
    classifier = load_classifier("o/classifier.safetensors")
    assert classifier.classes == tuple("0123456789") and classifier.accuracy(x.x, x.labels) > 0.5
    assert list(load("o/classifier.safetensors").not_generators.values()) == [
        "a classifier: images of 1 channel -> 10 scores"
    ]
    with pytest.raises(BadInput, match="is no classifier; expected"):
        load_classifier("o/resume/state.safetensors")
