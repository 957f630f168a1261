"""Report -> one HTML file that opens offline, holds no script, and trusts nothing that the scanned file says."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from genvet.core.printable import printable
from genvet.core.report import Figure, Finding, Measure, Proof, Report, Table
from genvet.core.rules import RULES, Rule
from genvet.core.severity import Severity
from genvet.files.writing import write_bytes
from genvet.page import charts

CSP = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
HEADLINES = {
    Severity.CRITICAL: "Do not load this file",
    Severity.HIGH: "Do not deploy this model",
    Severity.MEDIUM: "Read this before you use it",
    Severity.LOW: "Nothing decisive was found",
    Severity.INFO: "Nothing was found",
}
REASONS = {
    "not_requested": "not asked for",
    "not_applicable": "does not apply to this file",
    "error": "failed",
    "budget": "the budget ran out",
    "interrupted": "interrupted",
    "no_generator": "needs a generator, and none was rebuilt",
}
MOST_TEXT = 20_000
MOST_PROOFS = 25
"""Of one rule in one finding; the rest is counted here and listed in report.json."""
MOST_ROWS = 200
MOST_OPEN = 10
"""Rows of a table that stands open; a longer one is folded away."""
MOST_MEDIA = 32 << 20

# A counter's name, at most one folder down: nothing that a scanned file could have chosen.
_BESIDE = re.compile(r"(?:[a-z]{1,20}/)?[0-9]{1,8}\.(png|wav)")
_MAGIC = {"png": (b"\x89PNG\r\n\x1a\n", "image/png"), "wav": (b"RIFF", "audio/wav")}


def write(report: Report, folder: Path) -> Path:
    """Write `report.html` into the folder that holds the report's pictures; an older page is replaced at once."""
    return write_bytes(folder / "report.html", render(report, folder).encode())


def write_index(title: str, scans: Iterable[Scan], folder: Path) -> Path:
    """Write `index.html`, one row for each file of a scanned folder."""
    rows = sorted(scans, key=lambda scan: (-scan.rank, scan.name))
    page = _pages().get_template("index.html").render(title=title, scans=rows, csp=CSP)
    return write_bytes(folder / "index.html", page.encode())


def render(report: Report, folder: Path) -> str:
    """The page as text. Pictures and sounds are taken from `folder`."""
    findings = sorted(report.findings, key=lambda f: (-f.severity.rank, f.technique, f.part))
    return (
        _pages()
        .get_template("report.html")
        .render(
            csp=CSP,
            report=report,
            headline=headline(report),
            sections=[_section(i, finding, folder) for i, finding in enumerate(findings, 1)],
        )
    )


def headline(report: Report) -> str:
    """What to do, in a few words."""
    if not report.verdict.complete and report.verdict.severity <= Severity.LOW:
        return "The check is not complete"
    if report.verdict.severity is Severity.HIGH and _worst_technique(report) == "file":
        return HEADLINES[Severity.CRITICAL]
    return HEADLINES[report.verdict.severity]


def _worst_technique(report: Report) -> str:
    return max(report.findings, key=lambda f: f.severity.rank).technique if report.findings else ""


@dataclass(frozen=True)
class Scan:
    """One row of the index: a file, and its report or the reason why there is none."""

    name: str
    report: Report | None = None
    error: str = ""
    link: str = ""

    @property
    def rank(self) -> int:
        return self.report.verdict.severity.rank if self.report else -1

    @property
    def why(self) -> str:
        """The worst finding, in a line."""
        return why(self.report) if self.report else self.error


def why(report: Report) -> str:
    """The worst that was found, in a line; where nothing was, how far that reaches."""
    worst = max(report.findings, key=lambda f: f.severity.rank, default=None)
    if worst is None or worst.severity is Severity.INFO:
        return report.verdict.behaviour if report.target.networks else report.verdict.loading
    proof = next((p for p in worst.proofs if p.severity is worst.severity), None)
    if proof is None:
        return worst.summary
    return f"{RULES[proof.rule].title}: {proof.message}" if proof.rule in RULES else proof.message


@dataclass(frozen=True)
class Shown:
    """A figure as the page holds it: a picture, a chart, a sound, or a note where it cannot be shown."""

    figure: Figure
    source: Markup | None = None
    width: int = 0
    height: int = 0
    note: str = ""

    @property
    def wide(self) -> bool:
        """Whether it takes a row of its own: a row of pictures, or a large grid."""
        return self.width > min(2 * self.height, 700)

    @property
    def chart(self) -> bool:
        return not self.figure.file

    @property
    def captions(self) -> list[object]:
        """One for each tile of a grid, in reading order."""
        captions = self.figure.data.get("captions", [])
        return list(captions[:MOST_ROWS]) if isinstance(captions, list | tuple) else []


@dataclass(frozen=True)
class RuleProofs:
    """The proofs of one rule, most of them shown."""

    rule: Rule | None
    severity: Severity
    id: str
    shown: list[Proof]
    hidden: int


def _section(number: int, finding: Finding, folder: Path) -> dict[str, Any]:
    return {
        "id": f"finding-{number}",
        "finding": finding,
        "figures": [show(figure, folder) for figure in finding.figures],
        "proofs": list(_by_rule(finding.proofs)),
    }


def _by_rule(proofs: Iterable[Proof]) -> Iterable[RuleProofs]:
    ordered = sorted(proofs, key=lambda p: (-p.severity.rank, p.rule))
    for (severity, rule), group in groupby(ordered, key=lambda p: (p.severity, p.rule)):
        found = list(group)
        yield RuleProofs(RULES.get(rule), severity, rule, found[:MOST_PROOFS], max(0, len(found) - MOST_PROOFS))


def show(figure: Figure, folder: Path) -> Shown:
    """Inline a figure, or say why it cannot be shown; never raises."""
    try:
        if not figure.file:
            return Shown(figure, _data_url(charts.svg(figure), "image/svg+xml"))
        data, kind = _beside(figure.file, folder)
    except (ValueError, OSError) as error:
        return Shown(figure, note=f"not shown: {error}")
    width, height = _size(data) if kind == "png" else (0, 0)
    return Shown(figure, _data_url(data, _MAGIC[kind][1]), width, height)


def _beside(name: str, folder: Path) -> tuple[bytes, str]:
    """The bytes of a picture or sound next to the report, by a counter's name only."""
    matched = _BESIDE.fullmatch(name)
    path = folder / name
    if not matched or path.is_symlink() or path.parent.is_symlink() or not path.is_file():
        raise ValueError("its file is not one of this report's")
    if path.stat().st_size > MOST_MEDIA:
        raise ValueError("its file is too large for a page")
    data = path.read_bytes()
    if not data.startswith(_MAGIC[matched[1]][0]):
        raise ValueError("its file is not what its name says")
    return data, matched[1]


def _size(png: bytes) -> tuple[int, int]:
    """How large to show a picture: small ones are enlarged by a whole factor, so that pixels stay square."""
    width, height = struct.unpack(">II", png[16:24]) if len(png) >= 24 else (0, 0)
    factor = max(1, 420 // max(width, 1))
    return width * factor, height * factor


def _data_url(data: bytes, mime: str) -> Markup:
    return Markup(f"data:{mime};base64,{base64.b64encode(data).decode()}")  # noqa: S704 - base64 of our own making


@cache
def _pages() -> Environment:
    """Autoescape on, and every value goes through `printable` on its way into a page."""
    pages = Environment(
        loader=PackageLoader("genvet.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.globals |= {"reasons": REASONS, "most_rows": MOST_ROWS, "most_open": MOST_OPEN}
    pages.tests["bulky"] = _bulky
    pages.filters |= {"number": number, "bytes": readable_bytes, "interval": _interval, "cell": cell, "when": _when}
    return pages


def _finalize(value: Any) -> Any:
    return value if isinstance(value, Markup) else printable(value, MOST_TEXT, lines=True)


def _bulky(table: Table) -> bool:
    """Whether a table is for those who look closer: long, or with long cells such as latents."""
    return len(table.rows) > MOST_OPEN or any(len(str(value)) > 200 for row in table.rows for value in row)


def number(value: float | None) -> str:
    """Four significant digits, whole numbers whole.

    >>> number(200000), number(0.012345), number(None)
    ('200,000', '0.01235', '–')
    """
    if value is None:
        return "–"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def cell(value: object) -> str:
    """A table's cell: numbers rounded, yes and no in words."""
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    return number(value) if isinstance(value, int | float) else str(value)


def readable_bytes(size: int) -> str:
    """
    >>> readable_bytes(9_300_000)
    '8.9 MiB (9,300,000 bytes)'
    """
    exact = f"{size:,} bytes"
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= scale:
            return f"{size / scale:.1f} {unit} ({exact})"
    return exact


def _interval(measure: Measure) -> str:
    if measure.low is None and measure.high is None:
        return ""
    return f"{number(measure.low)} to {number(measure.high)}"


def _when(made_at: str) -> str:
    """UTC, for a person.

    >>> _when("2026-01-02T03:04:05+00:00")
    '2026-01-02 03:04:05 UTC'
    """
    return made_at.removesuffix("+00:00").removesuffix("Z").replace("T", " ") + " UTC"
