"""A table's numbers as a report: the paper's beside ours, the claims, and what was not done."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace

from genvet import engine
from genvet.core.modelfile import ModelFile
from genvet.core.report import Claim, Finding, NotChecked, Report, Table
from genvet.core.severity import Severity
from genvet.reproduce.cells import Outcome, identity
from genvet.reproduce.experiment import Experiment, Scale, Told

DIFFERS = "What differs from the paper"


def report(name: str, experiment: Experiment, scale: Scale, outcome: Outcome, command: str) -> Report:
    """The report on one table at one scale."""
    told, technique = experiment.told(scale, outcome.done), f"reproduce.{name.replace('/', '.')}"
    if scale == "smoke":
        told = replace(told, claims=tuple(map(_undecided, told.claims)))
    finding = Finding(
        technique=technique,
        version=1,
        access="nothing",
        config={"scale": scale, "source": experiment.source},
        severity=Severity.INFO,
        reason="an experiment, not a scan",
        summary=summary(experiment, told, outcome),
        figures=told.figures,
        tables=(*told.tables, Table(title=DIFFERS, columns=("",), rows=tuple((s,) for s in told.differs))),
        claims=told.claims,
        seconds=round(outcome.seconds, 1),
    )
    gaps = [NotChecked(technique=technique, part=part, reason="error", detail=d) for part, d in outcome.failed.items()]
    gaps += [NotChecked(technique=technique, part=part, reason="interrupted") for part in outcome.waiting]
    model = ModelFile(path=f"{name} at {scale} scale", sha256=digest(outcome), size=0, format="cells")
    made = engine.compose(model, [finding], gaps, command)
    said = {
        "loading": "Nothing was loaded that GenVet did not make.",
        "behaviour": finding.summary,
        "unchecked": f"{len(gaps)} of {len(gaps) + len(outcome.done)} cells have no numbers." if gaps else "Nothing.",
    }
    return made.model_copy(update={"verdict": made.verdict.model_copy(update=said)})


SAID = {
    "holds": ("holds", "hold"),
    "part": ("holds in part", "hold in part"),
    "not": ("does not hold", "do not hold"),
    "undecided": ("is undecided", "are undecided"),
}
"""Of one claim, and of several."""


def summary(experiment: Experiment, told: Told, outcome: Outcome) -> str:
    """How many claims hold, in a sentence."""
    counts = Counter[str](claim.status for claim in told.claims)
    words = ", ".join(f"{counts[status]} {said[counts[status] > 1]}" for status, said in SAID.items() if counts[status])
    return f"{experiment.title}, from {len(outcome.done)} cells; of {len(told.claims)} claims: {words or 'none'}."


def _undecided(claim: Claim) -> Claim:
    """Networks of a few steps decide nothing."""
    evidence = f"at smoke scale nothing is learned: {claim.evidence}"
    return claim.model_copy(update={"status": "undecided", "evidence": evidence})


def digest(outcome: Outcome) -> str:
    """SHA-256 of all that the numbers follow from, and of the numbers."""
    kept = [[identity(cell), numbers] for cell, numbers in outcome.done]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
