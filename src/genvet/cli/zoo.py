"""`genvet zoo`: populations of clean and attacked generators, and what inspections make of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from genvet.cli import outcome, screen
from genvet.cli.options import DEBUGGING, Debugging, Flag, command_line, output_folder

if TYPE_CHECKING:
    from genvet.core.report import Report, Table

Jobs = Annotated[int, Parameter(validator=Number(gte=1))]


def app() -> App:
    """The two commands."""
    zoo = App(name="zoo", help="Build a population of clean and attacked generators; score the inspections on it.")
    zoo.command(build)
    zoo.command(score)
    return zoo


def build(
    *,
    scale: Literal["smoke", "small", "paper"],
    data: Path | None = None,
    out: Path | None = None,
    jobs: Jobs = 1,
    common: Debugging = DEBUGGING,
) -> int:
    """Make clean and attacked generators; what is there already is kept, so that the same command goes on.

    Parameters
    ----------
    scale: Literal["smoke", "small", "paper"]
        smoke takes minutes, small hours, paper days.
    data: Path
        Folder that holds mnist/ and fashion_mnist/ with their idx files; GENVET_DATA unless given.
    out: Path
        Folder for parents, members and manifest; ./genvet-zoo-<scale> unless given.
    jobs: int
        Processes, of one thread each.
    """
    from genvet.zoo.building import build as made
    from genvet.zoo.parents import root

    folder = out or Path(f"genvet-zoo-{scale}")
    with screen.progress():
        manifest = made(scale, root(data), folder, jobs)
    failed = [m for m in manifest.members if m.worked is False]
    problems = [m for m in manifest.members if m.problem]
    screen.note(f"{len(manifest.members)} members, {len(failed)} attacks failed: {folder / 'manifest.json'}")
    for one in problems:
        screen.note(f"not made: {one.name}: {one.problem}")
    return outcome.INCOMPLETE if problems else 0


def score(
    folder: Path,
    /,
    *,
    depth: Literal["quick", "standard", "deep"] = "standard",
    out: Path | None = None,
    write: Path | None = None,
    cells: Path | None = None,
    name: str | None = None,
    jobs: Jobs = 1,
    seed: int = 0,
    json: Annotated[bool, Flag] = False,
    common: Debugging = DEBUGGING,
) -> int:
    """Score every inspection and the verdict on a population, or set thresholds by clean models of your own.

    A folder without a manifest holds model files, all taken as clean; `genvet scan --thresholds` takes what they give.
    A folder of cells, as an earlier run kept them, is reported without looking at the models again.

    Parameters
    ----------
    folder: Path
        What `genvet zoo build` made, a folder of clean models, or a folder of cells.
    depth: Literal["quick", "standard", "deep"]
        How closely each generator is looked at; thresholds hold for scans of this depth.
    out: Path
        Folder for findings, report.json and report.html; ./genvet-zoo-<stem> unless given.
    write: Path
        Write the thresholds to this file; what it holds of other populations and depths stays.
    cells: Path
        Keep each generator's measures as a small JSON file in this folder, and go on from those that are there.
    name: str
        What the population is called in verdicts; the folder's name unless given.
    jobs: int
        Processes, of one thread each.
    seed: int
        Everything drawn at random follows from it.
    json: bool
        Print the report alone, as JSON, on stdout; everything else goes to stderr.
    """
    from genvet import engine
    from genvet.core.calibration import Thresholds
    from genvet.core.errors import BadInput
    from genvet.files.thresholds import read_thresholds
    from genvet.files.writing import write_bytes
    from genvet.zoo import limits, reporting, scoring

    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}", hint="name a population, or a folder of clean models")
    place = out or output_folder("zoo", folder)
    path = write or place / "thresholds.json"
    engine.ready(place)
    engine.ready(path.parent)
    before = read_thresholds(path).populations if path.exists() else ()
    with screen.progress():
        rows = scoring.rows(folder, place, depth, seed, jobs, cells)
        judged = limits.judge(name or folder.resolve().name, rows)
        report = reporting.report(judged, command_line())
    page = outcome.keep(report, place)
    made = limits.population(judged)
    others = tuple(p for p in before if (p.name, p.depth) != (made.name, made.depth))
    table = Thresholds(populations=(*others, made))
    write_bytes(path, (table.model_dump_json(indent=1) + "\n").encode())
    if (known := scoring.stored(folder)) and (unread := len(list(folder.iterdir())) - len(known)):
        screen.note(f"{folder}: {unread} of its files are no cells, and were left out")
    if json:
        outcome.put(report)
    else:
        show(report)
    for written in (page, path):
        screen.note(str(written))
    return 0


def show(report: Report) -> None:
    """The verdict's tables on stdout, and its summary."""
    whole = report.findings[0]
    for table in whole.tables:
        screen.out().print(table.title)
        screen.table(*_plain(table))
    screen.note(whole.summary)


def _plain(table: Table) -> tuple[list[str], list[list[str]]]:
    """Its columns and rows as texts, with the ends of an interval in the cell of what they belong to."""
    rows = []
    for row in table.rows:
        cells: list[str] = []
        for name, value in zip(table.columns, row, strict=True):
            if name == "low":
                cells[-1] += f" ({value} to " if value is not None else ""
            elif name == "high":
                cells[-1] += f"{value})" if value is not None else ""
            else:
                cells.append("-" if value is None else str(value))
        rows.append(cells)
    return [name for name in table.columns if name not in ("low", "high")], rows
