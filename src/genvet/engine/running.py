"""One technique on one target: the view it asks for and no more, a seed, a clock; and a judged Finding."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from genvet.core.errors import AccessDenied, BadInput
from genvet.core.modelfile import Evidence, ModelFile
from genvet.core.report import Figure, Finding, Proof
from genvet.core.rng import Rng
from genvet.core.severity import Severity
from genvet.core.technique import Guard, Picture, Probe, Repair, Result, Technique
from genvet.engine.guarding import Standing, behind, through
from genvet.engine.shelf import Shelf
from genvet.verdict import judge


def assess(
    probe: Probe, target: Any, given: Any = None, *, seed: int = 0, out: Path | None = None, part: str = ""
) -> Finding:
    """Run one probe on a target and give its judged finding; pictures go to `out`/figures."""
    return measured(probe, target, given, seed=seed, out=out, part=part)[1]


def measured(
    probe: Probe,
    target: Any,
    given: Any = None,
    *,
    seed: int = 0,
    out: Path | None = None,
    part: str = "",
    guards: Sequence[Standing] = (),
    knowing: str = "",
) -> tuple[Result, Finding]:
    """The same, with the result itself: what was planted is in it. Guards stand before the view that it is handed."""
    shelf = Shelf(out, getattr(target, "rate", 16_000))
    view, charged = behind(probe, target, guards, seed, knowing) if guards else (handed(probe, target), None)
    began = time.perf_counter()
    result = probe(view, gift(probe, {}) if given is None else given, Rng(seed).fork(probe.name()))
    seconds = time.perf_counter() - began
    access = probe.access().__name__ + through(guards, knowing)
    about = {"access": access, "part": part, "seed": seed, "seconds": round(seconds, 3)}
    finding = found(probe, result, shelf, device=str(getattr(target, "device", "cpu")), **about)
    return result, finding if charged is None else finding.model_copy(update={"queries": charged.used})


def found(technique: Technique, result: Result, shelf: Shelf, **about: Any) -> Finding:
    """The judged finding of what a technique measured; `about` is what else is known of the run."""
    finding = Finding(
        technique=technique.name(),
        version=technique.version,
        config=technique.model_dump(mode="json"),
        severity=Severity.INFO,
        queries=result.queries,
        **about,
        **_said(result, shelf),
    )
    return judge(finding)


def handed(probe: Probe, target: Any) -> Any:
    """The view of the target that the probe's annotation asks for; raises AccessDenied where there is less."""
    access = probe.access()
    if access is ModelFile or target is None:
        fits = isinstance(target, ModelFile) if access is ModelFile else access is type(None)
    else:
        from genvet.core.classifier import Classifier
        from genvet.core.generator import Generator
        from genvet.core.queries import Queries, Samples
        from genvet.core.scores import Scores

        if access is Scores and isinstance(target, Classifier):
            return target.seen_as(Scores)
        if access in (Samples, Queries) and isinstance(target, Generator):
            return target.seen_as(access)
        fits = isinstance(target, access)
    if not fits:
        got = type(target).__name__
        raise AccessDenied(f"{probe.name()} looks at a {access.__name__}, and was given a {got}")
    return target


def gift(probe: Probe | Repair | Guard, have: dict[str, Any]) -> Any:
    """The technique's own dataclass of what it may be given, filled from what there is."""
    kind = probe.gift()
    known = {name: value for name, value in have.items() if name in kind.__dataclass_fields__ and value is not None}
    lacking = lacks(probe, have)
    if lacking:
        raise BadInput(f"{probe.name()} needs {' and '.join(lacking)}")
    return kind(**known)


def lacks(probe: Probe | Repair | Guard, have: dict[str, Any]) -> list[str]:
    """What the technique cannot do without, and has not been given."""
    needed = [f.name for f in fields(probe.gift()) if f.default is MISSING and f.default_factory is MISSING]
    return [name for name in needed if have.get(name) is None]


def _said(result: Result, shelf: Shelf) -> dict[str, Any]:
    return {
        "summary": result.summary(),
        "measures": result.measures(),
        "figures": tuple(_shown(figure, shelf) for figure in result.figures()),
        "tables": result.tables(),
        "proofs": tuple(map(_proof, result.evidence())),
    }


def _shown(figure: Figure | Picture, shelf: Shelf) -> Figure:
    return shelf.figure(figure) if isinstance(figure, Picture) else figure


def _proof(e: Evidence) -> Proof:
    return Proof(
        rule=e.rule,
        severity=e.severity,
        message=e.message,
        place=e.place,
        offset=e.offset,
        length=e.length,
        line=e.line,
        detail=e.detail,
    )
