"""Which numbers tell how exposed an endpoint is, what they are worth, and whether they rose since an earlier report.

Severities rest on intervals: the end of an interval that speaks for the endpoint is what counts. Membership calibrates
itself, by the labels that are permuted; all else here is calibrated by no population, and is `low` at most, but for
noise that is seen to average away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from genvet.core.report import Finding, Measure, Report, Scalar, Table
from genvet.core.severity import Severity, worst

Change = Literal["rose", "fell", "within intervals", "not comparable", "not measured then", "not measured now"]
P_VALUE = 0.01


@dataclass(frozen=True)
class Exposure:
    """One number, which way is worse, and from where on how bad it is."""

    technique: str
    measure: str
    why: str
    rungs: tuple[tuple[float, Severity], ...] = ()
    """From which value on, by the better end of the interval."""
    lower_is_worse: bool = False

    def bound(self, m: Measure) -> float | None:
        """The end of the interval that speaks for the endpoint."""
        end = m.high if self.lower_is_worse else m.low
        return m.value if end is None else end


_AUC = ((0.5, Severity.LOW), (0.6, Severity.MEDIUM), (0.75, Severity.HIGH))
_ANSWERED = ((1e-9, Severity.LOW),)
EXPOSURES = (
    Exposure("membership.nearest", "auc", "members are told by samples", _AUC),
    Exposure("membership.latent_recovery_black_box", "auc", "members are recovered better by queries", _AUC),
    Exposure("extraction.fidelity", "fidelity.frechet", "a copy comes nearer to the model", lower_is_worse=True),
    Exposure("extraction.fidelity", "fidelity.js", "a copy spreads as the model does", lower_is_worse=True),
    Exposure("borders", "far-2.answered", "latents of twice the length are answered", _ANSWERED),
    Exposure("borders", "far-10.answered", "latents of ten times the length are answered", _ANSWERED),
    Exposure("borders", "far-100.answered", "latents far out, where triggers are, are answered", _ANSWERED),
    Exposure("borders", "near-mode.answered", "latents at the mode, where triggers are, are answered", _ANSWERED),
    Exposure("borders", "patterned.answered", "latents with a pattern, as triggers have, are answered", _ANSWERED),
    Exposure("borders", "drifting.answered", "a search by small steps is answered", _ANSWERED),
    Exposure("borders", "repeated.answered", "one latent is answered again and again"),
    Exposure("borders", "averaging.gain", "noise averages away", ((1.0, Severity.MEDIUM),)),
)


def weighed(finding: Finding) -> Finding:
    """The finding with the severity of what it exposes, and the reason."""
    told = list(_reasons(finding))
    top = worst(severity for severity, _, _ in told)
    why = [reason for severity, _, reason in told if severity is top and severity > Severity.INFO]
    return finding.model_copy(update={"severity": top, "reason": "; ".join(why) or "nothing that this test counts"})


def exposes(finding: Finding) -> list[tuple[Severity, str]]:
    """What a finding exposes, in a few words each, and how bad that is."""
    return [(severity, why) for severity, why, _ in _reasons(finding)]


def _reasons(finding: Finding) -> Iterator[tuple[Severity, str, str]]:
    of = {m.name: m for m in finding.measures}
    for exposure in _of(finding):
        m = of.get(exposure.measure)
        bound = None if m is None else exposure.bound(m)
        if m is None or bound is None or not exposure.rungs:
            continue
        p = of.get("p")
        if exposure.measure == "auc" and (p is None or p.value is None or p.value > P_VALUE):
            continue
        reached = [(above, severity) for above, severity in exposure.rungs if bound >= above]
        if reached:
            above, severity = reached[-1]
            passed = "" if above < 1e-6 else f" (from {above:.3g} on)"
            yield severity, exposure.why, f"{exposure.why}: {m.name} {m.value:.3g}, at least {bound:.3g}{passed}"


def _of(finding: Finding) -> list[Exposure]:
    return [e for e in EXPOSURES if e.technique == finding.technique]


def compared(now: Sequence[Finding], then: Report) -> tuple[Table, tuple[str, ...], tuple[str, ...]]:
    """All numbers of exposure beside each other; those that rose beyond both intervals; those that do not compare."""
    rows: list[tuple[Scalar, ...]] = []
    rose, unclear = [], []
    ours, theirs = ({f.technique: f for f in findings} for findings in (now, then.findings))
    for e in EXPOSURES:
        one, other = ours.get(e.technique), theirs.get(e.technique)
        new, old = (None if f is None else _measure(f, e.measure) for f in (one, other))
        if new is None and old is None:
            continue
        alike = one is None or other is None or (one.config, one.version) == (other.config, other.version)
        change = _change(e, old, new) if alike else "not comparable"
        name = f"{e.technique} {e.measure}"
        rose += [f"{e.why}: {_cell(old)} then, {_cell(new)} now ({name})"] if change == "rose" else []
        unclear += [f"{name}: {change}"] if change in ("not comparable", "not measured now") else []
        rows.append((name, _cell(old), _cell(new), change))
    columns = ("what is exposed", "then", "now", "exposure")
    return (
        Table(title="Compared with the earlier report", columns=columns, rows=tuple(rows)),
        tuple(rose),
        tuple(unclear),
    )


def _measure(finding: Finding, name: str) -> Measure | None:
    return next((m for m in finding.measures if m.name == name and m.value is not None), None)


def _change(e: Exposure, old: Measure | None, new: Measure | None) -> Change:
    """Whether the intervals lie apart, and which way."""
    if old is None or new is None:
        return "not measured then" if old is None else "not measured now"
    (old_low, old_high), (new_low, new_high) = _ends(old), _ends(new)
    more, less = new_low > old_high, new_high < old_low
    if e.lower_is_worse:
        more, less = less, more
    return "rose" if more else "fell" if less else "within intervals"


def _ends(m: Measure) -> tuple[float, float]:
    assert m.value is not None
    return (m.value if m.low is None else m.low), (m.value if m.high is None else m.high)


def _cell(m: Measure | None) -> str | None:
    if m is None or m.value is None:
        return None
    return f"{m.value:.3g}" if m.low is None or m.high is None else f"{m.value:.3g} ({m.low:.3g} to {m.high:.3g})"
