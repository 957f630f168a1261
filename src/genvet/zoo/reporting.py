"""The scores of a population as a report: curves, rates with intervals, each attack as if it were unknown."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from genvet import engine
from genvet.core.modelfile import ModelFile
from genvet.core.report import Figure, Finding, Measure, Report, Scalar, Table
from genvet.core.rng import Rng
from genvet.core.severity import Severity
from genvet.maths.ranking import Array, Scores, auc, by_parent, caught, caught_share, roc
from genvet.maths.statistics import Interval, clopper_pearson
from genvet.zoo import judging
from genvet.zoo.limits import Judged, bound
from genvet.zoo.scoring import meanings

BINS = 24
COLUMNS = ("", "attacked", "clean", "AUC", "low", "high", "above every clean one", "low", "high")
ALARMS = ("alarms, threshold of other parents", "low", "high")


def report(judged: Judged, command: str) -> Report:
    """The report: one finding on the verdict as a whole, and one on each signal."""
    order = _order(judged)
    signals = [_signal(judged, j) for j in order]
    findings = [_whole(judged, _alone(judged, order, signals)), *signals]
    rows = [row.model_dump(mode="json") for row in (*judged.table.rows, *judged.apart.rows)]
    digest = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
    model = ModelFile(path=f"population {judged.name}", sha256=digest, size=0, format="population")
    made = engine.compose(model, findings, [], command)
    said = {
        "loading": "The models were read as any stranger's.",
        "behaviour": findings[0].summary,
        "unchecked": "This is the score of inspections on a population, not a scan of one model.",
    }
    return made.model_copy(update={"verdict": made.verdict.model_copy(update=said)})


def _order(judged: Judged) -> list[int]:
    """Signals by how well they do, those of the verdict first."""
    areas = [auc(judged.table.scores(column)) for column in judged.alone.T]
    return sorted(range(len(areas)), key=lambda j: (j not in judged.verdict.chosen, -np.nan_to_num(areas[j])))


def _finding(judged: Judged, name: str, summary: str, **more: object) -> Finding:
    return Finding(
        technique=f"zoo.{name}",
        version=1,
        access="nothing",
        config={"population": judged.name, "depth": judged.depth},
        severity=Severity.INFO,
        reason="a score of inspections, not a scan",
        summary=summary,
        seed=judged.seed,
        **more,  # type: ignore[arg-type]
    )


def _whole(judged: Judged, alone: Table) -> Finding:
    table, scores = judged.table, judged.table.scores(judged.scores)
    clean, rng = scores.clean > 1, Rng(judged.seed, "zoo")
    names = ", ".join(table.names[j] for j in judged.verdict.chosen)
    measures = [Measure(name="false-alarms", value=float(clean.mean()), high=bound(clean), n=len(clean))]
    summary = f"{int(clean.sum())} of {len(clean)} clean generators give an alarm (at most {bound(clean):.1%}, at 95 %)"
    if len(scores.planted):
        area, low = auc(scores), by_parent(scores, auc, rng)
        hits = int((scores.planted > 1).sum())
        found = clopper_pearson(hits, len(scores.planted))
        measures = [
            Measure(name="auc", value=area, low=low.low, high=low.high, n=len(scores), chance=0.5),
            Measure(
                name="detected", value=hits / len(scores.planted), low=found.low, high=found.high, n=len(scores.planted)
            ),
            *measures,
        ]
        summary = f"AUC {area:.3f} ({low.low:.3f} to {low.high:.3f}); {hits} of {len(scores.planted)} found; {summary}"
    every = (_by_kind(judged, rng), _unknown(judged, rng), alone, _clean(judged), _apart(judged))
    tables = [t for t in every if t.rows]
    figures = [_curve("Verdict", {"all": scores, **_attacks(judged)})] if len(scores.planted) else []
    return _finding(
        judged,
        "verdict",
        f"{summary}. It takes {names}.",
        measures=tuple(measures),
        tables=tuple(tables),
        figures=(
            *figures,
            _bars("The verdict's score; above 1 is an alarm", judged.table, np.minimum(judged.scores, 5)),
        ),
    )


def _attacks(judged: Judged) -> dict[str, Scores]:
    return {name: part for name, part in _parts(judged, judged.table.attack) if name}


def _parts(judged: Judged, labels: NDArray[np.str_], scores: Array | None = None) -> Iterator[tuple[str, Scores]]:
    """All clean ones beside the attacked ones of each label."""
    table, value = judged.table, judged.scores if scores is None else scores
    for label in np.unique(labels[table.attacked]):
        yield str(label), table.scores(value).only(~table.attacked | (labels == label))


def _row(name: str, scores: Scores, rng: Rng) -> list[Scalar]:
    """Counts; the area with its interval by parent; how many lie above every clean one."""
    n = len(scores.planted)
    area, hits = by_parent(scores, auc, rng), caught(scores)
    exact = clopper_pearson(hits, n)
    return [name, n, len(scores.clean), _round(auc(scores)), *_ends(area), f"{hits} of {n}", *_ends(exact)]


def _alarms(scores: Array) -> list[Scalar]:
    """Alarms by thresholds that other parents gave, with the exact interval."""
    hits, n = int((scores > 1).sum()), len(scores)
    return [f"{hits} of {n}", *_ends(clopper_pearson(hits, n))]


def _ends(interval: Interval) -> list[Scalar]:
    return [_round(interval.low), _round(interval.high)]


def _round(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 3)


def _by_kind(judged: Judged, rng: Rng) -> Table:
    """The verdict against all attacks, each attack, each trigger, each family."""
    table = judged.table
    whole = table.scores(judged.scores)
    groups = [("all attacks", whole)] if table.attacked.any() else []
    if table.attacked.any() and (table.ruled & table.attacked).any() and (~table.ruled & table.attacked).any():
        groups.append(("all that no rule finds", whole.only(~table.ruled | ~table.attacked)))
    groups += [(f"attack {name}", part) for name, part in _parts(judged, table.attack)]
    groups += [(f"trigger {name}", part) for name, part in _parts(judged, table.trigger)]
    families = np.unique(table.family[table.attacked & (table.family != "")])
    groups += [(str(name), whole.only(table.family == name)) for name in families]
    rows = [(*_row(name, part, rng), *_alarms(part.planted)) for name, part in groups]
    return Table(title="The verdict, by what was planted", columns=(*COLUMNS, *ALARMS), rows=tuple(rows))


def _unknown(judged: Judged, rng: Rng) -> Table:
    """Each attack by verdicts that were fitted without it."""
    table, rows = judged.table, []
    known = [str(a) for a in np.unique(table.attack[table.attacked])]
    for attack in known if len(known) > 1 else []:
        scores = judging.across(table, without=attack)
        part = table.scores(scores).only(~table.attacked | (table.attack == attack))
        rows.append((*_row(attack, part, rng), *_alarms(part.planted)))
    title = "Each attack as if it were unknown: thresholds set without it, on other parents"
    return Table(title=title, columns=(*COLUMNS, *ALARMS), rows=tuple(rows))


def _alone(judged: Judged, order: Sequence[int], signals: Sequence[Finding]) -> Table:
    """How well each signal does by itself."""
    rows = []
    for j, finding in zip(order, signals, strict=True):
        ends = [end for m in finding.measures for end in (m.value, m.low, m.high)]
        place = "yes" if j in judged.verdict.chosen else "no"
        if ends:
            rows.append((judged.table.names[j], place, *(None if end is None else _round(end) for end in ends)))
    columns = ("signal", "in the verdict", "AUC", "low", "high", "share above every clean one", "low", "high")
    title = "Each signal alone, in units of clean generators of other parents"
    return Table(title=title, columns=columns, rows=tuple(rows))


def _clean(judged: Judged) -> Table:
    """False alarms by what was done to clean generators."""
    rows = []
    clean = [(r.made or "model", s) for r, s in zip(judged.table.rows, judged.scores, strict=True) if r.kind == "clean"]
    for made in sorted({name for name, _ in clean}):
        scores = np.array([s for name, s in clean if name == made])
        rows.append((made, *_alarms(scores), _round(float(scores.max()))))
    columns = ("clean variant", *ALARMS, "highest score")
    return Table(title="False alarms, by threshold of other parents", columns=columns, rows=tuple(rows))


def _apart(judged: Judged) -> Table:
    """What counts on neither side."""
    apart = judged.apart
    scores = judged.verdict.scores(apart) if apart.rows else np.zeros(0)
    of: dict[str, list[float]] = {}
    for row, score in zip(apart.rows, scores.tolist(), strict=True):
        what = "declared mark" if row.kind == "declared" else f"{row.group} {row.made}" * (row.group != "main")
        of.setdefault(what or f"failed {row.made}", []).append(score)
    rows = tuple((name, *_alarms(np.array(s)), _round(max(s))) for name, s in sorted(of.items()))
    columns = ("", "alarms", "low", "high", "highest score")
    return Table(
        title="Counted on neither side: failed attacks, declared marks, the large network", columns=columns, rows=rows
    )


def _signal(judged: Judged, j: int) -> Finding:
    """One signal alone, in units of clean generators of other parents; rules say nothing here."""
    table, rng, name = judged.table, Rng(judged.seed, "zoo"), judged.table.names[j]
    alone = np.where(table.ruled, 0.0, judged.alone[:, j])
    scores, known = table.scores(alone), ~np.isnan(table.values[:, j])
    on = f"{int((known & table.attacked).sum())} attacked and {int((known & ~table.attacked).sum())} clean generators"
    measures: list[Measure] = []
    rows: list[tuple[Scalar, ...]] = []
    figures = [_bars(name, table, table.values[:, j])]
    if n := len(scores.planted):
        area, share = by_parent(scores, auc, rng), by_parent(scores, caught_share, rng, 500)
        measures = [
            Measure(name="auc", value=auc(scores), low=area.low, high=area.high, n=len(scores), chance=0.5),
            Measure(name="above-every-clean-one", value=caught_share(scores), low=share.low, high=share.high, n=n),
        ]
        parts = {"all attacks": scores, **dict(_parts(judged, table.attack, alone))}
        rows = [(*_row(label, part, rng), *_alarms(part.planted)) for label, part in parts.items()]
        figures.append(_curve(name, parts))
    rows.append(("clean ones", None, len(scores.clean), *[None] * 6, *_alarms(scores.clean)))
    place = "in" if j in judged.verdict.chosen else "not in"
    return _finding(
        judged,
        name.replace("/", "."),
        f"{name}, {place} the verdict: {meanings()[name]}; measured on {on}.",
        measures=tuple(measures),
        tables=(Table(title=name, columns=(*COLUMNS, *ALARMS), rows=tuple(rows)),),
        figures=tuple(figures),
    )


def _curve(title: str, of: dict[str, Scores]) -> Figure:
    """ROC curves: at most those of the whole and of five attacks have a colour each."""
    series = {f"{name} {auc(s):.2f}": list(roc(s)) for name, s in of.items() if len(s.planted)}
    data = {"series": series, "x": "share of clean ones with an alarm", "y": "share of attacked ones found"}
    return Figure(kind="curve", title=f"{title}: ROC, with the area", data=data)


def _bars(title: str, table: judging.Table, value: Array) -> Figure:
    """Two histograms over common bins, as steps."""
    known = ~np.isnan(value)
    edges = np.histogram_bin_edges(value[known] if known.any() else np.zeros(1), BINS)
    series = {}
    for name, side in (("clean", ~table.attacked), ("attacked", table.attacked)):
        counts, _ = np.histogram(value[known & side], edges)
        series[name] = [np.repeat(edges, 2)[1:-1].tolist(), np.repeat(counts, 2).tolist()]
    return Figure(kind="curve", title=title, data={"series": series, "x": "value", "y": "generators"})
