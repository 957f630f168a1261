"""Report -> one HTML file that opens offline, holds no script, and trusts nothing that the scanned file says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from genvet.catalogue import techniques
from genvet.core.report import AUDITED, Finding, Proof, Report
from genvet.core.rules import RULES, Rule
from genvet.core.severity import Severity
from genvet.files.writing import write_bytes
from genvet.page.media import inlined
from genvet.page.templates import template

HEADLINES = {
    Severity.CRITICAL: "Do not load this file",
    Severity.HIGH: "Do not deploy this model",
    Severity.MEDIUM: "Read this before you use it",
    Severity.LOW: "Nothing decisive was found",
    Severity.INFO: "Nothing was found",
}
DATA_HEADLINES = {
    Severity.CRITICAL: "Do not use these data",
    Severity.HIGH: "Do not train on these data as they are",
    Severity.MEDIUM: "Read this before you train on these data",
}
"""Of an audit; below medium as for a model."""
STATEMENTS = ("Loading the file", "Weights and outputs", "The file")
DATA_STATEMENTS = ("What the files carry", "Pictures and tables", "The data")
"""Above the verdict's first two statements, and above what was looked at."""
DONE = {
    "backdoor": "A backdoor was planted",
    "inversion": "A classifier was inverted",
    "extraction": "A generator was stolen",
    "membership": "Training records were looked for",
    "query": "A guard was measured",
    "filter": "A filter of outputs was measured",
    "endpoint": "A service was attacked",
    "reproduce": "A table was made again",
    "zoo": "Inspections were scored on a population",
}
"""What the techniques of a room do, where they are no inspections."""
MOST_PROOFS = 25
"""Of one rule in one finding; the rest is counted here and listed in report.json."""


def write(report: Report, folder: Path) -> Path:
    """Write `report.html` into the folder that holds the report's pictures; an older page is replaced at once."""
    return write_bytes(folder / "report.html", render(report, folder).encode())


def render(report: Report, folder: Path) -> str:
    """The page as text. Pictures and sounds are taken from `folder`."""
    findings = list(report.findings)
    if not all(_done(f.technique) for f in findings):  # a score has its verdict first, a training its losses
        findings.sort(key=lambda f: (-f.severity.rank, f.technique, f.part))
    sections = [_section(i, finding, folder) for i, finding in enumerate(findings, 1)]
    words = DATA_STATEMENTS if _audited(report) else STATEMENTS
    return template("report.html").render(report=report, headline=headline(report), sections=sections, words=words)


def headline(report: Report) -> str:
    """What to do, in a few words; for an attack, a training, a repair or a study, what was done."""
    done = [_done(f.technique) for f in report.findings]
    if done and all(done):
        return done[0]
    if not report.verdict.complete and report.verdict.severity <= Severity.LOW:
        return "The check is not complete"
    if _audited(report):
        return DATA_HEADLINES.get(report.verdict.severity, HEADLINES[report.verdict.severity])
    if report.verdict.severity is Severity.HIGH and _worst_technique(report) == "file":
        return HEADLINES[Severity.CRITICAL]
    return HEADLINES[report.verdict.severity]


def _audited(report: Report) -> bool:
    """Whether it is about a data set."""
    return report.target.format.startswith(AUDITED)


def _done(technique: str) -> str:
    """What a technique did, where it is neither an inspection nor an audit."""
    room = technique.partition(".")[0]
    if room == "data":
        return ""
    if room in DONE:
        return DONE[room]
    entry = techniques().get(technique)
    did = {"defence": "The model was repaired", "study": "The model was measured", "recipe": "A network was trained"}
    return did.get(entry.kind, "") if entry else ""


def _worst_technique(report: Report) -> str:
    return max(report.findings, key=lambda f: f.severity.rank).technique if report.findings else ""


@dataclass(frozen=True)
class RuleProofs:
    """The proofs of one rule, most of them shown."""

    rule: Rule | None
    severity: Severity
    id: str
    shown: list[Proof]
    hidden: int


def _section(number: int, finding: Finding, folder: Path) -> dict[str, Any]:
    return {
        "id": f"finding-{number}",
        "finding": finding,
        "figures": [inlined(figure, folder) for figure in finding.figures],
        "proofs": list(_by_rule(finding.proofs)),
    }


def _by_rule(proofs: Iterable[Proof]) -> Iterator[RuleProofs]:
    ordered = sorted(proofs, key=lambda p: (-p.severity.rank, p.rule))
    for (severity, rule), group in groupby(ordered, key=lambda p: (p.severity, p.rule)):
        found = list(group)
        yield RuleProofs(RULES.get(rule), severity, rule, found[:MOST_PROOFS], max(0, len(found) - MOST_PROOFS))
