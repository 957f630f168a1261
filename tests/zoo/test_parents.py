"""Parents: trained once as `genvet train` would, taken as they are where they are there, refused where they differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from genvet.cli.app import run
from genvet.core.errors import BadInput
from genvet.files.load import read
from genvet.zoo.parents import Parent, made, root


@pytest.mark.parametrize("net", ["dcgan", "vae"])
def test_a_parent_is_what_the_command_trains(net: str, data: Path, tmp_path: Path) -> None:
    parent = Parent(data="mnist", net=net, seed=3, steps=2, batch=8, capacity=2, latent=4, rate=1e-3)
    folder = made(parent, data, tmp_path)
    flags = "--seed 3 --steps 2 --batch 8 --capacity 2 --latent 4 --rate 1e-3".split()
    source = data / "mnist" / "train-images-idx3-ubyte.gz"
    assert run(["train", net, "--data", str(source), "--out", str(tmp_path / "cli"), *flags]) == 0
    for name in parent.files:
        ours, theirs = (read(place / name).metadata for place in (folder, tmp_path / "cli"))
        for key in ("genvet.tensors", "genvet.training", "genvet.data"):
            assert ours[key] == theirs[key], (name, key)


def test_what_is_there_is_not_trained_again_and_not_mistaken(data: Path, tmp_path: Path) -> None:
    parent = Parent(data="mnist", net="vae", steps=2, batch=8, capacity=2, latent=4)
    folder = made(parent, data, tmp_path)
    before = (folder / "generator.safetensors").stat().st_mtime_ns
    assert made(parent, Path("/no/data"), tmp_path) == folder
    assert (folder / "generator.safetensors").stat().st_mtime_ns == before
    other = parent.model_copy(update={"steps": 3})
    assert other.name != parent.name
    folder.rename(tmp_path / other.name)
    with pytest.raises(BadInput, match="expected steps 3; got steps 2"):
        made(other, data, tmp_path)


def test_the_usual_recipe_has_the_plain_name() -> None:
    assert Parent(data="fashion_mnist", net="dcgan", seed=4).name == "fashion_mnist-dcgan-4"
    assert Parent(data="mnist", net="dcgan", capacity=64, steps=20_000).name == "mnist-dcgan-1-steps20000-capacity64"


def test_a_missing_data_root_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GENVET_DATA", raising=False)
    with pytest.raises(BadInput, match="GENVET_DATA"):
        root(None)
    monkeypatch.setenv("GENVET_DATA", str(tmp_path))
    with pytest.raises(BadInput, match="train-images"):
        made(Parent(data="mnist", net="dcgan"), root(None), tmp_path)
