"""`genvet audit-data`: what a data set tells of people, before a generator learns from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from genvet.cli import screen
from genvet.cli.options import Debugging, Flag, command_line, output_folder, technique_settings
from genvet.cli.outcome import exit_code, keep, leaving_nothing_empty, put
from genvet.core.severity import Severity

DEBUGGING = Debugging()


def audit_data(
    path: Path,
    /,
    *,
    only: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    fail_on: Severity = Severity.HIGH,
    out: Path | None = None,
    json: Annotated[bool, Flag] = False,
    seed: int = 0,
    debugging: Debugging = DEBUGGING,
) -> int:
    """Audit training data: metadata, names, tables, copies, outliers, faces and text.

    Nothing of the data leaves this machine; the report holds small copies of pictures, and is to be kept like the data.

    Parameters
    ----------
    path: Path
        Folder, zip, npz, npy, idx or one picture; path#a:b takes some of the pictures.
    only: tuple
        The audits to run, such as metadata,names; all unless given. `genvet list defence` names them.
    fail_on: Severity
        Exit with 1 when a finding is as bad as this, or worse.
    out: Path
        Folder for report.json and report.html; ./genvet-audit-data-<stem> unless given.
    json: bool
        Print the report alone, as JSON, on stdout; everything else goes to stderr.
    seed: int
        Of what is drawn at random: planted copies, and pictures that are looked at where all would take too long.
    """
    from genvet import engine

    folder = out or output_folder("audit-data", path)
    settings = technique_settings(debugging.config)
    with leaving_nothing_empty(folder), screen.progress():
        report = engine.audit(path, out=folder, only=parted(only), settings=settings, seed=seed, command=command_line())
        keep(report, folder)
    if json:
        put(report)
    else:
        screen.report(report, screen.AUDITED)
    screen.note(f"report: {folder / 'report.html'}")
    return exit_code(report.verdict.severity, report.verdict.complete, fail_on)


def parted(words: Sequence[str]) -> tuple[str, ...]:
    """An option that is said several times, or once with commas.

    >>> parted(("strip,blur", "drop"))
    ('strip', 'blur', 'drop')
    """
    return tuple(part.strip() for word in words for part in word.split(",") if part.strip())
