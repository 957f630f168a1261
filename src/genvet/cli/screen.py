"""What a person sees: results on stdout, progress and complaints on stderr; texts from files never as markup."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from genvet.core.printable import printable
from genvet.core.progress import heard_by
from genvet.core.severity import Severity

if TYPE_CHECKING:
    from genvet.core.report import Report

STYLES = {"critical": "bold white on red", "high": "bold red", "medium": "yellow", "low": "cyan", "info": "dim"}
WIDTH = 140
"""Of tables that go to a file or a pipe."""
SECONDS_BETWEEN_LINES = 10.0


def out() -> Console:
    """Results. Made anew each time, so that redirected streams are honoured."""
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDTH
    return console


def err() -> Console:
    """Everything else."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False)


def complain(message: str, hint: str = "") -> None:
    """Say what went wrong, and what would help."""
    console = err()
    console.print(Text.assemble(("genvet: ", "bold red"), printable(message, 2000, lines=True)), soft_wrap=True)
    if hint:
        console.print(Text(f"        {printable(hint, 2000)}", "dim"), soft_wrap=True)


def note(message: str) -> None:
    """One line on stderr."""
    err().print(Text(printable(message, 2000)), soft_wrap=True)


@contextmanager
def progress() -> Iterator[None]:
    """Show the progress of everything inside: bars on a terminal, a line now and then elsewhere."""
    console = err()
    if not console.is_terminal:
        with heard_by(_Lines()):
            yield
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars, heard_by(_Bars(bars)):
        yield


class _Bars:
    """One bar a label; gone when it is full."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, label: str, done: int, total: int) -> None:
        shown = printable(label, 60)
        if shown not in self.tasks:
            self.tasks[shown] = self.bars.add_task(shown, total=total)
        self.bars.update(self.tasks[shown], completed=done, total=total)
        if done >= total:
            self.bars.remove_task(self.tasks.pop(shown))


class _Lines:
    """A plain line for each label that ends, and every ten seconds in between."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, label: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.last >= SECONDS_BETWEEN_LINES:
            self.last = now
            print(f"{printable(label, 60)}: {done} of {total}", file=sys.stderr, flush=True)


def severity(value: Severity) -> Text:
    """A severity in its colour."""
    return Text(str(value), STYLES[value])


def table(columns: Iterable[str], rows: Iterable[Iterable[str | Text]]) -> None:
    """A plain table on stdout; the last column takes the room that is left."""
    names = list(columns)
    shown = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for name in names:
        shown.add_column(name, overflow="fold", ratio=1 if name == names[-1] else None, min_width=min(len(name), 10))
    for row in rows:
        shown.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell, 2000)) for cell in row))
    out().print(shown)


SCANNED = ("loading", "behaviour", "not checked")
AUDITED = ("files", "content", "not checked")


def report(done: Report, statements: tuple[str, str, str] = SCANNED) -> None:
    """One file's verdict and findings, or those of a data set; the verdict's three statements have these names."""
    verdict = done.verdict
    console = out()
    console.print(
        Text.assemble(Text(printable(done.target.path), "bold"), ": ", severity(verdict.severity)), soft_wrap=True
    )
    for name, text in zip(statements, (verdict.loading, verdict.behaviour, verdict.unchecked), strict=True):
        console.print(Text(f"  {name:<12} {printable(text, 2000)}"), soft_wrap=True)
    console.print()
    several = len(done.target.networks) > 1
    found = sorted(done.findings, key=lambda f: -f.severity.rank)
    rows = [(severity(f.severity), f.label if several else f.technique, f.summary) for f in found]
    if rows:
        table(("severity", "inspection", "what it says"), rows)
    for gap, labels in done.gaps():
        if not gap.complete:
            detail = f": {gap.detail}" if gap.detail else ""
            note(f"not complete ({gap.reason.replace('_', ' ')}): {labels}{detail}")
