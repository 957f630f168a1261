"""`genvet attack` on classifiers: a file, and an address."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command import run
from safetensors.torch import load_file
from stub_service import ABOUT, serving

from genvet.core.rng import Rng
from genvet.files.classifiers import save_classifier
from genvet.files.convert import save
from genvet.nets import classifiers, stylegan2

QUICK = ["--samples", "40", "--moments", "500", "--trust-p"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target, a judge, a prior, and labelled images."""
    folder = tmp_path_factory.mktemp("inversion")
    torch.manual_seed(0)
    for name in ("target", "judge"):
        save_classifier(classifiers.build(("a", "b", "c"), 2, 8, 1), folder / f"{name}.safetensors")
    prior = stylegan2.build(size=8, channels=1, z_dim=8, w_dim=8, channel_base=64, channel_max=8, rng=Rng(1))
    save(prior, folder / "prior.safetensors")
    for kind in "abc":
        (folder / "private" / kind).mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (9, 1, 8, 8), dtype=np.uint8)
    np.savez(folder / "private.npz", images=images, labels=np.arange(9) % 3)
    return folder


def test_a_classifier_is_inverted(bench: Path, tmp_path: Path) -> None:
    given = ["--prior", bench / "prior.safetensors", "--judges", bench / "judge.safetensors"]
    given += ["--judges", bench / "target.safetensors"]
    knobs = ["--steps", "3", "--restarts", "2", "--labels", "0,2", *QUICK]
    assert run("attack", "mirror", bench / "target.safetensors", *given, *knobs, "--out", tmp_path) == 0
    found = load_file(tmp_path / "inverted.safetensors")
    assert found["x"].shape == (2, 1, 8, 8) and found["labels"].tolist() == [0, 2]
    report = json.loads((tmp_path / "report.json").read_text())
    (finding,) = report["findings"]
    assert "A classifier was inverted" in (tmp_path / "report.html").read_text()
    assert finding["technique"] == "inversion.mirror" and finding["access"] == "Classifier"
    assert {"target.top-1", "reference-0.top-1", "reference-1.top-1"} <= {m["name"] for m in finding["measures"]}


def test_an_address_is_attacked_like_a_file_and_gone_on_with(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving() as (told, url):
        told.about = {**ABOUT, "shape": [1, 8, 8]}
        knobs = ["--population", "4", "--generations", "2", "--enough", "1", *QUICK, "--out", tmp_path]
        words = ["mirror_black_box", url, "--prior", bench / "prior.safetensors", *knobs]
        assert run("attack", *words) == 0
        asked = sum(n for _, n in told.asked)
        assert asked > 40 and json.loads((tmp_path / "report.json").read_text())["target"]["path"] == url
        assert run("attack", *words) == 0
        assert sum(n for _, n in told.asked) == asked, "the same command asks for nothing again"
        assert run("attack", "mirror", url, "--prior", bench / "prior.safetensors", "--out", tmp_path / "white") == 2
        assert "looks at a Classifier" in capsys.readouterr().err


def test_slips(bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("attack", "mirror", "--prior", bench / "prior.safetensors", "--out", tmp_path) == 2
    assert "inverts a classifier" in capsys.readouterr().err
    assert (
        run("attack", "mirror", bench / "prior.safetensors", "--prior", bench / "prior.safetensors", "--out", tmp_path)
        == 2
    )
    assert "is no classifier" in capsys.readouterr().err
    words = ["mirror", bench / "target.safetensors", "--prior", bench / "prior.safetensors", "--out", tmp_path]
    assert run("attack", *words, "--labels", "7") == 2
    assert "no class 7" in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_guard_of_scores_stands_before_the_target_and_is_known(bench: Path, tmp_path: Path) -> None:
    """Three findings: behind the guard, behind it by somebody who knows it, and without it; looks are counted."""
    given = ["--prior", bench / "prior.safetensors", "--samples", "40"]
    guard = ["--guard", "score_noise:deviation=0.2,fresh=true", "--knowing", "best"]
    assert run("attack", "best_sample", bench / "target.safetensors", *given, *guard, "--out", tmp_path) == 0
    findings = json.loads((tmp_path / "report.json").read_text())["findings"]
    shown = [{m["name"]: m["value"] for m in f["measures"]}["shown-to-the-target"] for f in findings]
    assert len(findings) == 3 and sorted(shown) == [40, 40, 320]
