"""From cells to a verdict: what is planted is found on parents never seen, what is clean is left alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from genvet import scan
from genvet.cli.app import run
from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.files.convert import save
from genvet.files.thresholds import packaged, read_thresholds
from genvet.maths.ranking import auc
from genvet.nets import dcgan
from genvet.zoo import judging, limits, reporting, scoring
from genvet.zoo.judging import ALARM, MARGIN, Table, across, crossed, fit
from genvet.zoo.scoring import Row, look, meanings

GOOD, OTHER, NOISE = "good/signal", "other/signal", "noise/signal"
NAMES = (GOOD, OTHER, NOISE)


def row(name: str, parent: int, attack: str = "", **more: object) -> Row:
    drawn = np.random.default_rng(abs(hash_of(name)))
    signals = {key: float(drawn.normal()) for key in NAMES}
    signals[GOOD] += 30 * (attack in ("red", "rex"))
    signals[OTHER] += 30 * (attack == "trail")
    made = {"name": name, "parent": f"p{parent}", "kind": "attacked" if attack else "clean", "made": attack or "as-is"}
    kind = {"family": "convolutional", "shape": (1, 8, 8), "signals": signals}
    return Row(**{**made, **kind, **more})


def hash_of(name: str) -> int:
    return int.from_bytes(name.encode(), "big") % 2**63


@pytest.fixture(scope="module")
def population() -> list[Row]:
    attacks = ("red", "rex", "trail")
    clean = [row(f"c{p}-{i}", p) for p in range(12) for i in range(6)]
    return clean + [row(f"a{p}-{a}", p, a, trigger="mode" if p % 2 else "far") for p in range(12) for a in attacks]


def test_thresholds_lie_between_clean_and_attacked(population: list[Row]) -> None:
    """Half-way to what lies far beyond, where attacked ones are known to; else far enough for other parents' clean."""
    table = Table.of(population, (GOOD, OTHER))
    scores = fit(table).scores(table)
    assert (scores[table.attacked] > 1).all() and (scores[~table.attacked] <= 1 / MARGIN + 1e-9).all()
    told, blind = judging.Scale.of(table), judging.Scale.of(table.take(~table.attacked))
    assert (blind.reach[""] < told.reach[""]).all() and (told.reach[""] < 30 / 2).all()


def test_one_signal_ranks_and_the_others_speak_beyond_their_thresholds() -> None:
    names = ("other/signal", *judging.SIGNALS[:2])
    rows = [ranked(f"c{i}", i % 4, names, [9.0 * i, 0.1 * i, 0.1 * i]) for i in range(12)]
    verdict = fit(Table.of(rows, names))
    assert verdict.chosen == (1, 2) and verdict.graded == (1,) and fit(Table.of(rows, names[:1])).graded == (0,)
    low, near, beyond = (Table.of([ranked("m", 9, names, [1e9, 0.0, x])], names) for x in (0.0, 1.0, 1e3))
    assert verdict.scores(low) == verdict.scores(near) < 0 and verdict.scores(beyond) > 1


def ranked(name: str, parent: int, names: tuple[str, ...], values: list[float]) -> Row:
    return row(name, parent).model_copy(update={"signals": dict(zip(names, values, strict=True))})


def test_thresholds_come_from_other_parents(population: list[Row]) -> None:
    """One parent's clean generators all lie far out: by their own thresholds none would, by those of others all do."""
    odd = [r if r.parent != "p3" or r.made != "as-is" else shifted(r, 40) for r in population]
    table = Table.of(odd, NAMES)
    scores = across(table)
    here = (table.parent == "p3") & ~table.attacked
    assert (scores[here] > 1).all() and (scores[~here & ~table.attacked] <= 1).all()
    assert (crossed(table)[here, 0] > 1).all()
    assert auc(table.scores(across(Table.of(population, NAMES)))) == 1.0


def shifted(one: Row, by: float) -> Row:
    return one.model_copy(update={"signals": {key: value + by for key, value in one.signals.items()}})


def test_an_unknown_attack_is_judged_without_it(population: list[Row]) -> None:
    """What only `trail` shows is still looked for, from a threshold that clean generators alone gave."""
    table = Table.of(population, (GOOD, OTHER))
    with_it, without = across(table), across(table, without="trail")
    trail = table.attack == "trail"
    assert (without[trail] > with_it[trail]).all() and (without[trail] > 1).all()
    assert without[table.attack == "red"] == pytest.approx(with_it[table.attack == "red"], rel=0.01)


def test_missing_signals_say_nothing_and_rules_say_all(population: list[Row]) -> None:
    table = Table.of(population, NAMES)
    verdict = fit(table)
    blind = row("blind", 1, "red").model_copy(update={"signals": {}, "family": ""})
    ruled = blind.model_copy(update={"alarms": ("rule graph.branch",)})
    assert verdict.scores(Table.of([blind, ruled], NAMES)).tolist() == [0.0, ALARM]
    only_planted = [r if r.kind == "attacked" else r.model_copy(update={"signals": {NOISE: 0.0}}) for r in population]
    assert (crossed(Table.of(only_planted, NAMES))[:, 0] == 0).all(), "no clean one has it: there is no unit for it"


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two real signals in place of the invented ones."""
    names = list(meanings())[:2]
    return names


def renamed(rows: list[Row], names: list[str]) -> list[Row]:
    ways = {e.name: scoring.standing(e.load(), "standard") for e in scoring.inspections()}
    signals = [{n: r.signals[k] for n, k in zip(names, (GOOD, OTHER), strict=True)} for r in rows]
    return [r.model_copy(update={"signals": s, "standing": ways}) for r, s in zip(rows, signals, strict=True)]


def test_the_report_tells_rates_with_intervals_and_what_is_apart(population: list[Row], known: list[str]) -> None:
    failed = row("failed", 1, "red", worked=False)
    declared = row("declared", 1, kind="declared")
    judged = limits.judge("test", renamed([*population, failed, declared], known))
    report = reporting.report(judged, "genvet zoo score")
    whole = report.findings[0]
    measures = {m.name: m for m in whole.measures}
    assert measures["auc"].value == 1.0 and measures["auc"].low is not None
    assert measures["detected"].n == 36 and measures["detected"].low == pytest.approx(0.9026, abs=1e-3)
    assert measures["false-alarms"].high == pytest.approx(3 / 72)
    titles = {t.title.split(",")[0].split(":")[0]: t for t in whole.tables}
    kinds = {r[0]: r for r in titles["The verdict"].rows}
    assert {"all attacks", "attack red", "attack trail", "trigger mode", "trigger far"} <= set(kinds)
    assert kinds["attack red"][1:3] == (12, 72) and kinds["attack red"][6] == "12 of 12"
    apart = next(t for t in whole.tables if t.title.startswith("Counted on neither"))
    assert [r[0] for r in apart.rows] == ["declared mark", "failed red"]
    made = limits.population(judged)
    assert made.clean == 72 and made.parents == 12 and made.false_alarms == 0 and made.bound == pytest.approx(3 / 72)
    for limit in made.limits:
        name = f"{limit.technique}/{limit.measure}"
        top = max(r.signals[name] for r in renamed(population, known) if r.kind == "clean")
        assert limit.above > top > limit.middle
    old = [r.model_copy(update={"standing": dict.fromkeys(r.standing, "other")}) for r in judged.table.rows]
    with pytest.raises(BadInput, match="measured otherwise"):
        limits.population(limits.judge("old", old))


def test_too_few_clean_ones_set_no_threshold(population: list[Row], known: list[str]) -> None:
    few = renamed([r for r in population if r.kind == "attacked"] + population[:4], known)
    with pytest.raises(BadInput, match="too few clean"):
        limits.judge("few", few)
    mixed = [*population[:20], population[20].model_copy(update={"depth": "quick"})]
    with pytest.raises(BadInput, match="alike"):
        limits.judge("mixed", renamed(mixed, known))


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five clean models of a user's own."""
    folder = tmp_path_factory.mktemp("owned")
    for seed in range(5):
        generator = dcgan.build(latent=4, capacity=2, size=8)
        for i, p in enumerate(generator.module.parameters()):
            import torch

            p.data = 0.2 * torch.randn(p.shape, generator=Rng(seed, str(i)).block())
        save(generator, folder / f"model {seed}.safetensors")
    return folder


def test_a_users_own_models_give_thresholds_for_scans(
    owned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cheap = {"static.norms", "dynamic.gradients"}
    entries = [e for e in scoring.inspections() if e.name in cheap]
    monkeypatch.setattr(scoring, "inspections", lambda: entries)
    monkeypatch.setattr(limits, "inspections", lambda: entries)
    words = ["zoo", "score", str(owned), "--depth", "quick", "--name", "ours", "--out", str(tmp_path / "out")]
    table = tmp_path / "thresholds.json"
    assert run([*words, "--write", str(table), "--cells", str(tmp_path / "cells")]) == 0
    (made,) = read_thresholds(table).populations
    assert made.clean == 5 and made.attacked == 0 and made.bound >= 0.6 and made.kinds
    cells = sorted((tmp_path / "cells").glob("*.json"))
    assert len(cells) == 5
    monkeypatch.setattr(scoring, "scan", lambda *a, **k: pytest.fail("nothing has changed"))
    assert run([*words, "--write", str(table), "--cells", str(tmp_path / "cells")]) == 0
    assert (
        run(
            [
                "zoo",
                "score",
                str(tmp_path / "cells"),
                "--depth",
                "quick",
                "--name",
                "ours",
                "--out",
                str(tmp_path / "again"),
            ]
        )
        == 0
    )
    assert (tmp_path / "again" / "thresholds.json").read_text() == table.read_text()
    more = ["--depth", "quick", "--name", "more", "--write", str(table), "--out", str(tmp_path / "again")]
    assert run(["zoo", "score", str(tmp_path / "cells"), *more]) == 0
    assert [p.name for p in read_thresholds(table).populations] == ["ours", "more"]
    assert run([*words, "--write", str(table), "--cells", str(tmp_path / "cells")]) == 0
    assert "<script" not in (tmp_path / "out" / "report.html").read_text()
    model = next(iter(sorted(owned.iterdir())))
    report = scan(model, depth="quick", thresholds=table, only=cheap, device="cpu")
    assert report.verdict.severity <= "low"
    strict = json.loads(table.read_text())
    strict["populations"] = strict["populations"][-1:]
    for limit in strict["populations"][0]["limits"]:
        limit["above"] = -1.0
    table.write_text(json.dumps(strict))
    out = ["--out", str(tmp_path / "scan")]
    only = scan(model, depth="quick", thresholds=table, only=cheap, device="cpu")
    high = [f for f in only.findings if f.severity == "high"]
    assert high and "5 clean generators of population ours" in high[0].reason and f"{made.bound:.1%}" in high[0].reason
    table.write_text("{}x")
    assert run(["scan", str(model), "--file-only", "--thresholds", str(table), *out]) == 2
    assert "not a table of thresholds" in capsys.readouterr().err


def test_a_changed_inspection_alone_runs_again(owned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [e for e in scoring.inspections() if e.name in {"static.norms", "dynamic.gradients"}]
    monkeypatch.setattr(scoring, "inspections", lambda: entries)
    path = next(iter(sorted(owned.iterdir())))
    job = scoring.Look(path, Row(name="m", parent="m", signals={}), tmp_path / "out", "quick", 0, tmp_path / "cells")
    first = look(job)
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out" / "findings").iterdir()}
    assert first.signals and len(kept) == 2
    monkeypatch.setattr(entries[0].load(), "version", 99)
    assert look(job).key != first.key
    now = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out" / "findings").iterdir()}
    assert len(now) == 3 and all(now[name] == when for name, when in kept.items())


def test_what_is_no_generator_is_refused_or_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no files"):
        scoring.rows(tmp_path, tmp_path / "out", "quick")
    (tmp_path / "readme.txt").write_text("hello")
    assert scoring.rows(tmp_path, tmp_path / "out", "quick") == []


def test_scale_of_a_constant_is_not_nothing() -> None:
    rows = [row(f"c{i}", i % 3).model_copy(update={"signals": {GOOD: 1.0}}) for i in range(9)]
    table = Table.of(rows, (GOOD,))
    scale = judging.Scale.of(table)
    assert scale.reach[""][0] == pytest.approx(MARGIN * judging.FLOOR)
    assert (fit(table).scores(table) == 0).all()


def test_the_packaged_table_follows_from_the_committed_cells() -> None:
    """`genvet zoo score benchmarks/zoo/cells/small --write src/genvet/thresholds.json` gives the same again."""
    cells = scoring.stored(Path(__file__).parents[2] / "benchmarks" / "zoo" / "cells" / "small")
    (shipped,) = packaged().populations
    assert limits.population(limits.judge("small", cells)) == shipped
    assert shipped.clean >= 60 and shipped.parents >= 12 and shipped.attacked >= 80
