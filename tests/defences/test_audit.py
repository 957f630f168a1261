"""Audits of data sets made for it: what is planted is found, plain data give nothing, and no file stops the others."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "files"))
import picture_files as files

from genvet import engine
from genvet.cli import main
from genvet.core.report import Finding, Report
from genvet.files.dataset import read_dataset


def noise(n: int, side: int = 24) -> list[Image.Image]:
    drawn = torch.randint(0, 256, (n, side, side), generator=torch.manual_seed(3), dtype=torch.uint8)
    return [Image.fromarray(x.numpy()) for x in drawn]


def plain(folder: Path, n: int = 12) -> Path:
    """Pictures of two classes, in files that carry nothing."""
    for i, x in enumerate(noise(n)):
        path = folder / f"class{i % 2}" / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        x.save(path)
    return folder


def found(report: Report, name: str) -> Finding:
    return next(f for f in report.findings if f.technique == f"data.{name}")


def rules(report: Report) -> set[str]:
    return {proof.rule for finding in report.findings for proof in finding.proofs}


def audited(path: Path, *words: str) -> tuple[int, Report]:
    with pytest.raises(SystemExit) as stop:
        main(["audit-data", str(path), "--out", str(path.parent / "out"), *words])
    assert isinstance(stop.value.code, int)
    return stop.value.code, Report.model_validate_json((path.parent / "out/report.json").read_bytes())


def test_plain_files_raise_nothing(tmp_path: Path) -> None:
    code, report = audited(plain(tmp_path / "data"), "--only", "metadata", "--only", "names", "--fail-on", "low")
    assert code == 0 and report.verdict.severity == "info" and report.verdict.complete and not rules(report)
    assert "None of 12 pictures" in report.verdict.loading
    assert (tmp_path / "out/report.html").read_text().count("<h3>What the files carry</h3>") == 1


def test_what_files_carry_is_told_with_what_a_preview_shows(tmp_path: Path) -> None:
    data = plain(tmp_path / "data")
    (data / "a.jpg").write_bytes(files.placed())
    before = files.scene()
    (data / "b.jpg").write_bytes(files.previewed(before, before))
    (data / "c.jpg").write_bytes(files.previewed(before.crop((0, 40, 128, 128)), before))
    (data / "anna@example.org 2020-02-03.png").write_bytes(files.png())
    (data / "Thumbs.db").write_bytes(b"x")
    code, report = audited(data, "--only", "metadata,names")
    assert code == 1 and {"data.gps", "data.thumbnail-differs", "data.personal", "data.time"} <= rules(report)
    unlike = [p.place for f in report.findings for p in f.proofs if p.rule == "data.thumbnail-differs"]
    assert unlike == ["c.jpg"], "the honest preview of b.jpg is none"
    assert [f.file for f in found(report, "metadata").figures] == ["figures/0001.png"]
    assert "Thumbs.db" in {p.place for p in found(report, "metadata").proofs}
    assert "Do not train on these data as they are" in (tmp_path / "out/report.html").read_text()


def test_each_file_that_fails_is_named_and_the_others_are_audited(tmp_path: Path) -> None:
    data = plain(tmp_path / "data")
    (data / "empty.png").write_bytes(b"")
    (data / "cut.png").write_bytes(files.png()[:90])
    (data / "moving.gif").write_bytes(b"GIF89a")
    (data / "we\x1bird.png").write_bytes(files.png())
    os.symlink("/etc/passwd", data / "link.png")
    Image.new("1", (1 << 14, 1 << 13)).save(data / "huge.png")
    (data / "broken.csv").write_text("a,b\n1,2,3\n")
    code, report = audited(data, "--only", "metadata,names")
    assert code == 2 and not report.verdict.complete and len(report.findings) == 2
    gaps = {gap.part: gap.detail for gap in report.not_checked if gap.technique == "data"}
    assert set(gaps) == {"empty.png", "cut.png", "moving.gif", "link.png", "huge.png", "broken.csv"}
    assert "not followed" in gaps["link.png"] and "too large" in gaps["huge.png"] and "3 cells" in gaps["broken.csv"]
    assert "\x1b" not in (tmp_path / "out/report.html").read_text()
    assert read_dataset(data).items[-1].name == "we\\x1bird.png"


def test_nothing_to_look_at_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    for word in ("data", "none"):
        with pytest.raises(SystemExit) as stop:
            main(["audit-data", str(tmp_path / word), "--out", str(tmp_path / "out")])
        assert stop.value.code == 2 and capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "data/one.png").write_bytes(b"no picture")
    code, report = audited(tmp_path / "data", "--only", "names")
    assert code == 2 and "one.png" in report.verdict.unchecked


def test_zips_and_arrays_are_read_with_what_lies_beside_them(tmp_path: Path) -> None:
    data = plain(tmp_path / "data")
    (data / "people.json").write_text(json.dumps([{"file": "000.png", "by": {"name": "A"}}, {"file": "001.png"}]))
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for path in sorted(data.rglob("*")):
            archive.write(path, path.relative_to(data))
    for path in (data, tmp_path / "data.zip"):
        whole = read_dataset(path)
        assert len(whole) == 12 and whole.classes == ("class0", "class1") and whole.whole(3).shape == (1, 24, 24)
        assert whole.sheets[0].columns == ("file", "by.name") and whole.sheets[0].rows[1] == ("001.png", "")
    x = np.stack([np.asarray(p) for p in noise(12)])
    np.savez(tmp_path / "data.npz", images=x, subject=np.arange(12) // 4, age=np.arange(12))
    array = read_dataset(f"{tmp_path / 'data.npz'}#4:10")
    assert len(array) == 6 and array.sheets[0].column("age") == tuple("456789")
    assert array.labels is not None and array.labels.tolist() == [1, 1, 1, 1, 2, 2]
    assert torch.equal(array.x(), read_dataset(tmp_path / "data.npz").x()[4:10])
    assert engine.audit(array, only=["metadata"]).verdict.severity == "info"
