"""Many facts of one kind: the first of them as proofs, all of them as counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from genvet.core.modelfile import Evidence
from genvet.core.report import Measure, Table
from genvet.core.rules import RULES
from genvet.maths.statistics import clopper_pearson

MOST = 200
"""Facts of one rule that go into a report; how many there are stands in its table."""


def first(facts: Iterable[Evidence], most: int = MOST) -> tuple[Evidence, ...]:
    """The first facts of each rule."""
    seen: Counter[str] = Counter()
    kept = []
    for fact in facts:
        seen[fact.rule] += 1
        if seen[fact.rule] <= most:
            kept.append(fact)
    return tuple(kept)


def counted(facts: Sequence[Evidence], pictures: int, title: str) -> tuple[Table, ...]:
    """A row for each rule: how many files it holds for, and which share of the pictures that is."""
    of: dict[str, set[str]] = {}
    for fact in facts:
        of.setdefault(fact.rule, set()).add(fact.place)
    ordered = sorted(of, key=lambda rule: (-RULES[rule].severity.rank, rule))
    rows = [
        (RULES[rule].title, str(RULES[rule].severity), len(of[rule]), len(of[rule]) / max(pictures, 1))
        for rule in ordered
    ]
    return (Table(title=title, columns=("what", "severity", "files", "share"), rows=tuple(rows)),) if rows else ()


def share(name: str, hits: int, n: int, note: str = "", chance: float | None = None) -> Measure:
    """A rate with its exact 95 % interval; nothing where nothing was looked at."""
    if not n:
        return Measure(name=name, value=None, n=0, note=note or "nothing to look at")
    low, high = clopper_pearson(hits, n)
    return Measure(name=name, value=hits / n, low=low, high=high, n=n, note=note, chance=chance)
