"""`genvet train`: data in, networks out that say where they come from, and no work lost."""

from __future__ import annotations

import json
import os
import re
import signal
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genvet.cli import main
from genvet.cli.app import build
from genvet.files.convert import load_saved, tensor_hash
from genvet.files.images import load_images
from genvet.files.load import load
from genvet.files.sounds import write_wav
from genvet.files.tensors import tensors
from genvet.training.adversarial import Adversarial, Duel

Run = Callable[..., tuple[int, str]]
SMALL = "--steps 5 --batch 8 --capacity 2 --latent 4 --every 2 --seed 3 --device cpu".split()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in a folder that holds data.npz: exit code, and stderr."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    np.savez("data.npz", images=x)

    def call(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert isinstance(stop.value.code, int)
        said = capsys.readouterr()
        assert not said.out
        return stop.value.code, said.err

    return call


def test_networks_come_out_with_their_record_and_are_read_back(run: Run) -> None:
    code, err = run("train", "dcgan", "--data", "data.npz", *SMALL)
    out = Path("genvet-train-dcgan")
    assert code == 0 and "step 4: generator" in err and str(out / "critic.safetensors") in err
    assert sorted(p.name for p in (out / "samples").rglob("*.png")) == ["0000002.png", "0000004.png", "0000005.png"]
    with Image.open(out / "samples" / "0000005.png") as picture:
        assert picture.width >= 8 * 8
    file = load(out / "generator.safetensors")
    generator = load_saved(out / "generator.safetensors")
    assert (generator.name, generator.shape, generator.latent.dim) == ("dcgan", (1, 8, 8), 4)
    told, data = json.loads(file.metadata["genvet.training"]), json.loads(file.metadata["genvet.data"])
    x = load_images("data.npz").x
    assert (
        told["recipe"] == "adversarial" and told["capacity"] == 2 and told["data"] == f"sha256:{tensor_hash({'x': x})}"
    )
    assert data == {"name": "data.npz", "count": 60, "shape": [1, 8, 8]}
    quality = json.loads(file.metadata["genvet.quality"])
    assert quality["space"] == "random-conv-1" and quality["n"] == 30 and f"frechet {quality['frechet'][0]:.3g}" in err
    assert quality["frechet"][0] > 2 * quality["frechet.real"][2]
    report, page = json.loads((out / "report.json").read_text()), (out / "report.html").read_text()
    trained, quality = report["findings"]
    assert trained["technique"] == "adversarial" and "5 steps" in report["verdict"]["behaviour"]
    assert [f["title"] for f in trained["figures"]] == ["Losses", "Samples"] and (
        out / trained["figures"][1]["file"]
    ).exists()
    assert len(trained["figures"][0]["data"]["series"]["critic"][0]) == 5
    assert "A network was trained" in page and "frechet.real" in {m["name"] for m in quality["measures"]}
    critic = load(out / "critic.safetensors")
    assert not critic.generators and "critic" in next(iter(critic.not_generators.values()))


def test_ctrl_c_keeps_a_checkpoint_and_the_same_command_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("train", "dcgan", "--data", "data.npz", *SMALL, "--out", "whole")[0] == 0

    def interrupted(duel: Duel, number: int) -> dict[str, torch.Tensor]:
        if number == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return step(duel, number)

    step, handler = Duel.step, signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Duel, "step", interrupted)
    words = ("train", "dcgan", "--data", "data.npz", *SMALL, "--out", "cut")
    code, err = run(*words)
    assert (
        code == 2 and "holds step 3; the same command goes on" in err and not Path("cut/generator.safetensors").exists()
    )
    assert signal.getsignal(signal.SIGINT) is handler
    monkeypatch.setattr(Duel, "step", step)
    assert run(*words)[0] == 0
    for name in ("generator", "critic", "resume/state"):
        cut, whole = (load(f"{folder}/{name}.safetensors") for folder in ("cut", "whole"))
        assert cut.metadata == whole.metadata, name
        states = [tensors(file.parts[0], file.storages) for file in (cut, whole)]
        assert tensor_hash(states[0]) == tensor_hash(states[1]), name


def test_a_diverging_run_keeps_its_last_good_checkpoint(run: Run) -> None:
    words = "train vae --data data.npz --capacity 2 --latent 4 --every 2 --batch 4 --out o".split()
    code, err = run(*words, "--steps", "60", "--rate", "1")
    found = re.search(r"diverged at step (\d+): .* the checkpoint of step (\d+) is kept", " ".join(err.split()))
    assert code == 2 and found and 0 < int(found[2]) < int(found[1]) and not Path("o/generator.safetensors").exists()
    assert int(json.loads(load("o/resume/state.safetensors").metadata["genvet.resume"])["step"]) == int(found[2])
    assert run(*words, "--rate", "0.001", "--steps", found[1])[0] == 0 and Path("o/generator.safetensors").exists()


def test_a_slice_of_a_folder_will_do(run: Run) -> None:
    Path("pictures").mkdir()
    for i, x in enumerate(np.load("data.npz")["images"]):
        Image.fromarray(x).save(f"pictures/{i:02d}.png")
    assert run("train", "dcgan", "--data", "pictures#5:15", *SMALL, "--out", "o")[0] == 0
    metadata = load("o/generator.safetensors").metadata
    assert json.loads(metadata["genvet.data"])["count"] == 10 and "genvet.quality" not in metadata


def test_quality_is_measured_against_what_was_held_out(run: Run) -> None:
    np.savez("other.npz", images=np.zeros((44, 8, 8), np.uint8))
    words = ("train", "dcgan", "--data", "data.npz", *SMALL, "--reference", "other.npz", "--out", "o")
    assert run(*words)[0] == 0
    told = json.loads(load("o/generator.safetensors").metadata["genvet.quality"])
    assert told["reference"] == "other.npz" and told["n"] == 22 and abs(told["frechet.real"][0]) < 1e-6


def test_sounds_are_heard_at_the_rate_of_the_data(run: Run) -> None:
    Path("drums").mkdir()
    for i in range(6):
        write_wav(torch.sin(torch.arange(1024) / (i + 3)), f"drums/{i}.wav", 8000)
    small = "--steps 1 --batch 2 --capacity 1 --latent 4 --length 1024 --taps 8 --critic-steps 1 --device cpu".split()
    assert run("train", "wavegan", "--data", "drums", *small, "--out", "o")[0] == 0
    assert load_saved("o/generator.safetensors").rate == 8000
    assert run("sample", "o/generator.safetensors", "--count", "1", "--out", "one.wav")[0] == 0
    target = ("--targets", "drums/0.wav", "--samples", "2", "--steps", "1", "--out", "p")
    assert run("attack", "red", "o/generator.safetensors", *target)[0] == 0
    found = [*Path("o").rglob("*.wav"), *Path("p").rglob("*.wav"), Path("one.wav")]
    assert len(found) >= 6 and {wave.open(str(path)).getframerate() for path in found} == {8000}
    assert load_saved("p/planted.safetensors").rate == 8000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("dcgan", "--data", "none.npz"), "there is no none.npz"),
        (("dcgan", "--data", "flat.npz"), "expected (n, channels, side, side)"),
        (("dcgna", "--data", "data.npz"), "no recipe trains 'dcgna'; expected"),
        (("dcgan", "--data", "data.npz", "--classifier", "data.npz"), "data.npz is no classifier"),
        (("dcgan", "--data", "data.npz", "--recipe", "magic"), "no recipe 'magic'; expected"),
        (("dcgan", "--data", "data.npz", "--steps", "0"), "--steps: Input should be greater than or equal to 1; got 0"),
        (("dcgan", "--data", "data.npz", "--setps", "3"), "--steps"),
        (("dcgan",), "--data"),
        (("dcgan", "--data", "data.npz", "--out", "data.npz"), "cannot make the output folder data.npz"),
    ],
)
def test_what_cannot_be_trained_is_told(run: Run, words: tuple[str, ...], said: str) -> None:
    np.savez("flat.npz", images=np.zeros((4, 8, 10), np.uint8))
    code, err = run("train", *words)
    assert code == 2 and said in err and "Traceback" not in err and not [*Path().glob("genvet-train-dcgan/*")]


def test_the_flags_are_the_fields() -> None:
    arguments = build(["train", "dcgan"])["train"].assemble_argument_collection()
    found = {name for argument in arguments for name in argument.names}
    assert {f"--{name.replace('_', '-')}" for name in Adversarial.model_fields} <= found
