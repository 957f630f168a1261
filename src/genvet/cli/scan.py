"""`genvet scan`: the main job."""

from __future__ import annotations

import json as jsonlib
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from genvet.cli import screen
from genvet.cli.options import COMMON, Common, Flag, output_folder, technique_settings
from genvet.core.errors import GenVetError, NoModel
from genvet.core.printable import printable
from genvet.core.severity import Severity, worst

if TYPE_CHECKING:
    from genvet.core.report import Report
    from genvet.engine import Scanned
    from genvet.page.index import Row


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Look:
    """What is looked at, and how closely."""

    file_only: Annotated[bool, Flag] = False
    """Look at the file alone: for files that hold no generator, such as diffusion checkpoints."""
    net: str | None = None
    """The architecture, where the weights leave it open: dcgan, or dcgan:activation=leaky_relu,range=tanh."""
    part: str | None = None
    """The part to look at, of a file that holds several generators."""
    targets: Path | None = None
    """Images or sounds that a backdoor may be meant to put out: folder, zip, npz, idx or one file; path#a:b slices."""
    reference: Path | None = None
    """Ordinary samples of the kind that the generator should make; 99 or more calibrate the search for targets."""
    depth: Literal["quick", "standard", "deep"] = "standard"
    """quick takes seconds; standard draws 200,000 samples; deep draws 1,000,000."""


LOOK = Look()


def scan(
    model: Path,
    /,
    *,
    what: Look = LOOK,
    fail_on: Severity = Severity.HIGH,
    out: Path | None = None,
    json: Annotated[bool, Flag] = False,
    common: Common = COMMON,
) -> int:
    """Vet a model file, or every file of a folder, without running any of it.

    Parameters
    ----------
    model: Path
        The model file, or a folder of them.
    fail_on: Severity
        Exit with 1 when a finding is as bad as this, or worse.
    out: Path
        Folder for report.json, report.html and report.sarif; ./genvet-scan-<stem> unless given.
    json: bool
        Print the report alone, as JSON, on stdout; everything else goes to stderr.
    """
    from genvet import engine

    folder = out or output_folder("scan", model)
    new = not folder.exists()
    options = {**asdict(what), "seed": common.seed, "device": common.device, "command": _command()}
    options["settings"] = technique_settings(common.config)
    try:
        with screen.progress():
            if model.is_dir():
                scanned = list(_each(engine.scan_folder(model, out=folder, **options)))
            else:
                report = engine.scan(model, out=folder, **options)
                write(report, folder)
    except (GenVetError, KeyboardInterrupt):
        if new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        raise
    if model.is_dir():
        return _tell_all(model, scanned, folder, fail_on, json)
    if json:
        sys.stdout.write(report.model_dump_json(indent=1) + "\n")
    else:
        screen.report(report)
    screen.note(f"report: {folder / 'report.html'}")
    return code(report.verdict.severity, report.verdict.complete, fail_on)


def write(report: Report, folder: Path) -> None:
    """The three reports of one scan."""
    from genvet import engine
    from genvet.page import html, sarif

    engine.write(report, folder)
    html.write(report, folder)
    sarif.write(report, folder)


def code(severity: Severity, complete: bool, fail_on: Severity) -> int:
    """The exit code: a finding wins over incompleteness."""
    if severity >= fail_on:
        return 1
    return 0 if complete else 2


def _command() -> str:
    return shlex.join(["genvet", *(printable(word) for word in sys.argv[1:])])


def _each(scans: Iterable[Scanned]) -> Iterator[Scanned]:
    """Write each file's report as soon as it is there; an interruption ends the round, and loses nothing finished."""
    for scanned in scans:
        if scanned.report and scanned.out:
            write(scanned.report, scanned.out)
        yield scanned
        if scanned.report and any(gap.reason == "interrupted" for gap in scanned.report.not_checked):
            screen.note("interrupted: the files after this one were not scanned")
            return


def _tell_all(model: Path, scanned: list[Scanned], folder: Path, fail_on: Severity, as_json: bool) -> int:
    from genvet.page import index

    rows = [_row(model, folder, s) for s in scanned]
    index.write(printable(model), rows, folder)
    if as_json:
        sys.stdout.write(_all_json(rows))
    else:
        worst_first = sorted(rows, key=lambda row: (-row.rank, row.name))
        screen.table(
            ("verdict", "file", "worst finding"),
            (
                [screen.severity(r.report.verdict.severity) if r.report else "not scanned", r.name, r.why]
                for r in worst_first
            ),
        )
    screen.note(f"reports: {folder / 'index.html'}")
    passed_by = [s for s in scanned if isinstance(s.error, NoModel)]
    if passed_by:
        screen.note(f"{len(passed_by)} of {len(scanned)} files are no models, and were passed by")
    reports = [s.report for s in scanned if s.report]
    complete = bool(reports) and len(reports) + len(passed_by) == len(scanned)
    complete = complete and all(report.verdict.complete for report in reports)
    return code(worst(report.verdict.severity for report in reports), complete, fail_on)


def _row(model: Path, folder: Path, scanned: Scanned) -> Row:
    from genvet.page.index import Row

    link = (scanned.out.relative_to(folder) / "report.html").as_posix() if scanned.report and scanned.out else ""
    error = scanned.error.message.replace(str(scanned.path), "this file") if scanned.error else ""
    return Row(printable(scanned.path.relative_to(model)), scanned.report, error, link)


def _all_json(rows: list[Row]) -> str:
    files = [
        {"file": row.name, "report": row.report.model_dump(mode="json") if row.report else None, "error": row.error}
        for row in rows
    ]
    return jsonlib.dumps({"schema_version": 1, "files": files}, indent=1) + "\n"
