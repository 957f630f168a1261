"""`genvet defend` and `genvet study`: from a model file to a repaired one, or to measures, and a report of both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from command import run

from genvet.catalogue import techniques
from genvet.files.convert import load_saved


def report(folder: Path) -> dict:  # type: ignore[type-arg]
    return json.loads((folder / "report.json").read_text())  # type: ignore[no-any-return]


def test_a_repaired_model_with_both_scans_beside_each_other(desk: Path, tmp_path: Path) -> None:
    model = desk / "model.safetensors"
    before = model.read_bytes()
    known = ["--backdoor", desk / "backdoor.safetensors", "--clean", model]
    settings = tmp_path / "settings.json"
    few = {"output.brute_force": {"samples": 200}, "output.reconstruct": {"steps": 5, "restarts": 1}}
    settings.write_text(json.dumps({"techniques": few}))
    knobs = ["--share", "0.75", "--samples", "64", "--count", "50", "--config", settings]
    assert run("defend", "prune", model, *known, *knobs, "--out", tmp_path / "out") == 0
    assert model.read_bytes() == before
    repaired, told = load_saved(tmp_path / "out" / "repaired.safetensors"), report(tmp_path / "out")
    (finding,) = told["findings"]
    assert finding["technique"] == "sanitise.prune" and finding["config"]["share"] == 0.75
    measures = {m["name"]: m["value"] for m in finding["measures"]}
    z, wanted = torch.ones(1, 8), load_saved(model)(torch.ones(1, 8))
    assert measures["target-distortion.before"] == 0
    assert measures["target-distortion"] == pytest.approx(float((repaired(z) - wanted).square().sum()), rel=1e-4)
    (table,) = finding["tables"]
    sides = [report(tmp_path / "out" / side) for side in ("before", "after")]
    assert table["columns"][1:] == ["before", "after"]
    assert [row.split(",")[0] for row in table["rows"][0][1:]] == [s["verdict"]["severity"] for s in sides]
    assert {row[0] for row in table["rows"]} >= {"output.reconstruct", "static.biases"}
    assert sides[0]["target"]["sha256"] != sides[1]["target"]["sha256"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "The model was repaired" in page and "Nothing was found" not in page


def test_without_a_backdoor_the_report_says_what_is_not_known(desk: Path, tmp_path: Path) -> None:
    knobs = ["--steps", "2", "--depth", "none", "--count", "40"]
    assert run("defend", "sanitise.distil", desk / "model.safetensors", *knobs, "--out", tmp_path) == 0
    told = report(tmp_path)
    assert "not known" in told["verdict"]["unchecked"] and "not scanned" in told["verdict"]["unchecked"]
    assert not (tmp_path / "before").exists() and not told["findings"][0]["tables"]


@pytest.mark.parametrize(
    ("words", "told"),
    [(["prune"], "no plain chain of layers"), (["distil"], "no start weights are known"), (["forget"], "")],
)
def test_what_helps_a_graph_is_told(
    graph: Path, tmp_path: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run("defend", *words, graph, "--depth", "none", "--count", "40", "--out", tmp_path)
    err = capsys.readouterr().err
    assert code == (2 if told else 0) and told in err and "forget" in err


def test_a_study_of_a_model(desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    what = ["--reference", desk / "data.npz", "--samples", "24", "--json"]
    assert run("study", "quality", desk / "model.safetensors", *what, "--out", tmp_path) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == report(tmp_path) and printed["findings"][0]["technique"] == "quality"
    assert "study" in printed["verdict"]["unchecked"]
    assert "The model was measured" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["defend", "prune", "model.safetensors", "--share", "2"], "--share"),
        (["defend", "prune", "model.safetensors", "--layers", "conv3"], "no hidden layer 'conv3'"),
        (["defend", "prune", "other.safetensors", "--backdoor", "backdoor.safetensors"], "outside the latents"),
        (["defend", "prune", "model.safetensors", "--backdoor", "model.safetensors"], "no backdoor"),
        (["defend", "prune", "model.safetensors", "--clean", "other.safetensors"], "clean model does not fit"),
        (["defend", "prun", "model.safetensors"], "no defence named 'prun'"),
        (["study", "quality", "model.safetensors"], "reference"),
        (["study", "nope", "model.safetensors"], "no study named"),
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
    assert run(*words, "--out", tmp_path / "out") == 2
    error = " ".join(capsys.readouterr().err.split())
    assert told in error and "fault of GenVet" not in error


@pytest.mark.parametrize("name", [*techniques("defence"), *techniques("study")])
def test_help_lists_every_field(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Which also shows that no field has the name of an option of the command."""
    entry = techniques()[name]
    assert run("defend" if entry.kind == "defence" else "study", name, "--help") == 0
    text = capsys.readouterr().out
    assert all(f"--{field.replace('_', '-')}" in text for field in entry.load().model_fields)
