"""`genvet audit-data`: what a data set tells of people before a generator learns it, and a copy that tells less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from genvet.cli import screen
from genvet.cli.options import DEBUGGING, Debugging, Flag, command_line, output_folder, technique_settings
from genvet.cli.outcome import exit_code, keep, leaving_nothing_empty, put
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.core.severity import Severity

if TYPE_CHECKING:
    from genvet.core.dataset import Dataset
    from genvet.core.report import Report

ANONYMISE, TABLES = "data.anonymise", "data.tables"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Copying:
    """The copy that tells less."""

    anonymise: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    """Write a changed copy: strip, blur, pixelate, synthetic, drop, pseudonymise, in this order; commas part them."""
    into: Path | None = None
    """The copy's new folder: there whole or not at all; after an interruption, the same command goes on."""
    key: Path | None = None
    """The key of the pseudonyms, made where there is none; keep it away from the copy."""
    generator: Path | None = None
    """A model file whose samples stand in for the pictures of `synthetic`."""


COPYING = Copying()


def audit_data(
    path: Path,
    /,
    *,
    only: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    copy: Copying = COPYING,
    fail_on: Severity = Severity.HIGH,
    out: Path | None = None,
    json: Annotated[bool, Flag] = False,
    seed: int = 0,
    debugging: Debugging = DEBUGGING,
) -> int:
    """Audit training data: metadata, names, tables, copies, outliers, faces and text.

    Nothing of the data leaves this machine; the report holds small copies of pictures, and is to be kept like the data.
    With --anonymise, a changed copy is written and audited as well, and the exit code is about what is left in that.

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
    from genvet.engine.auditing import audit
    from genvet.files.dataset import read_dataset

    folder, settings = out or output_folder("audit-data", path), technique_settings(debugging.config)
    outside(path, {"--out": folder, "--into": copy.into, "--key": copy.key})
    how = asked(copy, settings.pop(ANONYMISE, settings.pop("anonymise", {})))
    options: dict[str, Any] = {"only": parted(only), "settings": settings, "seed": seed, "command": command_line()}
    with leaving_nothing_empty(folder), screen.progress():
        dataset = read_dataset(path)
        report = audit(dataset, out=folder, **options)
        keep(report, folder)
        if how is not None and copy.into is not None:
            report = anonymised(dataset, report, how, copy, folder, options)
    if json:
        put(report)
    else:
        screen.report(report, screen.AUDITED)
    screen.note(f"report: {folder / 'report.html'}")
    if how is not None:
        screen.note(f"the copy: {copy.into}; what is left in it: {folder / 'after' / 'report.html'}")
    return exit_code(report.verdict.severity, report.verdict.complete, fail_on)


def outside(path: Path, places: Mapping[str, Path | None]) -> None:
    """Raises BadInput for what would be written among the data: the next audit would take it for some."""
    for option, place in places.items():
        if place is not None and path.is_dir() and place.resolve().is_relative_to(path.resolve()):
            raise BadInput(f"{printable(place)} lies among the data", expected=f"{option} outside of {printable(path)}")


def asked(copy: Copying, knobs: dict[str, Any]) -> Any:
    """The technique that changes the copy; None where no copy is asked for. Raises BadInput for half of the options."""
    given = {"--anonymise": copy.anonymise, "--into": copy.into, "--key": copy.key, "--generator": copy.generator}
    if not any(given.values()):
        return None
    if not copy.anonymise or copy.into is None:
        raise BadInput("a copy needs both", expected="--anonymise STEPS --into FOLDER")
    from pydantic import ValidationError

    from genvet.defences.data.anonymise import Anonymise

    try:
        return Anonymise(**{**knobs, "how": parted(copy.anonymise)})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadInput("no such way to anonymise", expected=first["msg"], got=str(first["input"])) from None


def anonymised(
    dataset: Dataset, before: Report, how: Any, copy: Copying, folder: Path, options: dict[str, Any]
) -> Report:
    """Write the copy, add what was measured to the report, and give the report of an audit of the copy."""
    from genvet.engine.anonymising import Told, anonymise
    from genvet.engine.auditing import audit
    from genvet.files.convert import averaged
    from genvet.files.load import load

    assert copy.into is not None
    known = options["settings"].get(TABLES, options["settings"].get("tables", {}))
    told = Told(**{name: tuple(known[name]) for name in ("quasi", "sensitive", "needed") if name in known})
    generator = averaged(load(copy.generator)) if copy.generator else None
    finding, into = anonymise(
        dataset, how, copy.into, out=folder, key=copy.key, generator=generator, told=told, seed=options["seed"]
    )
    findings = (finding, *before.findings)
    keep(before.model_copy(update={"findings": findings}), folder)
    left = audit(into, out=folder / "after", **options)
    keep(left, folder / "after")
    screen.note(finding.summary)
    return left


def parted(words: Sequence[str]) -> tuple[str, ...]:
    """An option that is said several times, or once with commas.

    >>> parted(("strip,blur", "drop"))
    ('strip', 'blur', 'drop')
    """
    return tuple(part.strip() for word in words for part in word.split(",") if part.strip())
