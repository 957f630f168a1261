"""Many reports -> one page with a row for each scanned file, the worst first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from genvet.core.report import Report
from genvet.core.rules import RULES
from genvet.core.severity import Severity
from genvet.files.writing import write_bytes
from genvet.page.templates import template


@dataclass(frozen=True)
class Row:
    """One row of the index: a file, and its report or the reason why there is none."""

    name: str
    report: Report | None = None
    error: str = ""
    link: str = ""

    @property
    def rank(self) -> int:
        return self.report.verdict.severity.rank if self.report else -1

    @property
    def why(self) -> str:
        """The worst finding, in a line."""
        return why(self.report) if self.report else self.error


def why(report: Report) -> str:
    """The worst that was found, in a line; where nothing was, how far that reaches."""
    worst = max(report.findings, key=lambda f: f.severity.rank, default=None)
    if worst is None or worst.severity is Severity.INFO:
        if report.target.networks:
            return report.verdict.behaviour
        others = f" No generator: {'; '.join(report.target.others)}." * bool(report.target.others)
        return report.verdict.loading + others
    proof = next((p for p in worst.proofs if p.severity is worst.severity), None)
    if proof is None:
        return worst.summary
    return f"{RULES[proof.rule].title}: {proof.message}" if proof.rule in RULES else proof.message


def write(title: str, scans: Iterable[Row], folder: Path) -> Path:
    """Write `index.html`, one row for each file of a scanned folder."""
    rows = sorted(scans, key=lambda scan: (-scan.rank, scan.name))
    page = template("index.html").render(title=title, scans=rows)
    return write_bytes(folder / "index.html", page.encode())
