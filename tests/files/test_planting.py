"""Canaries join the data by coins, and what is written down is what an audit of epsilon takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from command import findings, run

from genvet.core.data import Images, Labelled
from genvet.core.rng import Rng
from genvet.files.images import load_images
from genvet.files.planting import with_canaries
from genvet.files.sounds import write_wav
from genvet.files.splits import load_split

IMAGES = torch.zeros(5, 1, 8, 8)


def test_about_half_join_and_all_are_told() -> None:
    images, split = with_canaries(Images(IMAGES, tuple("abcde")), 200, Rng(3))
    assert torch.equal(images.x[:5], IMAGES) and torch.equal(images.x[5:], split.members.x)
    assert images.names == (*"abcde", *split.members.names) and len(set(images.names)) == len(images)
    assert len(split.members) + len(split.non_members) == 200 and 70 < len(split.members) < 130
    assert set(torch.cat([split.members.x, split.non_members.x]).unique().tolist()) == {-1.0, 1.0}
    again, _ = with_canaries(Images(IMAGES, tuple("abcde")), 200, Rng(3))
    assert torch.equal(again.x, images.x), "a training that goes on has the same canaries"


def test_canaries_among_labelled_images_have_labels() -> None:
    labels = torch.tensor([0, 1, 2, 0, 1])
    images, split = with_canaries(Labelled(IMAGES, tuple("abcde"), labels=labels, classes=tuple("xyz")), 90, Rng(0))
    assert torch.equal(images.labels[:5], labels) and len(images.labels) == 5 + len(split.members)
    assert set(images.labels[5:].tolist()) == {0, 1, 2}


def test_from_training_to_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", images=np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8))
    knobs = "--epsilon 3 --delta 0.001 --steps 1 --batch 8 --capacity 2 --latent 4 --device cpu --out t".split()
    assert run("train", "dcgan", "--data", "data.npz", "--canaries", "40", *knobs) == 0
    split = load_split("t/canaries.npz")
    assert f"canaries: {len(split.members)} of 40 take part" in capsys.readouterr().err
    images, planted = with_canaries(load_images("data.npz"), 40, Rng(0).fork("canaries"))
    assert torch.equal(split.members.x, planted.members.x) and len(images) == 30 + len(split.members)
    audit = ["attack", "epsilon", "t/generator.safetensors", "--critic", "t/critic.safetensors"]
    assert run(*audit, "--split", "t/canaries.npz", "--claimed", "3", "--samples", "50", "--out", "a") == 0
    assert findings(tmp_path / "a")[0]["technique"] == "membership.epsilon"


def test_sounds_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sounds").mkdir()
    write_wav(torch.zeros(1, 400), Path("sounds/one.wav"), 16_000)
    assert run("train", "wavegan", "--data", "sounds", "--canaries", "4", "--out", "t") == 2
    assert "have no canaries" in capsys.readouterr().err
