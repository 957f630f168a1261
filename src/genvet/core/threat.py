"""The threat model of one generator, schema 1: plain values, filled by the engine and written by the page."""

from __future__ import annotations

from typing import Literal

from genvet.core.report import Measure, Record
from genvet.core.severity import Severity


class Evidence(Record):
    """One finding of one run."""

    run: str
    technique: str
    target: str
    made_at: str
    summary: str
    measures: tuple[Measure, ...]
    exposes: bool | None
    """Whether it shows the threat; None where the numbers alone do not say."""


class Row(Record):
    """One threat, factor or mitigation, and all that was measured of it."""

    id: str
    title: str
    says: str
    measured_by: str
    """The command that measures it."""
    evidence: tuple[Evidence, ...] = ()
    left_out: int = 0

    @property
    def measured(self) -> bool:
        return bool(self.evidence)


class Subject(Record):
    """A file or an address that the runs are about."""

    path: str
    sha256: str
    networks: tuple[str, ...]


class ThreatModel(Record):
    """The whole entry."""

    schema_version: Literal[1] = 1
    threat: str
    description: str
    impact: tuple[str, ...]
    components: tuple[str, ...]
    severity: Severity
    reasons: tuple[str, ...]
    vectors: tuple[Row, ...]
    factors: tuple[Row, ...]
    primary: tuple[Row, ...]
    secondary: tuple[Row, ...]
    notes: tuple[str, ...]
    subjects: tuple[Subject, ...]
    runs: tuple[str, ...]
    made_at: str

    @property
    def unmeasured(self) -> tuple[Row, ...]:
        """What no run measured."""
        every = (*self.vectors, *self.factors, *self.primary, *self.secondary)
        return tuple(row for row in every if not row.measured)
