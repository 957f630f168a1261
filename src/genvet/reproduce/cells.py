"""Cells: the units of work of a table. Each is kept as a small JSON file, so that a run goes on where one stopped."""

from __future__ import annotations

import json
import math
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from genvet.core.errors import GenVetError
from genvet.core.printable import printable
from genvet.core.progress import track
from genvet.core.report import Record
from genvet.core.technique import Technique
from genvet.engine.shelf import key
from genvet.files.writing import write_bytes
from genvet.zoo.workers import spread

Numbers = Mapping[str, float | None]
"""What a cell measured, by name; None where it could not be."""


@dataclass(frozen=True)
class Place:
    """Where a cell finds what it needs."""

    data: Path
    """The folder of data sets."""
    cache: Path
    """Where trained and planted networks are kept, for any table."""
    population: Path = Path("benchmarks/zoo/cells/small")
    """Where the cells of a scored population are."""


class Step(Record):
    """Work that leaves something in the cache: done once, before the cells that need it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Unlike that of any other step."""

    @abstractmethod
    def __call__(self, place: Place) -> Any: ...


class Cell(Step):
    """A recipe from which a few numbers follow: a frozen record, and calling it does the work, in under an hour."""

    passing: ClassVar[bool] = False
    """Its numbers are not kept, since they follow in seconds from other files that are."""

    def needs(self) -> tuple[Step, ...]:
        """What has to be in the cache first."""
        return ()

    def techniques(self) -> tuple[type[Technique], ...]:
        """Whose versions the numbers depend on."""
        return ()

    def where(self) -> Mapping[str, object]:
        """Where in the table it stands: its network, its attack ..."""
        return {}

    @abstractmethod
    def __call__(self, place: Place) -> Numbers: ...


Done = Sequence[tuple[Any, Numbers]]
"""Cells with their numbers, in the order of the table."""

ROUND = 8
"""Cells of each process in a round: starting processes takes seconds, and the last of a round wait for one another."""


@dataclass
class Outcome:
    """What a run came to."""

    done: list[tuple[Cell, Numbers]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Why there are no numbers, by the cell's name."""
    waiting: list[str] = field(default_factory=list)
    """Cells that were not reached."""
    seconds: float = 0.0
    """Of processor time behind all cells, whenever it was spent."""

    @property
    def complete(self) -> bool:
        return not self.failed and not self.waiting


def identity(cell: Cell) -> dict[str, Any]:
    """Everything that the numbers follow from, as JSON values."""
    versions = {t.name(): t.version for t in cell.techniques()}
    recipe = {"cell": type(cell).__name__, **cell.model_dump(mode="json")}
    return {"recipe": recipe, "techniques": versions, "genvet": version("genvet")}


def recall(cell: Cell, folder: Path) -> tuple[Numbers, float] | None:
    """The numbers that an earlier run kept, with its seconds; None where they follow from something else."""
    if cell.passing:
        return None
    try:
        kept = json.loads((folder / f"{cell.name}.json").read_bytes())
        return (kept["numbers"], kept["seconds"]) if kept["key"] == key(identity(cell)) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def run(cells: Sequence[Cell], folder: Path, place: Place, jobs: int = 1, allow: bool = True) -> Outcome:
    """The numbers of every cell: recalled where this table or another one keeps them, else worked out and kept.

    One that fails stops no other. Interrupted, it gives what there is. `allow` False works nothing out but what follows
    from files that are kept.
    """
    known = {cell.name: recall(cell, folder) or _borrowed(cell, folder, keep=allow) for cell in cells}
    outcome, missing = Outcome(), [cell for cell in cells if known[cell.name] is None]
    try:
        for cell, found in _worked(missing, place, jobs) if allow else _passed(missing, place):
            if isinstance(found, str):
                outcome.failed[cell.name] = found
            else:
                known[cell.name] = found
                if not cell.passing:
                    _keep(cell, folder, *found)
    except KeyboardInterrupt:
        pass
    for cell in cells:
        kept = known[cell.name]
        if kept:
            outcome.done.append((cell, kept[0]))
            outcome.seconds += kept[1]
        elif cell.name not in outcome.failed:
            outcome.waiting.append(cell.name)
    return outcome


def _borrowed(cell: Cell, folder: Path, keep: bool) -> tuple[Numbers, float] | None:
    """The numbers that another table at the same scale keeps of the same cell: <table>/cells/<scale>."""
    if folder.parent.name != "cells":
        return None
    for other in sorted(folder.absolute().parents[2].glob(f"*/cells/{folder.name}")):
        kept = recall(cell, other)
        if kept:
            if keep:
                _keep(cell, folder, *kept)
            return kept
    return None


def _keep(cell: Cell, folder: Path, numbers: Numbers, seconds: float) -> None:
    told = {"key": key(identity(cell)), **identity(cell), "numbers": numbers, "seconds": round(seconds, 1)}
    text = json.dumps(told, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_bytes(folder / f"{cell.name}.json", text.encode())


def _worked(cells: Sequence[Cell], place: Place, jobs: int) -> Iterator[tuple[Cell, tuple[Numbers, float] | str]]:
    """Each cell with its numbers and seconds, or with the reason why there are none."""
    yield from track(_rounds(cells, place, jobs), len(cells), "cells")


def _passed(cells: Sequence[Cell], place: Place) -> Iterator[tuple[Cell, tuple[Numbers, float] | str]]:
    """Those alone whose numbers follow from what is kept elsewhere."""
    return (_measured(place, cell) for cell in cells if cell.passing)


def _rounds(cells: Sequence[Cell], place: Place, jobs: int) -> Iterator[tuple[Cell, tuple[Numbers, float] | str]]:
    """A few cells at a time, after what these few need: a run that is cut short has trained little in vain."""
    made: dict[str, str] = {}
    many = 1 if jobs <= 1 else ROUND * jobs
    for part in (cells[start : start + many] for start in range(0, len(cells), many)):
        steps = {step.name: step for cell in part for step in cell.needs() if step.name not in made}
        made |= spread(partial(_made, place), list(steps.values()), jobs)
        lacking = {cell.name: [reason for step in cell.needs() if (reason := made[step.name])] for cell in part}
        yield from ((cell, lacking[cell.name][0]) for cell in part if lacking[cell.name])
        yield from spread(partial(_measured, place), [cell for cell in part if not lacking[cell.name]], jobs)


def _made(place: Place, step: Step) -> tuple[str, str]:
    """One step, done, by its name; with the reason where it fails."""
    try:
        step(place)
    except Exception as error:
        return step.name, _told(error)
    return step.name, ""


def _measured(place: Place, cell: Cell) -> tuple[Cell, tuple[Numbers, float] | str]:
    """One cell's finite numbers and its seconds of processor time, or the reason why it has none."""
    began = time.process_time()
    try:
        numbers = cell(place)
    except Exception as error:
        return cell, _told(error)
    finite = {name: _rounded(value) for name, value in numbers.items()}
    return cell, (finite, time.process_time() - began)


def _told(error: Exception) -> str:
    """Why there are no numbers; a fault of ours by its kind, since the other cells go on."""
    return printable(error.message if isinstance(error, GenVetError) else f"{type(error).__name__}: {error}", 300)


def _rounded(value: float | None) -> float | None:
    """Six digits, which is more than any of these numbers is good for."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None
