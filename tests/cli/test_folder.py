"""A folder of real files: own output is left alone, links are told, and settings reach the inspections."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from command import run

from genvet.files.convert import save
from genvet.nets import dcgan


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save(dcgan.build(latent=4, capacity=2, size=8), tmp_path / "models" / "m.safetensors")
    return tmp_path / "models"


def test_a_second_scan_does_not_scan_the_reports_of_the_first(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (models / "README.md").write_text("about these models\n")
    for _ in range(2):
        assert run("scan", "models", "--file-only", "--out", "models/reports", "--json") == 0
        files = [f["file"] for f in json.loads(capsys.readouterr().out)["files"]]
        assert sorted(files) == ["README.md", "m.safetensors"]


def test_a_link_is_told_and_leaves_the_scan_incomplete(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (models / "link.safetensors").symlink_to(models / "m.safetensors")
    assert run("scan", "models", "--file-only") == 2
    assert "link, and was not followed" in capsys.readouterr().out


def test_settings_of_inspections_come_from_the_config_file(models: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[techniques.brute_force]\nsamples = 2048\n")
    assert run("scan", "models/m.safetensors", "--depth", "quick", "--config", "c.toml", "--out", "o") == 0
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    (finding,) = [f for f in report["findings"] if f["technique"] == "output.brute_force"]
    assert finding["config"]["samples"] == 2048 and finding["queries"] >= 2048


@pytest.mark.parametrize(
    "settings", ["[techniques.brute_farce]\nsamples = 1\n", "[techniques.brute_force]\nsample = 1\n"]
)
def test_unknown_settings_are_refused_before_anything_runs(
    models: Path, tmp_path: Path, settings: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.toml").write_text(settings)
    assert run("scan", "models/m.safetensors", "--config", "c.toml", "--out", "o") == 2
    assert "brute_force" in capsys.readouterr().err and not (tmp_path / "o").exists()
