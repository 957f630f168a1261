"""What a command leaves: its reports in a folder, what it says on the way, and an exit code."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from genvet.cli import screen
from genvet.cli.options import command_line
from genvet.core.errors import GenVetError
from genvet.core.severity import Severity

if TYPE_CHECKING:
    from genvet.core.modelfile import ModelFile
    from genvet.core.report import Finding, Report


INCOMPLETE = 2
"""The exit code of what could not be done, or not all of it."""


def write(report: Report, folder: Path) -> None:
    """The three reports of one scan."""
    from genvet.page import sarif

    keep(report, folder)
    sarif.write(report, folder)


def keep(report: Report, folder: Path) -> Path:
    """The report as JSON and as a page; gives the page."""
    from genvet import engine
    from genvet.page import html

    engine.write(report, folder)
    return html.write(report, folder)


def put(report: Report) -> None:
    """The report alone, on stdout."""
    sys.stdout.write(report.model_dump_json(indent=1) + "\n")


def exit_code(severity: Severity, complete: bool, fail_on: Severity) -> int:
    """The exit code: a finding wins over incompleteness."""
    if severity >= fail_on:
        return 1
    return 0 if complete else INCOMPLETE


@contextmanager
def all_or_nothing(folder: Path) -> Iterator[None]:
    """For work that keeps nothing until it is done: interrupted, it says so, and how long it ran."""
    began = time.monotonic()
    try:
        with leaving_nothing_empty(folder):
            yield
    except KeyboardInterrupt:
        seconds = time.monotonic() - began
        raise KeyboardInterrupt(f"after {seconds:.0f} s; nothing was kept: the same command begins anew") from None


@contextmanager
def leaving_nothing_empty(folder: Path) -> Iterator[None]:
    """Take an output folder away again, where nothing came of the run that made it."""
    new = not folder.exists()
    try:
        yield
    except (GenVetError, KeyboardInterrupt):
        if new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        raise


def told(file: ModelFile, findings: Finding | Sequence[Finding], unchecked: str) -> Report:
    """The report of what is no scan: what was done, by the first of its findings, and what it leaves open."""
    from genvet import engine
    from genvet.core.report import Finding

    given = [findings] if isinstance(findings, Finding) else findings
    every = [finding.model_copy(update={"reason": "only inspections are judged"}) for finding in given]
    report = engine.compose(file, every, [], command_line())
    said = {"behaviour": every[0].summary, "unchecked": unchecked}
    return report.model_copy(update={"verdict": report.verdict.model_copy(update=said)})


def leave(report: Report, folder: Path, json: bool, paths: Sequence[Path] = ()) -> None:
    """The report of one technique as JSON and as a page, and words on the screen, with the other files it wrote."""
    finding = report.findings[0]
    page = keep(report, folder)
    if json:
        put(report)
    else:
        screen.note(report.verdict.behaviour)
    for path in (*paths, page):
        screen.note(f"{finding.technique}: {path}")
