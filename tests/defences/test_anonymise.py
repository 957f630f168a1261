"""The copy tells less: only pixels survive, names lead nowhere, and it is there whole or not at all."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile import pictures as files
from PIL import Image
from torch import nn

from genvet.cli import main
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.defences.data.anonymise import Anonymise, Given
from genvet.engine import anonymising
from genvet.engine.anonymising import Told, anonymise
from genvet.engine.auditing import audit
from genvet.files import anonymised, metadata
from genvet.files.dataset import read_dataset
from genvet.files.pseudonyms import Pseudonyms, read_key
from genvet.maths.hiding import blurred, by_guess, pixelated, told_apart

WHOLE = Anonymise(how=("strip", "pixelate"), region="whole")


def planted(folder: Path) -> Path:
    """Pictures that carry all sorts of things, of two people; and a table of them."""
    for i in range(8):
        person = folder / ("Anna_Schmidt" if i % 2 else "Peter_Miller")
        person.mkdir(parents=True, exist_ok=True)
        soft = torch.nn.functional.interpolate(
            torch.rand(1, 1, 6, 6, generator=torch.manual_seed(i)), (40, 40), mode="bicubic"
        )
        Image.fromarray((soft[0, 0].clamp(0, 1) * 255).byte().numpy()).save(person / f"{i}.png")
    (folder / "Anna_Schmidt/gps.jpg").write_bytes(files.placed())
    (folder / "Anna_Schmidt/gps.png").write_bytes(files.png() + files.archive())
    rows = [f"{'Anna_Schmidt' if i % 2 else 'Peter_Miller'}/{i}.png,a{i % 2}@example.org,{30 + i}" for i in range(8)]
    (folder / "people.csv").write_text("file,email,age\n" + "\n".join(rows) + "\n")
    return folder


def log(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / anonymised.LOG).read_text().splitlines()]


def test_nothing_survives_but_the_pixels(tmp_path: Path) -> None:
    data = planted(tmp_path / "data")
    before = read_dataset(data)
    _, into = anonymise(before, Anonymise(how=("strip",)), tmp_path / "new", out=tmp_path / "out")
    after = read_dataset(into)
    assert len(after) == len(before) == 10 and not any(item.facts for item in after.items)
    found = {entry["file"]: entry for entry in log(tmp_path / "out")}
    for i, item in enumerate(before.items):
        entry = found[item.name]
        path = into / str(entry["to"])
        bytes_ = path.read_bytes()
        assert entry["before"] == item.sha256 and not metadata.look(bytes_, "x").facts
        kinds = [bytes_[at + 4 : at + 8] for at in chunks(bytes_)]
        assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}, "and no other chunk"
        new = [other.name for other in after.items].index(str(entry["to"]))
        assert torch.equal(after.whole(new), before.whole(i)), "pixels stay, to the bit"
    assert {str(found[name]["to"]) for name in found if "gps" in name} == {
        "Anna_Schmidt/gps.jpg.png",
        "Anna_Schmidt/gps.png.png",
    }
    assert after.sheets[0].rows == before.sheets[0].rows


def chunks(data: bytes) -> list[int]:
    at, found = 8, []
    while at < len(data):
        found.append(at)
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return found


def test_pseudonyms_lead_nowhere_without_the_key(tmp_path: Path) -> None:
    data = planted(tmp_path / "data")
    how = Anonymise(how=("strip", "pseudonymise"))
    key = tmp_path / "key"
    _, into = anonymise(read_dataset(data), how, tmp_path / "new", out=tmp_path / "out", key=key)
    assert key.stat().st_mode & 0o777 == 0o600 and len(key.read_bytes()) == 32
    everything = " ".join(p.relative_to(into).as_posix() for p in into.rglob("*")) + (into / "table-1.csv").read_text()
    assert not any(word in everything for word in ("Anna", "Schmidt", "Peter", "@", "example"))
    assert "gps" not in re.findall(r"\w+", everything), "three letters may stand in a pseudonym by chance"
    names, after = Pseudonyms(key.read_bytes()), read_dataset(into)
    assert "data.identifier" not in {p.rule for f in audit(after, only=["tables"]).findings for p in f.proofs}
    assert set(after.classes) == {names.of("Anna_Schmidt"), names.of("Peter_Miller")}
    sheet = after.sheets[0]
    assert set(sheet.column("email")) == {names.of("a0@example.org"), names.of("a1@example.org")}
    assert set(sheet.column("file")) <= {item.name for item in after.items} and sheet.column("age")[0] == "30"
    _, other = anonymise(read_dataset(data), how, tmp_path / "other", out=tmp_path / "out2", key=tmp_path / "key2")
    assert {p.name for p in other.rglob("*.png")}.isdisjoint(p.name for p in into.rglob("*.png"))
    for bad in (None, into / "key"):
        with pytest.raises(BadInput):
            anonymise(read_dataset(data), how, into, out=tmp_path / "out3", key=bad)
    (tmp_path / "short").write_bytes(b"abc")
    with pytest.raises(BadInput, match="no key"):
        read_key(tmp_path / "short", into)


def test_an_interrupted_run_goes_on_and_leaves_nothing_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, calls = read_dataset(planted(tmp_path / "data")), list[Path]()
    write = anonymised.write_bytes

    def full(path: Path, some: bytes) -> Path:
        if path.suffix == ".png":
            calls.append(path)
            if len(calls) == 5:
                raise BadInput(f"cannot write {path}: {os.strerror(28)}")
        return write(path, some)

    monkeypatch.setattr(anonymised, "write_bytes", full)
    with pytest.raises(BadInput, match="No space left"):
        anonymise(data, WHOLE, tmp_path / "new", out=tmp_path / "out")
    assert not (tmp_path / "new").exists() and len(log(tmp_path / "out")) == 4
    with (tmp_path / "out" / anonymised.LOG).open("a") as torn:
        torn.write('{"file": "cut')
    _, into = anonymise(data, WHOLE, tmp_path / "new", out=tmp_path / "out")
    assert len(calls) == 5 + 6 and len(read_dataset(into)) == 10 and len(log(tmp_path / "out")) == 11
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    _, fresh = anonymise(data, WHOLE, tmp_path / "fresh", out=tmp_path / "out2")
    same = [(into / p.relative_to(fresh)).read_bytes() == p.read_bytes() for p in fresh.rglob("*") if p.is_file()]
    assert len(same) == 11 and all(same)
    with pytest.raises(BadInput, match="there already"):
        anonymise(data, WHOLE, tmp_path / "new", out=tmp_path / "out")


def test_names_lead_to_no_place_outside_the_new_folder(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for name in (
            "../../up.png",
            "/root.png",
            "a/../../b.png",
            "a\\..\\c.png",
            "d" * 300 + ".png",
            "A.png",
            "a.png",
        ):
            archive.writestr(name, files.png())
    into = tmp_path / "deep/er/new"
    anonymise(read_dataset(tmp_path / "data.zip"), Anonymise(), into, out=tmp_path / "out")
    written = [p.relative_to(into).as_posix() for p in into.rglob("*") if p.is_file()]
    assert len(written) == 7 and len({name.lower() for name in written}) == 7
    assert {p.name for p in tmp_path.iterdir()} == {"data.zip", "deep", "out"}


def test_what_is_left_out_is_gone_from_tables_as_well(tmp_path: Path) -> None:
    data = planted(tmp_path / "data")
    (data / "Peter_Miller/6.png").write_bytes((data / "Peter_Miller/0.png").read_bytes())
    how = Anonymise(how=("strip", "drop"), dropped=("duplicates", "fields"))
    told = Told(needed=("file",))
    finding, into = anonymise(read_dataset(data), how, tmp_path / "new", out=tmp_path / "out", told=told)
    sheet = read_dataset(into).sheets[0]
    assert sheet.columns == ("file",) and len(sheet.rows) == 7 and len(read_dataset(into)) == 9
    (row,) = finding.tables[-1].rows
    assert row[3:] == (1, None, 8, None) and "rows of pictures that were left out: 1" in str(row[2])


def test_who_is_found_again(tmp_path: Path) -> None:
    """Untouched pictures always are; samples of a generator are as often as chance has it."""
    data = read_dataset(planted(tmp_path / "data"))
    net = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
    generator = Generator(module=net.eval(), latent=Latent(3), shape=(1, 8, 8), name="toy")
    untouched = Anonymise()(data, Given(), Rng(0))
    assert bool(untouched.again.all()) and untouched.kept == pytest.approx(1, abs=1e-3) and untouched.people is not None
    assert torch.equal(untouched.people[0], untouched.people[1])
    replaced = Anonymise(how=("synthetic",))(data, Given(generator=generator), Rng(0))
    assert int(replaced.again.sum()) <= 4 and replaced.kept < 0.5
    hardly = Anonymise(how=("pixelate",), region="whole", cells=20)(data, Given(), Rng(0))
    assert [e.rule for e in hardly.evidence()][:1] == ["data.found-again"] and not untouched.evidence()
    assert torch.equal(replaced.change(2).picture, replaced.change(2).picture)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="stands in"):
        Anonymise(how=("synthetic",))(data, Given(), Rng(0))
    rows = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
    assert told_apart(rows, rows, torch.tensor([0, 0, 1, 1])).all() and by_guess(torch.tensor([0, 0, 1, 1])) == 1 / 3


def test_only_the_part_is_hidden() -> None:
    x = torch.rand(1, 30, 30, generator=torch.manual_seed(1)) * 2 - 1
    for made in (blurred(x, (5, 5, 25, 20), 0.3), pixelated(x, (5, 5, 25, 20), 3)):
        inside = torch.zeros(30, 30, dtype=torch.bool)
        inside[5:20, 5:25] = True
        assert torch.equal(made[0][~inside], x[0][~inside]) and made[0][inside].std() < 0.3 * x[0][inside].std()
    flat = torch.full((3, 9, 9), 0.5)
    assert torch.allclose(blurred(flat, (0, 0, 9, 9), 1.0), flat) and torch.equal(
        pixelated(flat, (0, 0, 9, 9), 4), flat
    )


def test_the_command_audits_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    planted(tmp_path / "data")
    words = ["audit-data", "data", "--only", "metadata,names", "--out", "out"]

    def run(*more: str) -> int:
        with pytest.raises(SystemExit) as stop:
            main([*words, *more])
        return int(stop.value.code or 0)

    assert run() == 1
    assert run("--anonymise", "strip") == run("--into", "new") == run("--anonymise", "strip,burn", "--into", "new") == 2
    assert run("--anonymise", "strip", "--into", "data/new") == run("--out", "data/out") == 2
    assert not (tmp_path / "new").exists() and not (tmp_path / "data/new").exists()
    assert run("--anonymise", "strip,pseudonymise", "--into", "new", "--key", "key") == 0
    page = (tmp_path / "out/report.html").read_text()
    assert "data.anonymise" in page and (tmp_path / "out/after/report.html").exists()
    assert np.isfinite(len(read_dataset(tmp_path / "new"))) and anonymising.LOG == "anonymised.jsonl"
