"""Data that are parted by persons: nobody is on both sides, and the split that is written says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command import run
from PIL import Image

from genvet.core.data import Images, Labelled
from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.files.convert import load_saved
from genvet.files.holding_out import hold_out
from genvet.files.images import load_images
from genvet.files.splits import load_split

PERSONS = np.repeat(np.arange(8), (3, 9, 5, 6, 4, 7, 8, 6))


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """48 pictures of 8 persons, no two alike."""
    x = np.random.default_rng(0).integers(0, 256, (len(PERSONS), 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "faces.npz", images=x, subject=PERSONS)
    return tmp_path / "faces.npz"


def parted(path: Path, by: str = "person", share: float = 0.4, seed: int = 0) -> tuple[Images, Images]:
    split = hold_out(load_images(path), path, share, by, Rng(seed))  # type: ignore[arg-type]
    return split.members, split.non_members


def test_whole_persons_are_held_out_and_single_records_where_nobody_asks(faces: Path) -> None:
    who = {f"faces.npz#{i}": int(p) for i, p in enumerate(PERSONS)}
    inside, outside = ({who[name] for name in images.names} for images in parted(faces))
    assert not inside & outside and len(inside) + len(outside) == 8
    ones, others = parted(faces)
    assert len(ones) + len(others) == 48 and 0.4 * 48 <= len(others) <= 0.4 * 48 + 9
    assert parted(faces, seed=1)[1].names != others.names and parted(faces)[1].names == others.names
    inside, outside = ({who[name] for name in images.names} for images in parted(faces, "record"))
    assert inside & outside and len(parted(faces, "record")[1]) == 20
    sliced = Path(f"{faces}#0:12")  # two persons
    assert {who[name] for name in parted(sliced)[1].names} in ({0}, {1})
    with pytest.raises(BadInput, match="all of it is one person"):
        parted(Path(f"{faces}#0:3"))


def test_a_folder_may_be_a_person_and_labels_stay_with_their_records(tmp_path: Path, faces: Path) -> None:
    for person in ("anna", "bob", "carl"):
        (tmp_path / "people" / person).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(np.full((8, 8), 20 * len(person) + i, dtype=np.uint8)).save(
                tmp_path / f"people/{person}/{i}.png"
            )
    ones, others = parted(tmp_path / "people", "folder")
    assert not {n.partition("/")[0] for n in ones.names} & {n.partition("/")[0] for n in others.names}
    images = load_images(faces)
    labelled = Labelled(images.x, images.names, labels=torch.from_numpy(PERSONS), classes=tuple("abcdefgh"))
    split = hold_out(labelled, faces, 0.4, "person", Rng(0))
    assert isinstance(split.members, Labelled) and split.people is not None
    assert torch.equal(split.members.labels, split.people[0]) and len(split.members.labels) == len(split.members)


def test_from_training_to_attack(
    faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a training holds out is what an attack on it takes for non-members; persons of both sides may go."""
    monkeypatch.chdir(faces.parent)
    knobs = "--steps 2 --batch 4 --capacity 2 --latent 4 --device cpu --out t".split()
    assert run("train", "dcgan", "--data", "faces.npz", "--hold-out", "0.5", *knobs) == 0
    assert "held out: " in capsys.readouterr().err
    split = load_split("t/split.npz")
    assert split.people is not None and not set(split.people[0].tolist()) & set(split.people[1].tolist())
    whole, kept = load_images(faces).x, torch.cat([split.members.x, split.non_members.x])
    assert torch.equal(whole.flatten(1).sum(1).sort().values, kept.flatten(1).sum(1).sort().values)
    record = json.loads(load_saved("t/generator.safetensors").metadata["genvet.data"])
    assert record["count"] == len(split.members) < 48
    attack = ("attack", "nearest", "t/generator.safetensors", "--samples", "50", "--split")
    assert run(*attack, "t/split.npz", "--persons", "apart", "--out", "a") == 0
    mixed = np.arange(48) % 2 == 0
    mixed[PERSONS == 7] = False  # the only one of whom no picture was learned
    np.savez("mixed.npz", images=np.load(faces)["images"], subject=PERSONS, member=mixed)
    assert run(*attack, "mixed.npz", "--persons", "apart", "--out", "b", "--json") == 0
    assert "With 21 and 6 records" in capsys.readouterr().out
    np.savez("nobody.npz", images=np.load(faces)["images"], member=mixed)
    assert run(*attack, "nobody.npz", "--persons", "apart", "--out", "c") == 2
    assert "nobody says whom the records show" in capsys.readouterr().err
