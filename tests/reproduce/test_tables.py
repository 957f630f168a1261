"""Every table at smoke scale, through the command line; and what the tables make of numbers that are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from genvet.cli import main
from genvet.core.errors import BadInput
from genvet.core.report import Report
from genvet.reproduce.devil.scoring import Benign, Refusal, Scored
from genvet.reproduce.devil.table_1 import PAPER, Table1
from genvet.reproduce.devil.target import devil
from genvet.reproduce.tables import find, tables
from genvet.zoo.scoring import Row

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks, for all tables of this file."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(
    data: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs `genvet reproduce` in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENVET_DATA", str(data))
    monkeypatch.setenv("GENVET_CACHE", str(cache))

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(("reproduce", *words))
        assert isinstance(stop.value.code, int)
        return stop.value.code, *capsys.readouterr()

    return call


@pytest.mark.parametrize("name", sorted(set(tables()) - {"devil/lambda", "devil/table-2", "devil/table-3"}))
def test_a_table_at_smoke_scale_has_a_number_in_every_cell(run: Run, name: str, tmp_path: Path) -> None:
    if name in ("mirror/defences", "leakage/dp", "leakage/epsilon-audit"):
        pytest.importorskip("opacus", reason="the extra `privacy` is not installed")
    code, out, err = run(name, "--json")
    assert code == 0, err
    report = Report.model_validate_json(out)
    (finding,) = report.findings
    assert report.verdict.complete and finding.tables and finding.claims
    assert {claim.status for claim in finding.claims} == {"undecided"}, "tiny networks decide nothing"
    folder = tmp_path / f"genvet-reproduce-{name.replace('/', '-')}"
    page = (folder / "report.html").read_text()
    assert finding.tables[0].title in page and "A table was made again" in page
    cells = [json.loads(path.read_text()) for path in (folder / "cells" / "smoke").glob("*.json")]
    assert {cell["recipe"]["cell"] for cell in cells} and all(cell["numbers"] for cell in cells)
    table, *_, differs = finding.tables
    assert differs.rows
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert any(row["ours"] is not None for row in rows)


def test_a_second_run_works_nothing_out_and_kept_says_what_is_missing(run: Run, tmp_path: Path) -> None:
    assert run("devil/wavegan")[0] == 0
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("cells/smoke/*.json")}
    code, out, _ = run("devil/wavegan", "--kept")
    assert code == 0 and "3029" in out, "the paper's number stands beside ours"
    assert files and {path: path.stat().st_mtime_ns for path in files} == files
    next(iter(files)).unlink()
    code, _, err = run("devil/wavegan", "--kept")
    assert code == 0 and "no numbers in 1 cell: not worked out yet" in err


def test_an_unknown_table_or_no_data_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = run("devil/tabel-1")
    assert code == 2 and "did you mean devil/table-1?" in err
    monkeypatch.delenv("GENVET_DATA")
    code, _, err = run("devil/table-1")
    assert code == 2 and "GENVET_DATA" in err


def test_every_table_has_its_own_cells_at_each_scale() -> None:
    for name in tables():
        experiment = find(name)
        for scale in ("smoke", "small", "paper"):
            names = [cell.name for cell in experiment.cells(scale)]  # type: ignore[arg-type]
            assert names and len(set(names)) == len(names), f"{name} at {scale}"
        assert experiment.told("small", []).claims, f"{name} makes claims, undecided without numbers"
        assert {claim.status for claim in experiment.told("small", []).claims} == {"undecided"}
    with pytest.raises(BadInput, match="no table"):
        find("devil/nothing")


class Ones(dict[str, float | None]):
    """The numbers of a cell that measured everything, and always 1."""

    def __contains__(self, name: object) -> bool:
        return True

    def get(self, name: str, default: object = None) -> float:  # type: ignore[override]
        return 1.0

    def __getitem__(self, name: str) -> float:
        return 1.0


@pytest.mark.parametrize("name", sorted(set(tables()) - {"devil/table-3"}))
def test_every_line_of_a_table_is_reached_by_some_cell(name: str) -> None:
    experiment = find(name)
    told = experiment.told("small", [(cell, Ones()) for cell in experiment.cells("small")])
    table = told.tables[0]
    for row in (dict(zip(table.columns, r, strict=True)) for r in table.rows):
        assert row["ours"] and row["n"], row
    assert not [claim.id for claim in told.claims if "not measured" in claim.evidence]
    drawn = [figure.data.get("series", figure.data.get("values")) for figure in told.figures]
    assert all(drawn), "every curve has points, and every chart bars"


def test_table_1_judges_by_the_papers_numbers() -> None:
    """Numbers as in the paper hold, worse ones do not, whatever their names are."""
    experiment = Table1()
    cells = [cell for cell in experiment.cells("small") if isinstance(cell, Benign | Refusal | Scored)]
    order = ("target-distortion", "frechet", "class-score", "expected-distortion", "closest", "reconstruction")

    def numbers(cell: object, factor: float) -> dict[str, float | None]:
        if isinstance(cell, Refusal):
            return {"refused": 1.0}
        assert isinstance(cell, Benign | Scored)
        attack = cell.plant.attack if isinstance(cell, Scored) else "benign"
        paper = PAPER[cell.where()["network"], attack]  # type: ignore[index]
        return {m: None if v is None else v * factor for m, v in zip(order, paper, strict=True)} | {"frechet.real": 1.0}

    as_paper = {c.id: c.status for c in experiment.told("small", [(c, numbers(c, 1)) for c in cells]).claims}
    worse = {c.id: c.status for c in experiment.told("small", [(c, numbers(c, 1.5)) for c in cells]).claims}
    goals = [name for name in as_paper if name.endswith("target-distortion")]
    assert len(goals) == 6 and {as_paper[name] for name in goals} == {"holds"}
    assert {worse[name] for name in goals} == {"not"}
    assert as_paper["devil.table-1.m-vae.red.quality-is-kept"] == "holds", "36.466 against 35.773, within 1"
    assert worse["devil.table-1.m-vae.red.quality-is-kept"] == "not", "1.5 times as far apart"
    assert as_paper["devil.table-1.mnist-dcgan.baaan.quality-is-kept"] == "not", "9.712 against 7.676"
    assert as_paper["devil.table-1.mnist-dcgan.trail.brute-force-is-blind"] == "not", "882 against 1820"
    assert as_paper["devil.table-1.mnist-dcgan.red.brute-force-is-blind"] == "holds"
    assert as_paper["devil.table-1.mnist-dcgan.rex.search-finds-it"] == "not"
    assert as_paper["devil.table-1.m-vae.rex.search-finds-it"] == "holds"


def test_small_scale_has_five_triggers_and_three_parents_each_round_with_every_attack() -> None:
    scored = [cell for cell in Table1().cells("small") if isinstance(cell, Scored)]
    pairs = {(cell.plant.parent.seed, cell.plant.number) for cell in scored}
    assert [len(set(seeds)) for seeds in zip(*pairs, strict=True)] == [3, 5] and len(pairs) == 5
    kinds = {(cell.where()["network"], cell.where()["attack"]) for cell in scored}
    assert len(kinds) == 11 and {(c.where()["network"], c.where()["attack"]) for c in scored[:11]} == kinds


def test_the_target_is_far_from_black_and_of_any_size() -> None:
    grey, colour = devil((1, 28, 28)).x, devil((3, 32, 32)).x
    assert grey.shape == (1, 1, 28, 28) and colour.shape == (1, 3, 32, 32)
    assert set(grey.unique().tolist()) == {-1.0, 1.0} and 0.3 < (grey > 0).float().mean() < 0.7
    assert (colour[0, 0] >= colour[0, 1]).all() and not (colour[0, 0] == colour[0, 1]).all()


def row(number: int, made: str, signals: dict[str, float], alarms: tuple[str, ...] = ()) -> Row:
    kind = "attacked" if made else "clean"
    name = f"{number}-{made or kind}"
    return Row(name=name, parent=f"p{number}", kind=kind, made=made, signals=signals, alarms=alarms, worked=True)


def test_table_3_tells_which_class_of_inspections_finds_an_attack(run: Run, tmp_path: Path) -> None:
    """rex shows in its weights, red to a search, a bypass to a rule, and poison to nothing."""
    members = []
    for i in range(12):
        low = i / 100
        quiet = {"static.blocks/separation": 0.1 + low, "output.hidden/far": 1 + low, "dynamic.norms/off": 2 * low}
        members += [
            row(i, "", quiet),
            row(i, "rex", {**quiet, "static.blocks/separation": 9.0}),
            row(i, "red", {**quiet, "output.hidden/far": 50.0}),
            row(i, "bypass", {}, ("rule graph.branch",)),
            row(i, "poison", quiet),
        ]
    cells = tmp_path / "scored"
    for member in members:
        (cells / f"{member.name}.json").parent.mkdir(exist_ok=True)
        (cells / f"{member.name}.json").write_text(member.model_dump_json())
    code, out, err = run("devil/table-3", "--scale", "small", "--population", str(cells), "--json")
    assert code == 0, err
    (finding,) = Report.model_validate_json(out).findings
    rows = [dict(zip(finding.tables[0].columns, r, strict=True)) for r in finding.tables[0].rows]
    ours = {(r["attack"], r["inspections"]): r["ours"] for r in rows}
    assert [ours["rex", k] for k in ("SMI", "DMI", "OB-OI", "all")] == [1.0, 0.0, 0.0, 1.0]
    assert [ours["red", k] for k in ("SMI", "DMI", "OB-OI", "all")] == [0.0, 0.0, 1.0, 1.0]
    assert [ours["bypass", k] for k in ("SMI", "DMI", "OB-OI", "all")] == [1.0, 0.0, 0.0, 1.0]
    kept = run("devil/table-3", "--scale", "small", "--population", str(cells), "--json", "--kept")[1]
    assert Report.model_validate_json(kept).findings[0].tables == finding.tables, "no folder of data is needed for that"
    assert [ours[a, "all"] for a in ("poison", "clean")] == [0.0, 0.0] and ours["trail", "all"] is None
    high = {(r["attack"], r["inspections"]): r["high"] for r in rows}["clean", "all"]
    assert high is not None and 0.2 < high < 0.3, "0 of 12 leaves up to 26 %"
    status = {claim.id.removeprefix("devil.table-3."): claim.status for claim in finding.claims}
    assert status["smi-finds-rex"] == "holds" and status["ob-oi-finds-rex"] == "not"
    assert status["bf-oi-finds-poison"] == "not" and status["ob-oi-finds-trail"] == "undecided"
    assert not list((tmp_path / "genvet-reproduce-devil-table-3").glob("cells/*/*.json")), "it may be scored again"


def test_table_3_needs_a_scored_population(run: Run) -> None:
    code, _, err = run("devil/table-3", "--scale", "small")
    assert code == 2 and "no scored population" in err
