"""From the cells of a population to the thresholds that scans judge by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from genvet.core.calibration import Limit, Population
from genvet.core.errors import BadInput
from genvet.maths.ranking import Array
from genvet.maths.statistics import clopper_pearson, rule_of_three
from genvet.zoo import judging
from genvet.zoo.judging import Verdict
from genvet.zoo.scoring import Row, config, counts, inspections, meanings, standing

LEAST = 5
"""Clean generators that a threshold may rest on."""


@dataclass(frozen=True, eq=False)
class Judged:
    """A population with its verdict, fitted on all of it and, for every row, on other parents alone."""

    name: str
    table: judging.Table
    """Clean ones, and attacks that reached their goal."""
    apart: judging.Table
    """Attacks that failed, declared marks, the large network: judged, and counted on neither side."""
    verdict: Verdict
    scores: Array
    """Of the table's rows, by verdicts fitted on other parents; more than 1 is an alarm."""
    alone: Array
    """The same by each signal alone, (n, s)."""
    depth: str
    seed: int


def judge(name: str, rows: Sequence[Row]) -> Judged:
    """Fit the verdict; raises BadInput where there are too few clean generators to say anything."""
    main = [row for row in rows if row.group == "main" and row.kind != "declared" and row.worked is not False]
    main = [row for row in main if row.kind == "attacked" or row.family]
    names = [key for key in meanings() if any(row.signals.get(key) is not None for row in main if row.kind == "clean")]
    table = judging.Table.of(main, names)
    clean = int((~table.attacked & ~table.ruled).sum())
    if clean < LEAST or not names:
        got = f"{clean} with {len(names)} signals"
        raise BadInput("too few clean generators give a signal", expected=f"{LEAST} or more", got=got)
    if len({(row.depth, row.seed) for row in rows}) > 1:
        raise BadInput("these generators were not looked at alike", expected="one depth, one seed")
    kept = {id(row) for row in main}
    apart = judging.Table.of([row for row in rows if id(row) not in kept and row.family], names)
    verdict, scores, alone = judging.fit(table), judging.across(table), judging.crossed(table)
    return Judged(name, table, apart, verdict, scores, alone, rows[0].depth, rows[0].seed)


def population(judged: Judged) -> Population:
    """What `scan` takes from it; raises BadInput where the cells were measured otherwise than scans measure today."""
    table, clean = judged.table, ~judged.table.attacked & ~judged.table.ruled
    _check(judged, {table.names[j].rpartition("/")[0] for j in judged.verdict.chosen})
    kinds, alarms = _kinds(table.take(clean).rows), judged.scores[clean] > 1
    return Population(
        name=judged.name,
        depth=judged.depth,
        clean=int(clean.sum()),
        parents=len(set(table.parent[clean].tolist())),
        attacked=int(table.attacked.sum()),
        kinds=kinds,
        false_alarms=int(alarms.sum()),
        bound=bound(alarms),
        detected=int((judged.scores[table.attacked] > 1).sum()),
        genvet=version("genvet"),
        limits=tuple(_limits(judged, list(kinds))),
    )


def _kinds(rows: Iterable[Row]) -> dict[str, tuple[tuple[int, ...], ...]]:
    """The shapes of each family."""
    found: dict[str, set[tuple[int, ...]]] = {}
    for row in rows:
        found.setdefault(row.family, set()).add(tuple(row.shape))
    return {family: tuple(sorted(found[family])) for family in sorted(found)}


def _limits(judged: Judged, families: Sequence[str]) -> Iterator[Limit]:
    """By signal of the verdict and family, the threshold, which no clean one passes."""
    known, scale = {entry.name: entry.load() for entry in inspections()}, judged.verdict.scale
    for j in judged.verdict.chosen:
        name, _, measure = judged.table.names[j].rpartition("/")
        technique, settings = known[name], config(known[name], judged.depth)
        for family in families:
            place = family if family in scale.middle else ""
            middle, reach = scale.middle[place][j], scale.reach[place][j]
            if settings is not None and np.isfinite(reach):
                yield Limit(
                    technique=name,
                    version=technique.version,
                    config=settings,
                    measure=measure,
                    why=technique.signals[measure],
                    family=family,
                    above=float(middle + reach),
                    middle=float(middle),
                )


def _check(judged: Judged, names: set[str]) -> None:
    """Raises BadInput where cells come from other versions or settings than these inspections have today."""
    used = [(e, standing(e.load(), judged.depth)) for e in inspections() if e.name in names]
    told = ((row, e, now) for row in judged.table.rows for e, now in used if counts(e, row.family))
    old = {e.name for row, e, now in told if row.standing.get(e.name, "") != now}
    if old:
        hint = "score the models again: only what has changed is run"
        raise BadInput(f"{', '.join(sorted(old))} measured otherwise than today", hint=hint)


def bound(alarms: NDArray[np.bool_]) -> float:
    """Upper end of the false-alarm rate: 3/n where there was none."""
    hits, n = int(alarms.sum()), len(alarms)
    return rule_of_three(n) if not hits else clopper_pearson(hits, n).high
