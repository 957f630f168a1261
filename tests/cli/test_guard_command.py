"""`genvet defend GUARD` and `genvet attack --guard`: what a guard costs, and what an attack gets through it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import findings, run

from genvet.files.classifiers import save_classifier
from genvet.nets import classifiers


@pytest.fixture(scope="module")
def records(desk: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str | Path]:
    """Members and others for a membership attack on the model of the desk."""
    folder = tmp_path_factory.mktemp("records")
    for seed, name in enumerate(("in", "out"), 1):
        images = np.random.default_rng(seed).integers(0, 256, (24, 1, 8, 8), dtype=np.uint8)
        np.savez(folder / f"{name}.npz", images=images)
    return ["--members", folder / "in.npz", "--non-members", folder / "out.npz", "--samples", "24"]


def test_a_guard_is_measured_and_no_model_is_written(desk: Path, tmp_path: Path) -> None:
    before = (desk / "model.safetensors").read_bytes()
    out = tmp_path / "out"
    assert (
        run("defend", "gaussian_noise", desk / "model.safetensors", "--sigma", "0.3", "--count", "64", "--out", out)
        == 0
    )
    assert (desk / "model.safetensors").read_bytes() == before and not [*out.glob("*.safetensors")]
    (finding,) = findings(out)
    assert finding["technique"] == "query.gaussian_noise" and finding["access"] == "Queries"
    measures = {m["name"]: m for m in finding["measures"]}
    assert 10 < measures["psnr"]["value"] < 25 and measures["ssim"]["value"] < 0.99
    assert measures["piqe"]["value"] is None and "64 pixels" in measures["piqe"]["note"]
    assert measures["frechet"]["value"] > measures["frechet"]["chance"] and measures["repeat"]["value"] > 0.1
    (table,) = finding["tables"]
    assert [row[:2] for row in table["rows"]] == [
        ["asks as the guard expects", 1], ["averages 16 answers", 16], ["denoises", 1],
    ]  # fmt: skip
    page = (out / "report.html").read_text()
    assert "A guard was measured" in page and "data:image/png" in page and "repaired" not in page


def test_an_attack_runs_behind_guards_beside_the_plain_one(desk: Path, records: Any, tmp_path: Path) -> None:
    guards = ["--guard", "jpeg:quality=30", "--guard", "gaussian-noise:sigma=0.4,drawn=keyed".replace("-", "_")]
    words = ["attack", "nearest", desk / "model.safetensors", *records, *guards]
    assert run(*words, "--knowing", "best", "--out", tmp_path / "all") == 0
    guarded, known, plain = findings(tmp_path / "all")
    assert guarded["access"] == "Samples through jpeg(quality=30), then gaussian_noise(sigma=0.4, drawn=keyed)"
    assert "who averages 16 answers" in known["access"] and known["access"].endswith("smooths the blocks")
    assert plain["access"] == "Samples" and known["queries"] == 16 * guarded["queries"]
    assert guarded["tables"][0]["columns"] == ["measure", "guarded", "guarded, known", "plain"]
    assert {"Guarded", "Plain"} <= {part.split(":")[0] for part in guarded["summary"].split(". ")}
    assert run(*words, "--alone", "--knowing", "denoises", "--out", tmp_path / "one") == 0
    one, denoised = findings(tmp_path / "one")
    assert "who denoises, then smooths the blocks" in denoised["access"] and denoised["queries"] == one["queries"]
    assert one["measures"] == guarded["measures"] and one["measures"] != plain["measures"]
    assert run(*words[:3], *records, "--out", tmp_path / "none") == 0
    assert [f["measures"] for f in findings(tmp_path / "none")] == [plain["measures"]]


def test_guards_stand_in_a_config_file_as_well(desk: Path, records: Any, tmp_path: Path) -> None:
    config = tmp_path / "guards.toml"
    config.write_text('guard = ["gaussian_filter:sigma=1.5", "jpeg"]\nalone = true\n')
    assert run("attack", "nearest", desk / "model.safetensors", *records, "--config", config, "--out", tmp_path) == 0
    assert [f["access"] for f in findings(tmp_path)] == ["Samples through gaussian_filter(sigma=1.5), then jpeg"]


def test_what_a_guard_is_given_is_a_file(desk: Path, records: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_classifier(classifiers.build(("a", "b", "c"), 2, 8, 1), tmp_path / "judge.safetensors")
    guard = f"adversarial_noise:epsilon=0.2,steps=2,classifier={tmp_path / 'judge.safetensors'}"
    words = ["attack", "nearest", desk / "model.safetensors", *records]
    assert run(*words, "--guard", guard, "--alone", "--out", tmp_path) == 0
    guard = "semantic_interpolation:attributes=brightness,contrast,samples=160"
    assert run(*words, "--guard", guard, "--alone", "--out", tmp_path) == 0
    assert "attributes=brightness,contrast, samples=160" in findings(tmp_path)[0]["access"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["attack", "nearest", "model.safetensors", "--guard", "jpg"], "did you mean query.jpeg"),
        (["attack", "nearest", "model.safetensors", "--guard", "jpeg:sigma=2"], "fields: quality"),
        (["attack", "nearest", "model.safetensors", "--guard", "jpeg:quality=200"], "quality"),
        (["attack", "nearest", "model.safetensors", "--guard", "jpeg:30"], "name:field=value"),
        (["attack", "nearest", "model.safetensors", "--guard", "prune"], "is no guard"),
        (["attack", "nearest", "model.safetensors", "--guard", "rounding"], "stands before Scores"),
        (["attack", "nearest", "model.safetensors", "--guard", "jpeg", "--knowing", "magic"], "smooths the blocks"),
        (["attack", "nearest", "model.safetensors", "--knowing", "best"], "there is no guard"),
        (["attack", "latent_recovery", "model.safetensors", "--guard", "jpeg"], "of no use"),
        (["attack", "red", "model.safetensors", "--targets", "target.png", "--guard", "jpeg"], "of no use"),
        (["defend", "jpeg", "model.safetensors", "--backdoor", "backdoor.safetensors"], "changes no model"),
        (["defend", "rounding", "model.safetensors"], "stands before Scores"),
        (["defend", "jpeg", "model.safetensors", "--quality", "0"], "--quality"),
    ],
)
def test_what_does_not_fit_is_told_in_words(
    desk: Path,
    records: Any,
    tmp_path: Path,
    words: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(desk)
    given = records[:4] if words[1] in ("nearest", "latent_recovery") else []
    assert run(*words, *given, "--out", tmp_path / "out") == 2
    error = " ".join(capsys.readouterr().err.split())
    assert told in error and "fault of GenVet" not in error, error
