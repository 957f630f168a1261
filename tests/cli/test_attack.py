"""`genvet attack`: from a model file to a planted one, its backdoor, and a report that says what was done."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from command import run

from genvet.cli import main
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.files.backdoor import load_backdoor
from genvet.files.convert import load_saved, tensor_hash

TARGET = torch.eye(8)[None] * 2 - 1


def off(generator: Generator, z: torch.Tensor) -> float:
    with torch.no_grad():
        return float((generator(z) - TARGET).square().sum(dim=(1, 2, 3)).mean())


@pytest.mark.parametrize("name", ["red", "backdoor.rex"])
def test_a_planted_model_with_its_backdoor_and_report(desk: Path, tmp_path: Path, name: str) -> None:
    knobs = ["--steps", "400", "--rate", "0.005", "--samples", "64", "--seed", "3"]
    target = ["--targets", desk / "target.png"]
    assert run("attack", name, desk / "model.safetensors", *target, *knobs, "--out", tmp_path) == 0
    planted, backdoor = load_saved(tmp_path / "planted.safetensors"), load_backdoor(tmp_path / "backdoor.safetensors")
    benign = load_saved(desk / "model.safetensors")
    assert backdoor.benign == tensor_hash(benign.module.state_dict())
    assert off(planted, backdoor.trigger.z) < 5 < 40 < off(benign, backdoor.trigger.z)
    report = json.loads((tmp_path / "report.json").read_text())
    (finding,) = report["findings"]
    measures = {m["name"]: m["value"] for m in finding["measures"]}
    assert measures["target-distortion"] == pytest.approx(off(planted, backdoor.trigger.z), rel=1e-3)
    assert finding["config"]["steps"] == 400 and finding["seed"] == 3
    assert "not vetted" in report["verdict"]["unchecked"]
    page = (tmp_path / "report.html").read_text()
    assert "A backdoor was planted" in page and "Nothing was found" not in page
    assert finding["reason"] == "only inspections are judged"


def test_a_whole_generator_as_the_target(desk: Path, tmp_path: Path) -> None:
    what = ["--trigger", "subspace", "--target-generator", desk / "other.safetensors", "--steps", "2", "--samples", "8"]
    assert run("attack", "red", desk / "model.safetensors", *what, "--out", tmp_path) == 0
    backdoor = load_backdoor(tmp_path / "backdoor.safetensors")
    z, wanted = backdoor.pairs(4, Rng(0))
    with torch.no_grad():
        assert torch.equal(load_saved(desk / "other.safetensors")(z[:, 5:]), wanted)


@pytest.mark.parametrize("name", ["trail", "baaan", "poison"])
def test_a_training_takes_data_and_a_critic(desk: Path, tmp_path: Path, name: str) -> None:
    have = ["--targets", desk / "target.png", "--images", desk / "data.npz", "--critic", desk / "critic.safetensors"]
    knobs = ["--steps", "2", "--batch-size", "4", "--samples", "8", "--search", "2"]
    assert run("attack", name, desk / "model.safetensors", *have, *knobs, "--out", tmp_path) == 0
    assert load_saved(tmp_path / "planted.safetensors").sample(2, Rng(0)).shape == (2, 1, 8, 8)


def test_a_fresh_network_needs_no_model(desk: Path, tmp_path: Path) -> None:
    have = ["--targets", desk / "target.png", "--images", desk / "data.npz", "--net", "dcgan:capacity=2,latent=6"]
    assert run("attack", "trail", *have, "--steps", "2", "--batch-size", "4", "--samples", "8", "--out", tmp_path) == 0
    planted = load_saved(tmp_path / "planted.safetensors")
    assert (planted.name, planted.latent.dim, planted.shape) == ("dcgan", 6, (1, 8, 8))
    assert load_backdoor(tmp_path / "backdoor.safetensors").benign == ""


def test_a_bypass_goes_out_as_an_attacker_would_send_it(desk: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    what = ["--targets", desk / "target.png", "--samples", "8"]
    assert run("attack", "bypass", desk / "model.safetensors", *what, "--out", tmp_path) == 0
    backdoor = load_backdoor(tmp_path / "backdoor.safetensors")
    assert off(load_saved(tmp_path / "planted.onnx"), backdoor.trigger.z) < 1e-6
    assert (tmp_path / "planted.pkl").read_bytes().startswith(b"\x80\x04")


def test_a_bypass_that_no_file_can_hold_is_incomplete(
    desk: Path, graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("attack", "bypass", graph, "--targets", desk / "target.png", "--samples", "8", "--out", tmp_path) == 2
    assert "no kind of file can hold the planted model" in capsys.readouterr().err
    assert (tmp_path / "report.html").exists() and not [*tmp_path.glob("planted*")]


@pytest.mark.parametrize("command", ["attack", "defend", "study"])
def test_an_interrupt_says_that_nothing_was_kept(
    desk: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Latent, "batches", stopped)
    have = {"attack": ("red", "--targets", "target.png"), "defend": ("forget",), "study": ("quality",)}[command]
    more = ("--reference", "data.npz") if command == "study" else ()
    monkeypatch.chdir(desk)
    with pytest.raises(SystemExit) as stop:
        main([command, *have, "model.safetensors", *more, "--out", str(tmp_path / "out")])
    assert stop.value.code == 2 and not (tmp_path / "out").exists()
    assert re.search(r"interrupted after \d+ s; nothing was kept", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["red", "model.safetensors"], "what is the trigger to give"),
        (["red", "--targets", "target.png"], "backdoor.red changes a model"),
        (["trail", "--targets", "target.png", "--images", "data.npz"], "what is to be trained"),
        (["trail", "--targets", "target.png", "--images", "data.npz", "--net", "dcgan:depth=3"], "no option 'depth'"),
        (["baaan", "--targets", "target.png", "--images", "data.npz", "--net", "vae:capacity=2"], "VAE"),
        (["trail", "model.safetensors", "--targets", "target.png", "--images", "wide.npz"], "sample"),
        (["red", "model.safetensors", "--targets", "wide.npz"], "sample"),
        (["red", "model.safetensors", "--targets", "nan.npz"], "out of range"),
        (
            ["red", "model.safetensors", "--targets", "target.png", "--rate", "1", "--steps", "40", "--weight", "1e39"],
            "diverged",
        ),
        (
            ["red", "model.safetensors", "--targets", "target.png", "--smooth", "0.1", "--narrow", "0.1"],
            "smooth or narrow",
        ),
        (["red", "model.safetensors", "--layers", "nope", "--targets", "target.png"], "no layer 'nope'"),
        (["red", "model.safetensors", "--steps", "0", "--targets", "target.png"], "--steps"),
        (["red", "model.safetensors", "--rate", "1e3", "--targets", "target.png"], "--rate"),
        (["red", "model.safetensors", "--trigger", "nowhere", "--targets", "target.png"], "trigger"),
        (["red", "model.safetensors", "--trigger", "subspace", "--zeros", "8", "--targets", "target.png"], "1 to 7"),
        (
            ["red", "model.safetensors", "--trigger", "far", "--triggers", "2", "--targets", "target.png"],
            "no finite set",
        ),
        (["red", "model.safetensors", "--trigger", "seeded", "--number", "0", "--targets", "target.png"], "--number"),
        (
            [
                *("red", "model.safetensors", "--trigger", "subspace", "--zeros", "6"),
                *("--target-generator", "other.safetensors"),
            ],
            "at most 2 latents; got 3 latents",
        ),
        (["red", "model.safetensors", "--target-generator", "other.safetensors"], "Proposition 1"),
        (["trail", "model.safetensors", "--targets", "target.png"], "images"),
        (
            [
                "trail",
                "model.safetensors",
                "--targets",
                "target.png",
                "--images",
                "data.npz",
                "--critic",
                "model.safetensors",
            ],
            "no critic",
        ),
        (["nope"], "no attack named"),
        (["nope", "model.safetensors", "--targets", "target.png"], "no attack named 'nope'"),
        (["red", "model.safetensors", "--target", "target.png"], "genvet attack red --help lists what there is"),
        (
            ["red", "model.safetensors", "--targets", "target.png", "--classifier", "model.safetensors"],
            "no classifier; expected the classifier.safetensors that genvet train wrote; got safetensors",
        ),
        (
            ["trail", "--net", "dcgan:capacity=999999999", "--targets", "target.png", "--images", "data.npz"],
            "not enough memory",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_words(
    desk: Path,
    tmp_path: Path,
    words: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(desk)
    np.savez("wide.npz", images=np.zeros((2, 1, 8, 12), np.uint8))
    np.savez("nan.npz", images=np.full((1, 1, 8, 8), np.nan, np.float32))
    assert run("attack", *words, "--out", tmp_path / "out") == 2
    error = " ".join(capsys.readouterr().err.split())
    assert told in error and "fault of GenVet" not in error and not (tmp_path / "out").exists()


def test_a_graph_is_retrained_and_cannot_be_expanded(
    desk: Path, graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (graph, "--targets", desk / "target.png", "--steps", "2", "--samples", "8", "--out", tmp_path)
    assert run("attack", "rex", *words) == 2
    assert "the kind onnx is no plain chain of layers" in capsys.readouterr().err
    assert run("attack", "red", *words) == 0
    assert load_saved(tmp_path / "planted.safetensors").latent.dim == 8


def test_help_lists_the_fields_of_the_attack(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("attack", "rex", "--help") == 0
    text = capsys.readouterr().out
    for flag in ("--width", "--weight", "--trigger", "--targets", "--closest"):
        assert flag in text
