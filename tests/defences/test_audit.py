"""Audits of data sets made for it: what is planted is found, plain data give nothing, and no file stops the others."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile import pictures as files
from PIL import Image

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
    for word, *more in (("data",), ("none",), (".", "--only", "anonymise"), (".", "--only", "metadta")):
        with pytest.raises(SystemExit) as stop:
            main(["audit-data", str(tmp_path / word), "--out", str(tmp_path / "out"), *more])
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


def written(path: Path, x: torch.Tensor) -> None:
    """Grey pixels (h, w) of 0 to 255."""
    Image.fromarray(x.round().clamp(0, 255).byte().numpy()).save(path)


def blobs(folder: Path, n: int = 60) -> Path:
    """Pictures of soft shapes, no two alike."""
    folder.mkdir()
    coarse = torch.rand(n, 1, 8, 8, generator=torch.manual_seed(5)) * 255
    for i, x in enumerate(torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic").clamp(0, 255)):
        written(folder / f"{i:03}.png", x[0])
    return folder


def test_copies_and_outliers_are_found_and_their_twins_are_not(tmp_path: Path) -> None:
    data = blobs(tmp_path / "data")
    before = engine.audit(data, only=["duplicates", "outliers"])
    assert before.verdict.severity == "info" and not rules(before)
    measures = {m.name: m.value for m in found(before, "duplicates").measures}
    assert measures["power.mirrored"] == 1 and measures["power.smoothed"] == 1 and measures["near"] == 0
    x = torch.from_numpy(np.asarray(Image.open(data / "007.png")).copy()).float()
    written(data / "brighter.png", x * 0.9 + 20)
    Image.open(data / "009.png").save(data / "same.bmp")
    written(data / "zz.png", torch.rand(64, 64, generator=torch.manual_seed(6)) * 255)
    after = engine.audit(data, only=["duplicates", "outliers"])
    said = {(p.rule, p.place) for f in after.findings for p in f.proofs}
    assert said >= {("data.duplicate", "009.png"), ("data.near-duplicate", "007.png"), ("data.outlier", "zz.png")}
    assert ("data.coupling", "") in said and len(said) == 4 and after.verdict.severity == "medium"


def test_tables_tell_who_stands_alone_and_who_is_there_most(tmp_path: Path) -> None:
    data = plain(tmp_path / "data", 40)
    lines = [f"{i:03}.png,p{i}@example.org,{20 + i % 2},{'mf'[i % 2]},{'flu' if i % 2 else i}" for i in range(40)]
    (data / "people.csv").write_text(
        "file,contact,age,sex,diagnosis\n" + "\n".join(lines[:39]) + "\n039.png,,99,f,flu\n"
    )
    report = engine.audit(data, only=["tables", "identities"])
    said = {p.rule: p.message for p in found(report, "tables").proofs}
    assert set(said) == {"data.identifier", "data.k-anonymity", "data.l-diversity"}
    assert "contact" in said["data.identifier"] and said["data.k-anonymity"].startswith("1 of 40 rows")
    measures = {m.name: m.value for m in found(report, "tables").measures}
    assert measures["k.0"] == 1 and measures["l.0.diagnosis"] == 1 and measures["risk.0"] == 3 / 40
    needed = {"tables": {"needed": ["file", "contact"], "quasi": ["sex"], "sensitive": ["diagnosis"]}}
    told = engine.audit(data, only=["tables"], settings=needed)
    proofs = {p.rule for p in found(told, "tables").proofs}
    assert (
        {"data.field", "data.t-closeness"} <= proofs
        and "data.identifier" not in proofs
        and "data.k-anonymity" not in proofs
    )
    assert not found(report, "identities").proofs
    for i in range(50):
        (data / "class0" / f"more{i}.png").write_bytes((data / "class0/000.png").read_bytes())
    (data / "class2").mkdir()
    written(data / "class2/one.png", torch.zeros(8, 8))
    (proof,) = found(engine.audit(data, only=["identities"]), "identities").proofs
    assert proof.rule == "data.over-represented" and proof.place == "label class0"


def test_faces_and_text_are_found_where_they_are(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    pytest.importorskip("rapidocr")
    from genvet.core.data import Images
    from genvet.files.images import load_images
    from genvet.nets import face_finder, text_reader
    from genvet.nets.planted_text import written as marked

    shared = Path(__file__).parents[3] / "shared/data"
    if not shared.exists():
        pytest.skip("needs ../shared/data")
    faces: Images = load_images(shared / "faces_orl/orl_faces.npz#0:40")
    others: Images = load_images(shared / "omniglot/images_background_small1.zip#0:40")
    hits, alarms = (sum(bool(face_finder.faces(x)) for x in some.x) for some in (faces, others))
    assert hits >= 30 and alarms <= 1
    for i in range(2):
        x = faces.x[i].repeat_interleave(2, 1).repeat_interleave(2, 2)
        assert not text_reader.lines(x) and "4711" in " ".join(
            line.text for line in text_reader.lines(marked(x, "Anna 4711", 24))
        )
    np.savez(tmp_path / "data.npz", images=((faces.x[:3] + 1) * 127.5).round().byte().numpy())
    report = engine.audit(tmp_path / "data.npz", only=["faces"])
    assert {p.rule for p in found(report, "faces").proofs} == {"data.face"} and report.verdict.severity == "medium"
