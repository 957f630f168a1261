"""`genvet threat-model`: what was measured is quoted, what was not is named, and hostile reports deceive no reader."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from genvet.cli import main
from genvet.core.report import Finding, MadeBy, Measure, Report, Target, Verdict
from genvet.core.severity import Severity
from genvet.core.threat import ThreatModel
from genvet.engine.threats import FACTORS, PRIMARY, SECONDARY, VECTORS, threat_model
from genvet.page import threat

HOSTILE = "</td><script>alert(1)</script>\u202e| [x](javascript:y) `code` **bold**\n# head"


def finding(technique: str, severity: str = "info", **values: Any) -> Finding:
    """`values` are measures: a number, or (value, low, high)."""
    told = []
    for name, value in values.items():
        v, low, high = value if isinstance(value, tuple) else (value, None, None)
        told.append(Measure(name=name.replace("__", ".").replace("_", "-"), value=v, low=low, high=high, n=100))
    of = {
        "version": 1,
        "access": "Samples",
        "config": {},
        "severity": Severity(severity),
        "summary": f"{technique} ran",
    }
    return Finding(technique=technique, measures=tuple(told), **of)


def report(*findings: Finding, path: str = "model.safetensors", sha256: str = "a" * 64) -> Report:
    return Report(
        target=Target(path=path, sha256=sha256, size=1, format="safetensors", networks=("generator: dcgan",)),
        verdict=Verdict(severity=Severity.INFO, loading="-", behaviour="-", unchecked="-", complete=True),
        findings=findings,
        checked=(),
        not_checked=(),
        made_by=MadeBy(genvet="0.1.0", python="3.11", torch="2.13", machine="m", command="genvet attack"),
        made_at="2026-01-02T03:04:05+00:00",
    )


QUIET = finding("membership.nearest", auc=(0.51, 0.45, 0.57), p=0.4, least_auc=0.6)
LOUD = finding("membership.nearest", auc=(0.8, 0.7, 0.9), p=1e-4, least_auc=0.6)
NO_COPIES = finding("membership.copying", p=0.5, replication=(0.01, 0.0, 0.02))
PROMISE = finding("private_dcgan", epsilon=3.0)


def made(*findings: Finding) -> ThreatModel:
    return threat_model([("run", report(*findings))])


@pytest.mark.parametrize(
    ("findings", "severity", "said"),
    [
        ((), "high", "own severity stands"),
        ((QUIET,), "high", "neither reconstruction nor copying"),
        ((QUIET, NO_COPIES), "high", "no training with an epsilon of 10"),
        ((QUIET, NO_COPIES, finding("private_dcgan", epsilon=50.0)), "high", "no training with an epsilon of 10"),
        (
            (finding("membership.nearest", auc=(0.5, 0.2, 0.8), p=0.5, least_auc=0.9), NO_COPIES, PROMISE),
            "high",
            "0.65",
        ),
        ((QUIET, NO_COPIES, PROMISE), "medium", "epsilon of 3 is promised"),
        ((LOUD, NO_COPIES, PROMISE), "high", "Measured: who was in the training set (membership.nearest)"),
        ((QUIET, NO_COPIES, PROMISE, finding("borders", "medium")), "high", "Measured: the service answers"),
    ],
)
def test_severity_follows_what_was_measured(findings: tuple[Finding, ...], severity: str, said: str) -> None:
    model = made(*findings)
    assert model.severity == severity and said in " ".join(model.reasons)


def test_each_technique_answers_its_threat_and_the_rest_is_unmeasured() -> None:
    model = made(LOUD, finding("filter.ssim", blocked=(0.1, 0.05, 0.2)), finding("data.outliers", most=3.0))
    measured = {row.id for part in (model.vectors, model.factors, model.primary, model.secondary) for row in part}
    gone = {row.id for row in model.unmeasured}
    assert measured - gone == {"membership", "outliers", "data", "filter", "testing"}
    assert [e.exposes for e in model.vectors[0].evidence] == [True]
    texts = threat.page(model), threat.markdown(model)
    for row in model.unmeasured:
        assert all(row.measured_by in text for text in texts)
    assert all("0.8 (0.7 to 0.9)" in text and "membership.nearest" in text.replace("\\", "") for text in texts)


@pytest.mark.parametrize("asked", [*VECTORS, *FACTORS, *PRIMARY, *SECONDARY], ids=lambda asked: asked.id)
def test_every_command_that_is_named_is_one(asked: Any) -> None:
    from genvet.catalogue import techniques
    from genvet.cli.app import build

    words = asked.command.split()[1:]
    build(words).parse_args(words, exit_on_error=False, print_error=False)
    known = {*techniques(), "endpoint"}
    for name in asked.techniques:
        assert name in known or any(one.startswith(name) for one in known if name.endswith(".")), name


def test_a_hostile_report_deceives_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Markup, controls, numbers that are none, and more findings than anybody reads."""
    measures = (Measure(name=HOSTILE, value=1.0, note=HOSTILE, unit=HOSTILE), Measure(name="auc", value=float("nan")))
    bad = finding("membership.nearest").model_copy(update={"summary": HOSTILE, "measures": measures})
    held = report(*[bad] * 60, path=HOSTILE, sha256=HOSTILE).model_dump(mode="json")
    held["made_by"]["command"] = held["made_at"] = held["target"]["networks"][0] = HOSTILE
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.json").write_text(json.dumps(held))
    with pytest.raises(SystemExit) as stop:
        main(["threat-model", str(tmp_path / "run"), "--out", str(tmp_path / "out")])
    assert stop.value.code == 0
    page, plain = ((tmp_path / "out" / f"threat-model.{kind}").read_text() for kind in ("html", "md"))
    assert "<script" not in page and "javascript:y)" not in re.sub(r"\[x\]\(javascript:y\)", "", page)
    assert "default-src &#39;none&#39;" in page and "and 20 more findings" in page
    assert "\\<script\\>" in plain and not re.search(r"(?<!\\)<", plain) and not re.search(r"^# head", plain, re.M)
    for text in (page, plain, *capsys.readouterr()):
        assert "\u202e" not in text and "nan" not in text.lower().split()
    assert ThreatModel.model_validate_json((tmp_path / "out" / "threat-model.json").read_bytes()).severity == "high"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is no run"),
        ("", "is no report.json"),
        ("[" * 100_000, "is no report.json"),
        ('{"schema_version": 2}', "is no report.json"),
        (json.dumps({**report().model_dump(mode="json"), "more": 1}), "more: Extra inputs"),
    ],
)
def test_what_is_no_report_is_refused(
    content: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(SystemExit) as stop:
        main(["threat-model", str(tmp_path), "--out", str(tmp_path / "out")])
    assert stop.value.code == 2 and said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_runs_about_several_models_are_told_apart() -> None:
    runs = [("a", report(QUIET)), ("b", report(LOUD, path="other.pkl", sha256="b" * 64))]
    model = threat_model(runs)
    assert any("about 2 models" in note for note in model.notes)
    assert [e.target for e in model.vectors[0].evidence] == ["model.safetensors", "other.pkl"]
