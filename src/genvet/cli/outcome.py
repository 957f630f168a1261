"""What a scan leaves: its reports in a folder, and an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from genvet.core.severity import Severity

if TYPE_CHECKING:
    from genvet.core.report import Report


def write(report: Report, folder: Path) -> None:
    """The three reports of one scan."""
    from genvet import engine
    from genvet.page import html, sarif

    engine.write(report, folder)
    html.write(report, folder)
    sarif.write(report, folder)


def exit_code(severity: Severity, complete: bool, fail_on: Severity) -> int:
    """The exit code: a finding wins over incompleteness."""
    if severity >= fail_on:
        return 1
    return 0 if complete else 2
