"""`genvet threat-model`: the entry for one model, filled with what its runs measured."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from genvet.cli import screen
from genvet.cli.guard_test import earlier
from genvet.cli.options import DEBUGGING, Debugging, Flag, output_folder
from genvet.core.errors import BadInput
from genvet.core.printable import printable

if TYPE_CHECKING:
    from genvet.core.report import Report

MOST = 200
"""Runs in one entry."""


def threat_model(
    *runs: Path,
    out: Path | None = None,
    json: Annotated[bool, Flag] = False,
    common: Debugging = DEBUGGING,
) -> int:
    """Write the threat model of one generator: threat, impact, components, severity, mitigations, as measured.

    What no run measured is said to be unmeasured, with the command that would measure it.

    Parameters
    ----------
    runs: Path
        Folders that genvet left, with a report.json each: of scans, attacks, defences, audits, trainings, guard-tests.
    out: Path
        Folder for threat-model.html, .md and .json; ./genvet-threat-model-<stem> of the first run unless given.
    json: bool
        Print the entry alone, as JSON, on stdout; everything else goes to stderr.
    """
    from genvet.engine.threats import threat_model as filled
    from genvet.page import threat

    if not 1 <= len(runs) <= MOST:
        hint = "genvet attack, defend, audit-data and guard-test leave such folders"
        raise BadInput("which runs?", expected=f"1 to {MOST} folders with a report.json", got=str(len(runs)), hint=hint)
    model = filled([(str(run), read(run)) for run in runs])
    page, *others = threat.write(model, out or output_folder("threat-model", runs[0]))
    if json:
        sys.stdout.write(model.model_dump_json(indent=1) + "\n")
    else:
        screen.note(f"risk severity: {model.severity}. {' '.join(model.reasons)}")
        for row in model.unmeasured:
            screen.note(f"not measured: {row.title}: {row.measured_by}")
    for path in (*others, page):
        screen.note(f"threat model: {path}")
    return 0


def read(run: Path) -> Report:
    """The report of a run, by its folder or its file; raises BadInput where there is none."""
    path = run / "report.json" if run.is_dir() else run
    if not path.is_file():
        raise BadInput(f"{printable(run)} is no run", expected="a folder with a report.json")
    return earlier(path)
