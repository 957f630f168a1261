"""The report, schema 1: plain values that cross a process border and hold no tensors."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from genvet.core.severity import Severity

Scalar = str | int | float | bool | None
AUDITED = "data set"
"""How the format of a target begins that is no model."""


class Record(BaseModel):
    """A frozen value without surprises: unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _label(technique: str, part: str) -> str:
    return f"{technique} ({part})" if part else technique


class Measure(Record):
    """One number, with what it takes to trust it."""

    name: str
    """Stable, dotted where there are several: closest.target-0."""
    value: float | None
    """None where it could not be measured; the note says why."""
    unit: str = ""
    low: float | None = None
    """Lower end of the 95 % interval."""
    high: float | None = None
    """Upper end of the 95 % interval."""
    chance: float | None = None
    """What chance alone would give."""
    n: int | None = None
    """How many samples it rests on."""
    note: str = ""


class Figure(Record):
    """Something to look at: a picture or sound file beside the report, or a chart's numbers."""

    kind: Literal["grid", "curve", "bars", "histogram", "heat", "scatter", "sound"]
    title: str
    caption: str = ""
    data: dict[str, Any] = Field(default_factory=dict)
    """curve, scatter: {series: {name: [[x...], [y...]]}, x, y, log}. bars: {labels, values}.
    histogram: {counts, edges}. heat: {values, rows, columns, centred}. grid: {captions}."""
    file: str = ""
    """PNG or WAV, relative to the report; named by a counter, never by the file that was scanned."""


class Table(Record):
    """Rows of plain cells."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Scalar, ...], ...]


class Claim(Record):
    """Whether a paper's claim holds in our hands."""

    id: str
    status: Literal["holds", "part", "not", "undecided"]
    evidence: str


class Proof(Record):
    """A fact about the file, as core.modelfile.Evidence holds it, with the severity of its rule."""

    rule: str
    severity: Severity
    message: str
    place: str = ""
    offset: int | None = None
    length: int | None = None
    line: int | None = None
    detail: str = ""


class Finding(Record):
    """What one technique found."""

    technique: str
    version: int
    access: str
    """The view of the target that it had: ModelFile, Generator ..."""
    part: str = ""
    """The part of the file that it looked at."""
    config: dict[str, Any]
    severity: Severity
    reason: str = ""
    """Why the severity is what it is, and which threshold or population it rests on."""
    summary: str
    measures: tuple[Measure, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    claims: tuple[Claim, ...] = ()
    proofs: tuple[Proof, ...] = ()
    queries: int = 0
    """Generator outputs that it asked for."""
    seconds: float = 0.0
    seed: int = 0
    device: str = "cpu"

    @property
    def label(self) -> str:
        """The technique, and the part that it is about."""
        return _label(self.technique, self.part)


class Target(Record):
    """What was scanned."""

    path: str
    sha256: str
    size: int
    format: str
    networks: tuple[str, ...] = ()
    """One line for each generator: part, architecture, parameters, latent, output, and what was assumed."""
    others: tuple[str, ...] = ()
    """Parts that are no generators, and why."""
    metadata: dict[str, str] = Field(default_factory=dict)


class Check(Record):
    """A technique that ran, on one part."""

    technique: str
    part: str = ""


class NotChecked(Record):
    """A technique that did not run, and why. The first two reasons leave a report complete."""

    technique: str
    part: str = ""
    reason: Literal["not_requested", "not_applicable", "error", "budget", "interrupted", "no_generator"]
    detail: str = ""

    @property
    def complete(self) -> bool:
        return self.reason in ("not_requested", "not_applicable")

    @property
    def label(self) -> str:
        """The technique, and the part that it is about."""
        return _label(self.technique, self.part)


class Verdict(Record):
    """Three statements, kept apart, and the worst severity among them."""

    severity: Severity
    loading: str
    """What loading the file would execute."""
    behaviour: str
    """What weights and outputs show, and at which power."""
    unchecked: str
    """What was not checked."""
    complete: bool


class MadeBy(Record):
    """What made the report, and how to make it again."""

    genvet: str
    python: str
    torch: str
    machine: str
    command: str


class Report(Record):
    """Everything that one run has to say about one target."""

    schema_version: Literal[1] = 1
    target: Target
    verdict: Verdict
    findings: tuple[Finding, ...]
    checked: tuple[Check, ...]
    not_checked: tuple[NotChecked, ...]
    made_by: MadeBy
    made_at: str
    """UTC, ISO 8601."""

    @property
    def interrupted(self) -> bool:
        return any(gap.reason == "interrupted" for gap in self.not_checked)

    def gaps(self) -> list[tuple[NotChecked, str]]:
        """Why techniques did not run, each reason once, with all that it holds for; the incomplete come first."""
        alike: dict[tuple[str, str], list[NotChecked]] = {}
        for gap in self.not_checked:
            alike.setdefault((gap.reason, gap.detail), []).append(gap)
        ordered = sorted(alike.values(), key=lambda gaps: (gaps[0].complete, gaps[0].reason))
        return [(gaps[0], ", ".join(gap.label for gap in gaps)) for gaps in ordered]
