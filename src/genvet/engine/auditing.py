"""A whole data set: read it, run every audit, judge what they found, and say what was not looked at."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genvet.catalogue import Entry, find, techniques
from genvet.core.errors import BadInput, Unsupported
from genvet.core.printable import printable
from genvet.core.progress import track
from genvet.core.report import AUDITED, Finding, NotChecked, Report, Target
from genvet.core.rng import Rng
from genvet.core.technique import Audit, Result
from genvet.engine.composing import put_together
from genvet.engine.knobs import Knobs, by_full_name
from genvet.engine.running import found
from genvet.engine.shelf import Shelf
from genvet.verdict import of_data

if TYPE_CHECKING:
    from genvet.core.dataset import Dataset

ROOM = "data."


def audits() -> dict[str, Entry]:
    """Every audit by name: the defences that look at data, but for those that change them."""
    found = {name: entry for name, entry in techniques("defence").items() if name.startswith(ROOM)}
    return {name: entry for name, entry in found.items() if not getattr(entry.load(), "changes", False)}


def audit(
    dataset: Dataset | Path | str,
    *,
    out: Path | None = None,
    only: Collection[str] = (),
    settings: Mapping[str, Knobs] | None = None,
    seed: int = 0,
    command: str = "",
) -> Report:
    """Look at a data set with every audit, or with those that `only` names; settings are by an audit's name.

    A file that cannot be read is listed and leaves the report incomplete; an audit that fails stops no other.
    """
    wanted = {find(name, "defence").name for name in only}
    if strange := sorted(wanted - set(audits())):
        known = ", ".join(name.removeprefix(ROOM) for name in audits())
        raise BadInput(f"{strange[0]} is no audit of data", expected=known)
    knobs = by_full_name(settings or {}, "defence")
    shelf = Shelf(out)
    whole = _read(dataset)
    findings: list[Finding] = []
    gaps = [NotChecked(technique="data", part=u.name, reason="error", detail=printable(u.why)) for u in whole.unread]
    left = list(audits().items())
    try:
        for name, entry in track(list(left), len(left), "auditing"):
            if not wanted or name in wanted:
                _look(entry, whole, knobs.get(name, {}), seed, shelf, findings, gaps, asked=name in wanted)
            else:
                gaps.append(NotChecked(technique=name, reason="not_requested"))
            left.pop(0)
    except KeyboardInterrupt:
        gaps += [NotChecked(technique=name, reason="interrupted") for name, _ in left]
    return report(whole, findings, gaps, command)


def looked(
    audit: Audit, dataset: Dataset, given: Any = None, *, seed: int = 0, shelf: Shelf | None = None
) -> tuple[Result, Finding]:
    """One audit of a data set, with its judged finding."""
    began = time.perf_counter()
    result = audit(dataset, audit.gift()() if given is None else given, Rng(seed).fork(audit.name()))
    seconds = round(time.perf_counter() - began, 3)
    return result, found(audit, result, shelf or Shelf(None), access="Dataset", seed=seed, seconds=seconds)


def report(dataset: Dataset, findings: Sequence[Finding], gaps: Sequence[NotChecked], command: str) -> Report:
    """The report on one data set."""
    return put_together(_target(dataset), of_data(dataset, findings, gaps), findings, gaps, command)


def _read(dataset: Dataset | Path | str) -> Dataset:
    from genvet.core.dataset import Dataset
    from genvet.files.dataset import read_dataset

    return dataset if isinstance(dataset, Dataset) else read_dataset(dataset)


def _look(
    entry: Entry,
    dataset: Dataset,
    knobs: Knobs,
    seed: int,
    shelf: Shelf,
    findings: list[Finding],
    gaps: list[NotChecked],
    *,
    asked: bool,
) -> None:
    """Run one audit; what does not apply, what is not installed and what fails is put down, and stops nothing else.

    An extra that is not there counts as not asked for, unless the audit was named.
    """
    technique = entry.load()
    assert issubclass(technique, Audit)
    try:
        findings.append(looked(technique(**knobs), dataset, seed=seed, shelf=shelf)[1])
    except Unsupported as error:
        missing = technique.extra and technique.extra in error.hint
        reason: Any = ("error" if asked else "not_requested") if missing else "not_applicable"
        detail = f"{error.message}; {error.hint}" if missing else error.message
        gaps.append(NotChecked(technique=entry.name, reason=reason, detail=printable(detail)))
    except Exception as error:
        detail = printable(f"{type(error).__name__}: {error}")
        gaps.append(NotChecked(technique=entry.name, reason="error", detail=detail))


def _target(dataset: Dataset) -> Target:
    """By the hashes of all files, in the order of their names."""
    every = hashlib.sha256("".join(f"{item.name}\0{item.sha256}\n" for item in dataset.items).encode()).hexdigest()
    formats = [item.format for item in dataset.items]
    counts = ", ".join(f"{formats.count(kind):,} {kind}" for kind in sorted(set(formats)))
    tables = f", {len(dataset.sheets)} table{'s' * (len(dataset.sheets) > 1)}" * bool(dataset.sheets)
    others = [
        f"{sheet.name}: a table of {len(sheet.rows):,} rows, {len(sheet.columns)} columns" for sheet in dataset.sheets
    ]
    others += [f"{name}: neither a picture nor a table" for name in dataset.passed_by[:20]]
    return Target(
        path=dataset.path,
        sha256=every,
        size=max(1, sum(item.size for item in dataset.items)),
        format=f"{AUDITED}: {counts or 'no pictures'}{tables}",
        others=tuple(printable(line) for line in others[:60]),
    )
