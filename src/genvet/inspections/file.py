"""The file: what loading it would import, call and unpack. Needs no torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

from genvet.core.modelfile import Call, Evidence, ModelFile
from genvet.core.printable import printable
from genvet.core.report import Measure, Table
from genvet.core.rng import Rng
from genvet.core.severity import Severity
from genvet.core.technique import Nothing, Probe, Result

_WORST_FIRST = ("dangerous", "unlisted", "class", "expected")
_ROWS = 200


@dataclass(frozen=True)
class Contents(Result):
    """What a file holds, and what a loader would do with it."""

    model: ModelFile

    def summary(self) -> str:
        kind = f"Format {printable(self.model.format, 80)}"
        facts = Counter(e.severity for e in self.model.evidence if e.severity > Severity.INFO)
        if not facts:
            return f"{kind}. {self._reach()}"
        counts = ", ".join(f"{facts[s]} {s}" for s in reversed(Severity) if facts[s])
        first = max(self.model.evidence, key=lambda e: e.severity.rank)
        return f"{kind}, with facts against it ({counts}). {first.message}. {self._reach()}"

    def _reach(self) -> str:
        """What a loader would reach, in a sentence."""
        beyond = [c for c in self._calls() if c.standing != "expected"]
        if beyond:
            names = ", ".join(dict.fromkeys(_name(c) for c in beyond[:3]))
            return f"Loading it would {'call' if beyond[0].called else 'import'} {names}."
        if self.model.calls:
            return f"Loading it would import {len(self.model.calls)} names, all on the allow-list."
        return "Loading it executes nothing: it holds data only." if not self.model.sources else ""

    def _calls(self) -> list[Call]:
        return sorted(self.model.calls, key=lambda c: (_WORST_FIRST.index(c.standing), not c.called, c.offset))

    def measures(self) -> tuple[Measure, ...]:
        standing = Counter(c.standing for c in self.model.calls)
        return (
            Measure(
                name="calls", value=sum(c.called for c in self.model.calls), note="globals that loading would call"
            ),
            Measure(name="off-list", value=len(self.model.calls) - standing["expected"], note="off the allow-list"),
            Measure(name="sources", value=len(self.model.sources), note="program texts in the file"),
            Measure(name="tensors", value=sum(len(p.tensors) for p in self.model.parts)),
        )

    def tables(self) -> tuple[Table, ...]:
        tables = (self._call_table(), self._source_table(), self._part_table())
        return tuple(table for table in tables if table.rows)

    def _call_table(self) -> Table:
        """One row for each global, with its first place: files repeat the same ones thousands of times."""
        times = Counter((c.module, c.name, c.called, c.standing, c.place) for c in self.model.calls)
        first = {(c.module, c.name, c.called, c.standing, c.place): c for c in reversed(self._calls())}
        calls = sorted(first.items(), key=lambda item: (_WORST_FIRST.index(item[1].standing), item[1].offset))
        rows = [
            (_name(c), "called" if c.called else "imported", c.standing, c.place, c.offset, times[key], c.arguments)
            for key, c in calls
        ]
        columns = ("global", "loading would", "standing", "place", "first byte", "times", "arguments")
        return Table(
            title=_capped("What loading would import and call", rows), columns=columns, rows=tuple(rows[:_ROWS])
        )

    def _source_table(self) -> Table:
        rows = [(s.place, s.kind, s.recognised or "unknown text", len(s.text), s.sha256) for s in self.model.sources]
        columns = ("place", "kind", "release", "characters", "sha256")
        return Table(title=_capped("Program texts, never run", rows), columns=columns, rows=tuple(rows[:_ROWS]))

    def _part_table(self) -> Table:
        what = {**self.model.not_generators, **{name: g.name for name, g in self.model.generators.items()}}
        rows = [(p.name, p.kind, p.class_name, len(p.tensors), what.get(p.name, "")) for p in self.model.parts]
        columns = ("part", "kind", "class", "tensors", "what it is")
        return Table(title=_capped("Parts", rows), columns=columns, rows=tuple(rows[:_ROWS]))

    def evidence(self) -> tuple[Evidence, ...]:
        return self.model.evidence


class File(Probe):
    """What loading the file would execute or reach, by what each thing can do."""

    source: ClassVar[str] = "GenVet's reader: an allow-list over every global, entry and source text of the file"

    def __call__(self, target: ModelFile, given: Nothing, rng: Rng) -> Contents:
        return Contents(target)


def _name(call: Call) -> str:
    return printable(f"{call.module}.{call.name}", 120)


def _capped(title: str, rows: list[Any]) -> str:
    return title if len(rows) <= _ROWS else f"{title} (the first {_ROWS} of {len(rows)})"
