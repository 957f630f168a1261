"""`genvet zoo`: populations of clean and attacked generators, and what inspections make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from genvet.cli import screen
from genvet.cli.options import DEBUGGING, Debugging

INCOMPLETE = 2
Jobs = Annotated[int, Parameter(validator=Number(gte=1))]


def app() -> App:
    """The two commands."""
    zoo = App(name="zoo", help="Build a population of clean and attacked generators; score the inspections on it.")
    zoo.command(build)
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
    return INCOMPLETE if problems else 0
