"""A threat model as a page and as Markdown; every word of a report passes `printable`, and is no markup."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from genvet.core.printable import printable
from genvet.core.report import Measure
from genvet.core.threat import Evidence, Row, ThreatModel
from genvet.files.writing import write_bytes
from genvet.page.templates import number, template

NAME = "threat-model"
MARKS = re.compile(r"([\\`*_{}\[\]<>#|~&!])")
MEANS = {True: "shows it", False: "does not show it", None: ""}


def write(model: ThreatModel, folder: Path) -> list[Path]:
    """The entry as a page, as Markdown and as JSON; gives their paths, the page first."""
    texts = {"html": page(model), "md": markdown(model), "json": model.model_dump_json(indent=1) + "\n"}
    return [write_bytes(folder / f"{NAME}.{kind}", text.encode()) for kind, text in texts.items()]


def page(model: ThreatModel) -> str:
    """As one HTML file that opens offline."""
    parts = {
        "Ways to leak": model.vectors,
        "What decides how much there is to leak": model.factors,
        "Primary mitigations": model.primary,
        "Secondary mitigations": model.secondary,
    }
    return template("threat.html").render(model=model, parts=parts, means=MEANS, told=told)


def markdown(model: ThreatModel) -> str:
    """As Markdown, in the order of the founding document's entry."""
    return "\n".join(_lines(model)) + "\n"


def _lines(model: ThreatModel) -> Iterator[str]:
    yield f"# {plain(model.threat)}"
    yield from ("", f"**Risk severity: {model.severity}.** {' '.join(map(plain, model.reasons))}", "")
    yield from ("## Description", "", plain(model.description), "")
    yield from ("## Impact", "", *_listed(model.impact), "")
    yield from ("## Affected components", "", *_listed(model.components), "")
    for s in model.subjects:
        yield f"- {plain(s.path)}" + f" (SHA-256 {plain(s.sha256)})" * bool(s.sha256)
        yield from (f"    - {plain(line)}" for line in s.networks)
    parts = {
        "Ways to leak": model.vectors,
        "Factors": model.factors,
        "Mitigations, primary": model.primary,
        "Mitigations, secondary": model.secondary,
    }
    for title, rows in parts.items():
        yield from ("", f"## {title}")
        for row in rows:
            yield from _row(row)
    yield from ("", "## Not measured", "")
    yield from [f"- {plain(r.title)}: `{r.measured_by}`" for r in model.unmeasured] or ["Everything was measured."]
    yield from ("", "## Notes", "", *_listed(model.notes), "", "## Runs", "", *_listed(model.runs))
    yield from ("", f"Written {plain(model.made_at)}.")


def _row(row: Row) -> Iterator[str]:
    yield from ("", f"### {plain(row.title)}", "", plain(row.says), "")
    if not row.measured:
        yield f"Not measured. This would measure it: `{row.measured_by}`"
        return
    yield "| run | technique | about | what it says | measured | |"
    yield "|---|---|---|---|---|---|"
    for e in row.evidence:
        cells = (e.run, e.technique, e.target, e.summary, told(e), MEANS[e.exposes])
        yield f"| {' | '.join(plain(cell) for cell in cells)} |"
    if row.left_out:
        yield from ("", f"And {row.left_out} more findings.")


def told(evidence: Evidence) -> str:
    """The measures of one finding in one line, with intervals, chance and n."""
    return "; ".join(_measure(m) for m in evidence.measures)


def _measure(m: Measure) -> str:
    ends = f" ({number(m.low)} to {number(m.high)})" if m.low is not None and m.high is not None else ""
    chance = "" if m.chance is None else f", chance {number(m.chance)}"
    n = "" if m.n is None else f", n {m.n:,}"
    return f"{m.name} {number(m.value)}{f' {m.unit}' if m.unit else ''}{ends}{chance}{n}"


def _listed(texts: Sequence[str]) -> Iterator[str]:
    return (f"- {plain(text)}" for text in texts)


def plain(text: object) -> str:
    r"""A text that Markdown takes for nothing but text.

    >>> plain("<b>*a*</b> | b")
    '\\<b\\>\\*a\\*\\</b\\> \\| b'
    """
    return MARKS.sub(r"\\\1", printable(text, 2000))
