"""`genvet scan` of a folder: a report a file, an index of them all, and one exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from genvet.cli import screen
from genvet.cli.outcome import exit_code, write
from genvet.core.errors import NoModel
from genvet.core.printable import printable
from genvet.core.severity import Severity, worst

if TYPE_CHECKING:
    from genvet.engine import Scanned
    from genvet.page.index import Row


def each(scans: Iterable[Scanned]) -> Iterator[Scanned]:
    """Write each file's report as soon as it is there; an interruption ends the round, and loses nothing finished."""
    for scanned in scans:
        if scanned.report and scanned.out:
            write(scanned.report, scanned.out)
        yield scanned
        if scanned.report and scanned.report.interrupted:
            screen.note("interrupted: the files after this one were not scanned")
            return


def tell(model: Path, scanned: list[Scanned], folder: Path, fail_on: Severity, as_json: bool) -> int:
    """Write the index, print the table or the JSON, and give the exit code."""
    from genvet.page import index

    rows = [_row(model, folder, s) for s in scanned]
    index.write(printable(model), rows, folder)
    if as_json:
        sys.stdout.write(_all_json(rows))
    else:
        worst_first = sorted(rows, key=lambda row: (-row.rank, row.name))
        screen.table(("verdict", "file", "worst finding"), map(_cells, worst_first))
    screen.note(f"reports: {folder / 'index.html'}")
    passed_by = [s for s in scanned if isinstance(s.error, NoModel)]
    if passed_by:
        screen.note(f"{len(passed_by)} of {len(scanned)} files are no models, and were passed by")
    reports = [s.report for s in scanned if s.report]
    complete = bool(reports) and len(reports) + len(passed_by) == len(scanned)
    complete = complete and all(report.verdict.complete for report in reports)
    return exit_code(worst(report.verdict.severity for report in reports), complete, fail_on)


def _row(model: Path, folder: Path, scanned: Scanned) -> Row:
    from genvet.page.index import Row

    link = (scanned.out.relative_to(folder) / "report.html").as_posix() if scanned.report and scanned.out else ""
    error = scanned.error.message.replace(str(scanned.path), "this file") if scanned.error else ""
    return Row(printable(scanned.path.relative_to(model)), scanned.report, error, link)


def _cells(row: Row) -> tuple[str | Text, ...]:
    verdict = screen.severity(row.report.verdict.severity) if row.report else "not scanned"
    return verdict, row.name, row.why


def _all_json(rows: list[Row]) -> str:
    files = [
        {"file": row.name, "report": row.report.model_dump(mode="json") if row.report else None, "error": row.error}
        for row in rows
    ]
    return json.dumps({"schema_version": 1, "files": files}, indent=1) + "\n"
