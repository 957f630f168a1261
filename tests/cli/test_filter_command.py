"""`genvet defend FILTER` and filters behind `--guard`: what they are given are files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command import findings, run


def test_a_filter_is_measured_with_protected_and_unseen_images(desk: Path, tmp_path: Path) -> None:
    words = ["--protected", f"{desk / 'data.npz'}#0:20", "--unseen", f"{desk / 'data.npz'}#20:60", "--rate", "0.2"]
    assert run("defend", "phash", desk / "model.safetensors", *words, "--count", "32", "--out", tmp_path) == 0
    (finding,) = findings(tmp_path)
    assert finding["technique"] == "filter.phash" and finding["access"] == "Queries"
    measures = {m["name"]: m for m in finding["measures"]}
    assert measures["false-blocks"]["n"] == 20 and measures["false-blocks"]["chance"] == 0.2
    assert "A filter of outputs was measured" in (tmp_path / "report.html").read_text()
    assert not [*tmp_path.glob("*.safetensors")]


def test_the_oracle_runs_beside_its_control(desk: Path, tmp_path: Path) -> None:
    data = desk / "data.npz"
    guard = f"phash:rate=0.2,protected={data}#0:10,unseen={data}#20:60"
    words = ["--members", f"{data}#0:10", "--non-members", f"{data}#10:20", "--samples", "32", "--around", "2"]
    assert run("attack", "filter_oracle", desk / "model.safetensors", *words, "--guard", guard, "--out", tmp_path) == 0
    guarded, plain = findings(tmp_path)
    assert guarded["access"] == "Queries through phash(rate=0.2)" and plain["access"] == "Queries"
    rows = {row[0]: row[1:] for row in guarded["tables"][0]["rows"]}
    assert str(rows["auc"][1]).startswith("0.5 (") and guarded["tables"][0]["columns"][1:] == ["guarded", "plain"]


@pytest.mark.parametrize(
    ("name", "size", "more", "told"),
    [
        ("phash", 9, [], "do not fit this generator"),
        ("phash", 8, ["--rate", "0.001"], "expected 1998 or more"),
        ("ssim", 8, ["--threshold", "nan"], "--threshold"),
        ("lpips", 8, [], "vgg16.pth#heads=vgg.pth"),
        ("embedding", 8, ["--space", "classifier", "--rate", "0.2"], "--classifier"),
        ("classifier", 8, [], "--classifier"),
    ],
)
def test_what_will_not_do_is_told_in_words(
    desk: Path, tmp_path: Path, name: str, size: int, more: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.random.default_rng(3).integers(0, 256, (60, 1, size, size), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    files = ["--protected", f"{tmp_path / 'images.npz'}#0:20"] if name != "classifier" else []
    files += ["--unseen", f"{tmp_path / 'images.npz'}#20:60"]
    words = ["defend", name, desk / "model.safetensors", *files, *more, "--count", "8", "--out", tmp_path / "out"]
    assert run(*words) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert told in said and "Traceback" not in said and not (tmp_path / "out").exists()
