"""The demo keeps its promises: right on all three files, and nothing of the stranger's file runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from genvet.cli import demo
from genvet.cli.demo_models import MARKER, Exhibit, drawings, write_digits
from genvet.core.report import Report


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The demo with a shorter training: its output folder, and its exit code."""
    out = tmp_path_factory.mktemp("demo") / "genvet-demo"
    threads = torch.get_num_threads()
    try:
        return out, demo.show(out, 0, steps=500)
    finally:
        torch.set_num_threads(threads)


def test_every_verdict_is_as_expected(shown: tuple[Path, int]) -> None:
    out, code = shown
    found = {}
    for path in sorted(out.glob("*/report.json")):
        report = json.loads(path.read_text())
        worst = max(
            report["findings"], key=lambda f: ["info", "low", "medium", "high", "critical"].index(f["severity"])
        )
        found[path.parent.name] = (report["verdict"]["severity"], worst["technique"])
    assert found["backdoored"] == ("high", "output.reconstruct")
    assert found["stranger"] == ("critical", "file")
    assert found["clean"][0] in ("info", "low")
    assert code == 0


def test_the_payload_never_ran_and_would_have(shown: tuple[Path, int], tmp_path: Path) -> None:
    """The marker is absent because nothing ran the text, not because the text is harmless: run here, it writes."""
    out, _ = shown
    assert not (out / MARKER).exists()
    text = (out / "stranger.pkl").read_bytes().decode("latin-1")
    line = next(line for line in text.splitlines() if line.startswith("open("))
    subprocess.run([sys.executable, "-c", line.replace(str(out.resolve()), str(tmp_path))], check=True)
    assert (tmp_path / MARKER).read_text() == "program text from the model file was executed"


def test_reports_are_written_for_each_file(shown: tuple[Path, int]) -> None:
    out, _ = shown
    for name in ("clean", "backdoored", "stranger"):
        assert {"report.json", "report.html", "report.sarif"} <= {p.name for p in (out / name).iterdir()}
        assert f"{name}/report.html" in (out / "index.html").read_text()


def test_a_wrong_verdict_is_not_passed_over(shown: tuple[Path, int]) -> None:
    report = Report.model_validate_json((shown[0] / "backdoored" / "report.json").read_bytes())
    assert demo.told(Exhibit(Path("backdoored.safetensors"), "", hostile=True), report)
    assert not demo.told(Exhibit(Path("backdoored.safetensors"), "", hostile=False), report)


def test_the_digits_are_digits(tmp_path: Path) -> None:
    digits = write_digits(tmp_path)
    assert tuple(digits.x.shape) == (1797, 1, 16, 16) and -1 <= digits.x.min() < digits.x.max() <= 1
    assert digits.x[:, :, :2].max() == -1  # the ground around them
    assert all(tuple(d.shape) == (1, 16, 16) and set(d.unique().tolist()) == {-1.0, 1.0} for d in drawings())
