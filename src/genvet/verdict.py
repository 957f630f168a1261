"""The one place that judges: turns facts and measures into severities, and findings into a verdict.

Facts of files and structure carry the severity of their rule. A measure that no population has calibrated never
exceeds `low`, nor does one that a population of generators unlike it has. Reaching a known target calibrates itself, by
its rank among control images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genvet.core.calibration import Limit, Population, Subject, Thresholds
from genvet.core.modelfile import Call, Evidence, ModelFile
from genvet.core.printable import printable
from genvet.core.report import Finding, Measure, NotChecked, Verdict
from genvet.core.rules import RULES
from genvet.core.severity import Severity, worst

if TYPE_CHECKING:
    from genvet.core.dataset import Dataset


@dataclass(frozen=True)
class Threshold:
    """From which value on a measure counts that no population calibrates: `low` is the most it may give."""

    technique: str
    measure: str
    above: float
    why: str


THRESHOLDS = (
    Threshold("static.capacity", "ratio", 4.0, "far more parameters than published generators need"),
    Threshold("static.biases", "outlier", 30.0, "a bias far outside the others of its layer"),
    Threshold("static.spectrum", "residue", 1e-6, "a dense layer does more than to repeat w"),
    Threshold("static.spectrum", "styles", 2.0, "layers that read w listen to few of its directions"),
    Threshold("static.spectrum", "mapping", 3.0, "a layer of the mapping writes few directions above all others"),
    Threshold("output.reconstruct", "masked", 0.5, "gradients are masked: the search was blind"),
    Threshold("output.appearance", "not-finite", 0.0, "outputs that are not numbers"),
)

CODE = ("source.", "keras.", "torchscript.")
"""Rules about program text, but for those that say that nothing can be read."""
NO_CODE = ("keras.malformed",)

REASONS = {
    "error": "Failed",
    "interrupted": "Interrupted before",
    "budget": "Too costly at this depth",
    "no_generator": "Needs a generator, and none was rebuilt",
    "not_requested": "Not asked for",
    "not_applicable": "Does not apply to this file",
}
"""Why something was not checked, as a sentence begins; what leaves a report incomplete comes first."""

CALIBRATED = "calibrated by"
"""In the reason of a finding whose measures a population of the generator's like has set thresholds for."""
CARRIED = ("data.metadata", "data.names")
"""Audits of files, apart from what their pictures show."""
P_VALUE = 0.01
CONTROLS = 99
FLOOR = 0.01
"""Mean squared error a value, range [-1, 1]: off by a twentieth of the range. Planted targets reach 1e-6 to 1e-3,
honest inversions of natural images 0.03 and more, of very simple images less: hence the other two conditions."""
NEARER = 0.1
"""And ten times nearer than the nearest of the generator's own ordinary samples."""


def judge(finding: Finding, thresholds: Thresholds | None = None, subject: Subject | None = None) -> Finding:
    """The finding with its severity, and the reason for it; `subject` is what it is about, where that is a generator.

    Judging a finding again gives what judging it once would give.
    """
    reasons = [*_by_rules(finding), *_by_thresholds(finding), *_by_targets(finding)]
    reasons += _by_population(finding, thresholds or Thresholds(), subject)
    top = worst(severity for severity, _ in reasons)
    why = [text for severity, text in reasons if severity == top]
    shown = "; ".join(dict.fromkeys(why[:5])) or _below(finding, thresholds or Thresholds(), subject)
    return finding.model_copy(update={"severity": top, "reason": shown})


def _by_rules(finding: Finding) -> list[tuple[Severity, str]]:
    ids = dict.fromkeys(proof.rule for proof in finding.proofs)
    return [(RULES[id].severity, f"rule {id}: {RULES[id].title}") for id in ids]


def _by_thresholds(finding: Finding) -> list[tuple[Severity, str]]:
    found = []
    for t in THRESHOLDS:
        for m in finding.measures:
            if t.technique == finding.technique and t.measure == m.name and m.value is not None and m.value > t.above:
                said = f"{m.name} {m.value:.3g} above {t.above:g}: {t.why} (no population has calibrated it)"
                found.append((Severity.LOW, said))
    return found


def _by_population(finding: Finding, table: Thresholds, subject: Subject | None) -> list[tuple[Severity, str]]:
    """Measures above the limits that a population gave: decisive for their like; others are not calibrated by it."""
    known = table.of(finding, subject)
    if known is None:
        return []
    population, limits = known
    inside = population.holds_for(subject)
    above = [(m, limits[m.name]) for m in finding.measures if m.name in limits and m.value is not None]
    return [
        (Severity.HIGH if inside else Severity.LOW, _passed(m, limit, population, inside))
        for m, limit in above
        if m.value is not None and m.value > limit.above
    ]


def _below(finding: Finding, table: Thresholds, subject: Subject | None) -> str:
    """What it means that nothing was found: at which power."""
    known = table.of(finding, subject)
    if known is None or not known[0].holds_for(subject):
        return "nothing above any threshold"
    population = known[0]
    found = f", whose verdict finds {population.detected} of {population.attacked} attacked ones"
    said = f"below every threshold, {CALIBRATED} population {printable(population.name, 60)}"
    return said + found * bool(population.attacked)


def _passed(m: Measure, limit: Limit, population: Population, inside: bool) -> str:
    """Which threshold it passed, and who gave it."""
    who = f"{population.clean} clean generators of population {printable(population.name, 60)}"
    said = f"{m.name} {m.value:.3g} above {limit.above:.3g}: {printable(limit.why, 200)}"
    if inside:
        return f"{said} ({CALIBRATED} {who}, none above it; false alarms at most {population.bound:.1%}, at 95 %)"
    kinds = (f"{family} of shape {' or '.join(map(str, shapes))}" for family, shapes in population.kinds.items())
    like = " or ".join(kinds)
    return f"{said} (of {who}, none is; they are {like}, not its like: no more than a hint)"


def _by_targets(finding: Finding) -> list[tuple[Severity, str]]:
    """A known target that the generator puts out: near in itself, nearer than its kind, and than anything ordinary."""
    of = {m.name: m for m in finding.measures}
    names = [m.name.removeprefix("error.") for m in finding.measures if m.name.startswith("error.")]
    found = [_target(name, of[f"error.{name}"], of.get(f"p.{name}"), of.get(f"nearer.{name}")) for name in names]
    return [judged for judged in found if judged]


def _target(name: str, error: Measure, p: Measure | None, nearer: Measure | None) -> tuple[Severity, str] | None:
    if error.value is None or error.value > FLOOR:
        return None
    if nearer is None or nearer.value is None or nearer.value > NEARER:
        return None
    shown = f"{name}: error {error.value:.2g} ({error.unit}; floor {FLOOR:g})"
    if p is None or p.value is None or (p.n or 0) < CONTROLS:
        why = f" ({p.note})" if p and p.note else ""
        return Severity.LOW, f"{shown}, but no {CONTROLS} control images to compare with{why}, so low at most"
    if p.value > P_VALUE:
        return Severity.INFO, f"{shown}, but control images come as near (p = {p.value:.2g})"
    ceiling = Severity.MEDIUM if p.note else Severity.HIGH
    return ceiling, f"{shown}, p = {p.value:.2g} among {p.n} control images" + (f" ({p.note})" if p.note else "")


def verdict(model: ModelFile, findings: Sequence[Finding], not_checked: Sequence[NotChecked]) -> Verdict:
    """Three statements kept apart, and the worst severity among the findings."""
    return Verdict(
        severity=worst(f.severity for f in findings),
        loading=_loading(model),
        behaviour=_behaviour(findings, not_checked),
        unchecked=_unchecked(not_checked),
        complete=all(n.complete for n in not_checked),
    )


def of_data(dataset: Dataset, findings: Sequence[Finding], not_checked: Sequence[NotChecked]) -> Verdict:
    """The same three statements of a data set: what its files carry, what they show, and what was not looked at."""
    carried = [f for f in findings if f.technique in CARRIED]
    shown = [f for f in findings if f.technique not in CARRIED]
    files = [n for n in not_checked if n.technique == "data"]
    read = f"{len(dataset):,} of {len(dataset) + len(files):,} pictures and tables were read. " * bool(files)
    return Verdict(
        severity=worst(f.severity for f in findings),
        loading=read + _told(carried, "What the files carry was not looked at."),
        behaviour=_told(shown, "What pictures and tables show was not looked at."),
        unchecked=_unread(files) + _unchecked([n for n in not_checked if n not in files]),
        complete=all(n.complete for n in not_checked),
    )


def _told(findings: Sequence[Finding], otherwise: str) -> str:
    """What stands out, the worst first; where nothing does, what each has to say, at which power."""
    ranked = sorted(findings, key=lambda f: -f.severity.rank)
    out = [f for f in ranked if f.severity > Severity.INFO]
    said = [f"{str(f.severity).capitalize()}, by {f.technique}: {_sentence(f.summary)}" for f in out]
    quiet = [f for f in ranked if f not in out]
    if out and quiet:
        said.append(f"Nothing stands out by {', '.join(f.technique for f in quiet)}.")
    return " ".join(said or [_sentence(f.summary) for f in quiet]) or otherwise


def _unread(files: Sequence[NotChecked]) -> str:
    """The first files that could not be read, by name."""
    if not files:
        return ""
    named = "; ".join(f"{printable(n.part, 80)} ({n.detail})" for n in files[:5])
    more = f"; and {len(files) - 5:,} more" * (len(files) > 5)
    return f"{len(files):,} files were not read: {named}{more}. "


def _loading(model: ModelFile) -> str:
    """What loading the file would execute, the worst of each kind by name."""
    said = [*_reached(model.calls), *_worst_facts(model.evidence)]
    if said:
        return " ".join(said)
    if model.calls or model.sources:
        texts = f", and runs {len(model.sources)} texts of known releases" * bool(model.sources)
        return f"Loading this file reaches {len(model.calls)} names, all on the allow-list{texts}."
    return "Loading this file executes nothing: it holds data only."


def _reached(calls: Iterable[Call]) -> Iterator[str]:
    worst_first = ("dangerous", "unlisted", "class")
    beyond = sorted(
        (c for c in calls if c.standing in worst_first), key=lambda c: (worst_first.index(c.standing), not c.called)
    )
    if beyond:
        c, more = beyond[0], len(beyond) - 1
        verb, arguments = ("call", printable(c.arguments, 120) or "()") if c.called else ("import", "")
        rest = f" and reach {more} more names off the allow-list" * (more > 0)
        yield f"Loading this file would {verb} {printable(f'{c.module}.{c.name}', 120)}{arguments}{rest}."


def _worst_facts(evidence: Iterable[Evidence]) -> Iterator[str]:
    """Apart from calls: the worst of program texts, and the worst of the rest."""
    told = [e for e in evidence if e.severity >= Severity.MEDIUM and not e.rule.startswith("call.")]
    texts = [e for e in told if e.rule.startswith(CODE) and e.rule not in NO_CODE]
    if texts:
        yield f"It carries program text that runs when it is loaded or called. {_fact(texts)}."
    others = [e for e in told if e not in texts]
    if others:
        yield f"{_fact(others)}."


def _fact(facts: Sequence[Evidence]) -> str:
    """The worst of them, by its rule's title; and how many more there are."""
    e, more = max(facts, key=lambda e: e.severity.rank), len(facts) - 1
    return f"{RULES[e.rule].title}: {e.message} ({e.rule})" + f", and {more} more such fact{'s' * (more > 1)}" * (
        more > 0
    )


def _behaviour(findings: Iterable[Finding], not_checked: Sequence[NotChecked]) -> str:
    """What stands out, worst first; then at which power the rest was looked at."""
    looked = [f for f in findings if f.technique != "file"]
    ranked = sorted((f for f in looked if f.severity >= Severity.LOW), key=lambda f: -f.severity.rank)
    said = [f"{str(f.severity).capitalize()}, by {_by(f)}: {_sentence(f.summary)}" for f in ranked]
    inside = {f.technique for f in looked if f.access != "ModelFile"}
    if not inside:
        without = any(n.reason == "no_generator" for n in not_checked)
        why = ": no generator could be rebuilt from this file" * without
        return " ".join([*said, f"Weights and outputs were not looked at{why}."])
    if not ranked:
        s = "s" * (len(inside) > 1)
        said.append(f"Nothing stands out in {len(inside)} inspection{s} of weights and outputs.")
    bounds = [
        (f, m) for f in looked if f not in ranked for m in f.measures if m.name == "bound" and m.value is not None
    ]
    for f, m in bounds:
        of = f" of {printable(f.part, 60)}" if f.part else ""
        said.append(
            f"{m.n:,} samples{of} were drawn: what none of them shows has a probability below {m.value:.2g} a sample "
            "(at 95 %)."
        )
    if not any(CALIBRATED in f.reason for f in looked):
        said.append(
            "No population of its like has set thresholds: rules and known targets alone count for more than low."
        )
    return " ".join(said)


def _by(finding: Finding) -> str:
    return finding.technique + (f" on {printable(finding.part, 60)}" if finding.part else "")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _unchecked(not_checked: Sequence[NotChecked]) -> str:
    """A sentence for each reason, with the inspections that it kept from running."""
    said = []
    for reason, begins in REASONS.items():
        names = dict.fromkeys(n.technique for n in not_checked if n.reason == reason)
        if names:
            said.append(f"{begins}: {', '.join(names)}.")
    return " ".join(said) or "Everything that applies was checked."
