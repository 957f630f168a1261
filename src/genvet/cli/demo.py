"""`genvet demo`: the whole tool in three minutes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from genvet.cli import screen
from genvet.cli.options import DEBUGGING, Debugging
from genvet.cli.outcome import write
from genvet.core.severity import Severity

if TYPE_CHECKING:
    from genvet.cli.demo_models import Exhibit
    from genvet.core.report import Report


def demo(*, out: Path = Path("genvet-demo"), seed: int = 0, debugging: Debugging = DEBUGGING) -> int:
    """Train a small generator, plant a backdoor in a copy, and scan both, and a stranger's file too.

    Parameters
    ----------
    out: Path
        Folder for the three models and their reports.
    seed: int
        Everything drawn at random follows from it.
    """
    return show(out, seed)


def show(out: Path, seed: int, **training: int) -> int:
    """Make the three files, scan them, and say whether the scan was right; 2 where it was not."""
    import torch

    from genvet.cli.demo_models import MARKER, make
    from genvet.files.writing import write_bytes
    from genvet.page import index

    began = time.monotonic()
    write_bytes(out / "README.txt", b"Made by `genvet demo`: open index.html.\n")
    (out / MARKER).unlink(missing_ok=True)
    with screen.progress():
        screen.note("training a small DCGAN on handwritten digits, and planting a backdoor in a copy")
        torch.set_num_threads(1)  # so small a network gains nothing from more, and loses much on a busy machine
        exhibits = make(out, seed, **training)
        reports = [_scan(exhibit, out, seed) for exhibit in exhibits]
    rows = [
        index.Row(e.path.name, r, link=f"{e.path.stem}/report.html") for e, r in zip(exhibits, reports, strict=True)
    ]
    index.write("genvet demo", rows, out)
    _table(exhibits, reports)
    ran = (out / MARKER).exists()
    right = all(told(e, r) for e, r in zip(exhibits, reports, strict=True))
    _last_words(out, MARKER, ran, time.monotonic() - began)
    return 0 if right and not ran else 2


def told(exhibit: Exhibit, report: Report) -> bool:
    """Whether the scan was right: hostile files at high or above, the others below."""
    return (report.verdict.severity >= Severity.HIGH) == exhibit.hostile


def _scan(exhibit: Exhibit, out: Path, seed: int) -> Report:
    from genvet import engine

    screen.note(f"scanning {exhibit.path.name}")
    folder = out / exhibit.path.stem
    targets, reference = out / "targets", out / "digits.npz"
    command = f"genvet scan {exhibit.path} --targets {targets} --reference {reference} --seed {seed}"
    report = engine.scan(
        exhibit.path, out=folder, targets=targets, reference=reference, seed=seed, device="cpu", command=command
    )
    write(report, folder)
    return report


def _table(exhibits: list[Exhibit], reports: list[Report]) -> None:
    from genvet.page.index import why

    rows: list[list[str | Text]] = []
    for exhibit, report in zip(exhibits, reports, strict=True):
        mark = Text("as expected", "green") if told(exhibit, report) else Text("WRONG", "bold red")
        expected = "high or worse" if exhibit.hostile else "below high"
        rows.append([exhibit.path.name, expected, screen.severity(report.verdict.severity), mark, why(report)])
    screen.table(("file", "expected", "verdict", "", "why"), rows)


def _last_words(out: Path, marker: str, ran: bool, seconds: float) -> None:
    console = screen.out()
    if ran:
        console.print(f"{out / marker} exists: the payload in stranger.pkl was RUN. This is a fault of GenVet.")
    else:
        console.print(f"stranger.pkl would write {marker} when loaded; it does not exist: nothing in the file was run.")
    console.print(f"{seconds:.0f} s. Open {out / 'index.html'}", soft_wrap=True)
