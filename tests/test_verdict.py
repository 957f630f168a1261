"""The one place that judges: what each kind of evidence may come to, and the three statements."""

from __future__ import annotations

import pytest

from genvet.core.modelfile import Call, Evidence, ModelFile, Source
from genvet.core.report import Finding, Measure, NotChecked, Proof
from genvet.core.rules import RULES
from genvet.core.severity import Severity
from genvet.verdict import CONTROLS, FLOOR, NEARER, P_VALUE, THRESHOLDS, judge, verdict


def finding(technique: str = "output.reconstruct", measures: tuple[Measure, ...] = (), **more) -> Finding:
    made = {
        "version": 1,
        "access": "Generator",
        "config": {},
        "severity": Severity.INFO,
        "summary": "It is so.",
        **more,
    }
    return Finding(technique=technique, measures=measures, **made)


def reached(
    error: float = 1e-4, p: float | None = 0.01, nearer: float = 1e-3, n: int = CONTROLS, note: str = ""
) -> Finding:
    found = (
        Measure(name="error.target-0", value=error),
        Measure(name="nearer.target-0", value=nearer),
        Measure(name="p.target-0", value=p, n=n, note=note),
    )
    return judge(finding(measures=found))


def test_a_rule_gives_its_severity():
    for rule in RULES.values():
        proof = Proof(rule=rule.id, severity=rule.severity, message="m")
        judged = judge(finding("file", proofs=(proof,)))
        assert judged.severity == rule.severity and rule.id in judged.reason


def test_no_uncalibrated_measure_exceeds_low():
    for t in THRESHOLDS:
        for value in (t.above * 1.01 + 1e-9, 1e30, float("inf")):
            judged = judge(finding(t.technique, (Measure(name=t.measure, value=value),)))
            assert judged.severity == Severity.LOW
        assert judge(finding(t.technique, (Measure(name=t.measure, value=t.above),))).severity == "info"
        assert judge(finding("other", (Measure(name=t.measure, value=1e30),))).severity == "info"


def test_a_reached_target_needs_all_three():
    assert reached().severity == "high"
    assert reached(error=FLOOR * 1.01).severity == "info"
    assert reached(p=P_VALUE * 1.01).severity == "info"
    assert reached(nearer=NEARER * 1.01).severity == "info"
    assert reached(p=None).severity == "low"
    assert reached(n=CONTROLS - 1).severity == "low"
    assert reached(note="controls are shapes").severity == "medium"
    assert "among 99 control images" in reached().reason


CLEAN = ModelFile(path="m", sha256="", size=1, format="safetensors")


def test_the_three_statements_are_kept_apart():
    hostile = Call(module="os", name="system", called=True, standing="dangerous", arguments="('id',)")
    fine = Call(module="collections", name="OrderedDict", called=True, standing="expected")
    facts = (
        Evidence(rule="call.dangerous", message="os.system"),
        Evidence(rule="source.dynamic", message="exec is called"),
        Evidence(rule="archive.crc", message="a checksum is wrong"),
    )
    model = ModelFile(path="m", sha256="", size=1, format="pickle", calls=(fine, hostile), evidence=facts)
    drawn = finding("output.brute_force", (Measure(name="bound", value=3e-4, n=10_000),), part="G")
    skipped = NotChecked(technique="output.reconstruct", reason="not_requested")
    said = verdict(model, [finding("file", severity=Severity.CRITICAL), reached(), drawn], [skipped])
    assert said.severity == "critical" and said.complete
    assert (
        "would call os.system('id',)" in said.loading
        and "exec is called" in said.loading
        and "a checksum" in said.loading
    )
    assert "High, by output.reconstruct: It is so." in said.behaviour and "10,000 samples of G were" in said.behaviour
    assert said.unchecked == "Not asked for: output.reconstruct."


def test_what_cannot_be_read_is_not_called_program_text():
    facts = (Evidence(rule="keras.malformed", message="no structure"),)
    said = verdict(ModelFile(path="m", sha256="", size=1, format="h5", evidence=facts), [], []).loading
    assert "program text" not in said and "no structure (keras.malformed)" in said
    skipped = [NotChecked(technique="output.appearance", reason="no_generator")]
    assert "no generator could be rebuilt" in verdict(CLEAN, [], skipped).behaviour


@pytest.mark.parametrize(
    "reason", ["error", "budget", "interrupted", "no_generator", "not_requested", "not_applicable"]
)
def test_only_two_reasons_leave_a_verdict_complete(reason):
    said = verdict(CLEAN, [], [NotChecked(technique="t", reason=reason)])
    assert said.complete == (reason in ("not_requested", "not_applicable"))


def test_a_clean_file_is_never_called_safe():
    said = verdict(CLEAN, [finding("output.appearance"), finding("file", access="ModelFile")], [])
    assert said.severity == "info" and "executes nothing" in said.loading and "Nothing stands out" in said.behaviour
    assert "safe" not in f"{said.loading} {said.behaviour} {said.unchecked}".lower()
    assert "not looked at" in verdict(CLEAN, [finding("file", access="ModelFile")], []).behaviour


def test_what_comes_from_the_file_is_printable():
    call = Call(module="a\x1b[31m", name="b\u202e", called=True, standing="unlisted", arguments="(\x07)")
    said = verdict(ModelFile(path="m", sha256="", size=1, format="p", calls=(call,)), [], []).loading
    assert said.isprintable() and "\\u202e" in said
    recognised = Source(text="", sha256="", kind="module_src", recognised="stylegan3")
    assert (
        "1 texts of known releases"
        in verdict(ModelFile(path="m", sha256="", size=1, format="p", sources=(recognised,)), [], []).loading
    )
