"""`genvet reproduce`: a table of a paper, made again, with the paper's number beside ours."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from genvet.cli import outcome, screen
from genvet.cli.options import DEBUGGING, Debugging, Flag, command_line, output_folder
from genvet.core.errors import BadInput

if TYPE_CHECKING:
    from genvet.core.report import Report, Scalar, Table

CACHE = "GENVET_CACHE"
"""Environment variable that names the folder of trained networks."""
BENCHMARKS = Path("benchmarks")
NUMBERS = ("paper", "ours", "low", "high")


def reproduce(
    table: str,
    /,
    *,
    scale: Literal["smoke", "small", "paper"] = "smoke",
    data: Path | None = None,
    out: Path | None = None,
    cells: Path | None = None,
    cache: Path | None = None,
    population: Path | None = None,
    jobs: Annotated[int, Parameter(validator=Number(gte=1))] = 1,
    kept: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
    common: Debugging = DEBUGGING,
) -> int:
    """Make a table of a paper again; an interrupted run goes on where it was. An unknown TABLE lists what there is.

    Parameters
    ----------
    table: str
        Such as devil/table-1.
    scale: str
        smoke: tiny networks, seconds to minutes; small: hours on two cores; paper: networks and steps of the paper.
    data: Path
        The folder of data sets: mnist/, fashion_mnist/, cifar10/, audio_drums/, omniglot/, faces_orl/, faces_yaleb/, of
        which a table takes its own; GENVET_DATA unless given.
    out: Path
        Folder for the report; ./genvet-reproduce-<table> unless given.
    cells: Path
        Folder of finished cells; such as benchmarks/devil-table-1/cells/small, or one in the output folder where there
        is no folder benchmarks.
    cache: Path
        Folder of trained and planted networks, for all tables; GENVET_CACHE, or one in the output folder.
    population: Path
        For devil/table-3, the folder of cells that genvet zoo score left; benchmarks/zoo/cells/<scale> unless given.
    jobs: int
        Processes, of one thread each.
    kept: bool
        Tell what the finished cells say, and work nothing out.
    json: bool
        Print the report alone, as JSON, on stdout; everything else goes to stderr.
    """
    from genvet.reproduce.cells import Place, run
    from genvet.reproduce.reporting import report
    from genvet.reproduce.tables import find
    from genvet.zoo.parents import root

    experiment, stem = find(table), table.replace("/", "-")
    folder = out or output_folder("reproduce", Path(stem))
    networks = cache or Path(os.environ.get(CACHE) or folder / "cache")
    members = population or BENCHMARKS / "zoo" / "cells" / scale
    if not kept and not root(data).is_dir():
        raise BadInput(f"there is no folder {root(data)}", expected="a folder of data sets", hint="name it with --data")
    place = Place(Path() if kept else root(data), networks, members)
    finished = cells or (BENCHMARKS / stem if BENCHMARKS.is_dir() else folder) / "cells" / scale
    with screen.progress():
        ran = run(experiment.cells(scale), finished, place, jobs, allow=not kept)
    made = report(table, experiment, scale, ran, command_line())
    page = outcome.keep(made, folder)
    if json:
        outcome.put(made)
    else:
        show(made)
        screen.note(f"report: {page}")
    return 0 if ran.complete or kept else outcome.INCOMPLETE


def show(report: Report) -> None:
    """The tables and the claims on stdout, and on stderr what is missing."""
    (finding,) = report.findings
    for table in finding.tables:
        screen.out().print(table.title)
        screen.table(*plain(table))
    screen.table(("claim", "status", "evidence"), [(c.id, c.status, c.evidence) for c in finding.claims])
    reasons = Counter(gap.detail or "not worked out yet" for gap in report.not_checked)
    for reason, cells in reasons.items():
        screen.note(f"no numbers in {cells} cell{'s' * (cells > 1)}: {reason}")


def plain(table: Table) -> tuple[list[str], list[list[str]]]:
    """Its columns and rows as texts, with our number and its range in one cell."""
    columns = [c for c in table.columns if c not in ("low", "high")]
    return columns, [_row(table.columns, row) for row in table.rows]


def _row(columns: Sequence[str], row: Sequence[Scalar]) -> list[str]:
    cells = dict(zip(columns, row, strict=True))
    low, high = cells.pop("low", None), cells.pop("high", None)
    told = {name: _text(value) for name, value in cells.items()}
    if low is not None and low != high:
        told["ours"] += f" ({_text(low)} to {_text(high)})"
    return list(told.values())


def _text(value: Scalar) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
