"""The pages' templates: what every text passes on its way in, and numbers, sizes and dates for a person."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from genvet.core.printable import printable
from genvet.core.report import Measure, Table

CSP = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
REASONS = {
    "not_requested": "not asked for",
    "not_applicable": "does not apply to this file",
    "error": "failed",
    "budget": "the budget ran out",
    "interrupted": "interrupted",
    "no_generator": "needs a generator, and none was rebuilt",
}
MOST_TEXT = 20_000
MOST_ROWS = 200
MOST_FIGURES = 6
"""Figures of a finding that stand open; the others are folded away."""
MOST_OPEN = 10
"""Rows of a table that stands open; a longer one is folded away."""


def template(name: str) -> Template:
    """A page by its file's name: report.html or index.html."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    """Autoescape on, and every value goes through `printable` on its way into a page."""
    pages = Environment(
        loader=PackageLoader("genvet.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.globals |= {"csp": CSP, "reasons": REASONS, "most_rows": MOST_ROWS, "most_open": MOST_OPEN}
    pages.globals["most_figures"] = MOST_FIGURES
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
