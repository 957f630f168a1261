"""One repair of one generator, measured before and after; and two scans beside each other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genvet.catalogue import find
from genvet.core.report import Finding, Report, Scalar, Table
from genvet.core.rng import Rng
from genvet.core.technique import Repair
from genvet.engine.running import found, gift
from genvet.engine.shelf import Shelf

if TYPE_CHECKING:
    from genvet.core.backdoor import Backdoor
    from genvet.core.generator import Generator
    from genvet.defences.sanitise.measuring import Repaired


def repaired(
    repair: Repair,
    target: Generator,
    given: Any = None,
    *,
    backdoor: Backdoor | None = None,
    clean: Generator | None = None,
    samples: int = 1024,
    seed: int = 0,
    out: Path | None = None,
    part: str = "",
) -> tuple[Repaired, Finding]:
    """Repair a generator, and measure what is left of the backdoor and what it cost; pictures go to `out`/figures.

    Where no backdoor is given, only what it cost. Raises BadInput where the backdoor or the clean model do not fit.
    """
    from genvet.defences.sanitise.measuring import compare, fits

    shelf, rng = Shelf(out), Rng(seed).fork(repair.name())
    fitting = backdoor.fitting(target) if backdoor else None
    fits(clean, target)
    began = time.perf_counter()
    after = repair(target, gift(repair, {}) if given is None else given, rng)
    seconds = round(time.perf_counter() - began, 3)
    result = compare(target, after, rng.fork("compared"), backdoor=fitting, clean=clean, samples=samples)
    about = {"access": "Generator", "part": part, "seed": seed, "seconds": seconds, "device": str(target.device)}
    return result, found(repair, result, shelf, **about)


def beside(before: Report, after: Report) -> Table:
    """What the scans of a model say before and after its repair: the verdict, every inspection, and its signals."""
    rows: list[tuple[Scalar, ...]] = [("verdict", _verdict(before), _verdict(after))]
    rows += [row for name in _names(before, after) for row in _rows(name, before, after)]
    return Table(title="Scanned before and after", columns=("inspection", "before", "after"), rows=tuple(rows))


def _verdict(report: Report) -> str:
    return f"{report.verdict.severity}{'' if report.verdict.complete else ', not complete'}"


def _names(*reports: Report) -> list[str]:
    """The inspections that looked at more than the file, in either scan."""
    return list(dict.fromkeys(f.technique for report in reports for f in report.findings if f.access != "ModelFile"))


def _rows(name: str, before: Report, after: Report) -> Iterator[tuple[Scalar, ...]]:
    scans = [[f for f in report.findings if f.technique == name] for report in (before, after)]
    yield (name, *(_severity(findings) for findings in scans))
    for signal in find(name, "inspection").load().signals:
        yield (f"{name}: {signal}", *(_value(findings, signal) for findings in scans))


def _severity(findings: list[Finding]) -> Scalar:
    return str(max(findings, key=lambda f: f.severity.rank).severity) if findings else "not run"


def _value(findings: list[Finding], signal: str) -> Scalar:
    values = [m.value for f in findings for m in f.measures if m.name == signal and m.value is not None]
    return f"{max(values):.3g}" if values else None
