"""SARIF 2.1.0 as GitHub takes it: valid, in its limits, and with fingerprints that last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from genvet.core.report import Finding, Proof, Report
from genvet.core.rules import RULES
from genvet.core.severity import Severity, worst
from genvet.page import sarif


def strict(required: str, **properties: Any) -> dict[str, Any]:
    """An object as the SARIF schema has it: nothing beyond its properties."""
    return {"type": "object", "required": required.split(), "properties": properties, "additionalProperties": False}


# The parts of the OASIS schema that we write, put in our own words.
TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 0}
MESSAGE = strict("text", text=TEXT)
BAG = {"type": "object", "properties": {"tags": {"type": "array", "items": TEXT, "maxItems": 20, "uniqueItems": True}}}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
URI = {"type": "string", "pattern": r"^(file:///)?[A-Za-z0-9_.~%/-]+$"}
RULE = strict(
    "id name shortDescription fullDescription help defaultConfiguration properties",
    id=TEXT,
    name={"type": "string", "maxLength": 255},
    shortDescription=MESSAGE,
    fullDescription=MESSAGE,
    help=MESSAGE,
    defaultConfiguration=strict("level", level=LEVEL),
    properties={
        **BAG,
        "required": ["security-severity", "tags"],
        "properties": {**BAG["properties"], "security-severity": {"type": "string", "pattern": r"^(10|\d)\.\d$"}},
    },
)
REGION = strict(
    "startLine",
    startLine={"type": "integer", "minimum": 1},
    byteOffset=COUNT,
    byteLength=COUNT,
    snippet=MESSAGE,
)
LOCATION = strict(
    "physicalLocation",
    physicalLocation=strict(
        "artifactLocation region", artifactLocation=strict("uri", uri=URI, index=COUNT), region=REGION
    ),
    logicalLocations={"type": "array", "items": strict("fullyQualifiedName", fullyQualifiedName=TEXT)},
)
RESULT = strict(
    "ruleId ruleIndex level message locations partialFingerprints",
    ruleId=TEXT,
    ruleIndex=COUNT,
    level=LEVEL,
    message=MESSAGE,
    locations={"type": "array", "items": LOCATION, "minItems": 1, "maxItems": 1000},
    partialFingerprints={"type": "object", "additionalProperties": TEXT, "required": ["primaryLocationLineHash"]},
    properties=BAG,
)
ARTIFACT = strict(
    "location length hashes",
    location=strict("uri", uri=URI),
    length=COUNT,
    hashes=strict("sha-256", **{"sha-256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}}),
    description=MESSAGE,
)
NOTE = strict("level message", level=LEVEL, message=MESSAGE)
RUN = strict(
    "tool automationDetails artifacts results",
    tool=strict(
        "driver",
        driver=strict(
            "name version semanticVersion rules",
            name=TEXT,
            version=TEXT,
            semanticVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+"},
            rules={"type": "array", "items": RULE, "maxItems": 25_000, "uniqueItems": True},
        ),
    ),
    automationDetails=strict("id", id={"type": "string", "pattern": "/$"}),
    artifacts={"type": "array", "items": ARTIFACT},
    results={"type": "array", "items": RESULT, "maxItems": sarif.MOST_RESULTS},
    invocations={
        "type": "array",
        "items": strict(
            "executionSuccessful",
            executionSuccessful={"type": "boolean"},
            endTimeUtc={"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"},
            toolExecutionNotifications={"type": "array", "items": NOTE},
        ),
    },
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
)
LOG = strict("$schema version runs", version={"const": "2.1.0"}, runs={"type": "array", "items": RUN, "maxItems": 20})
LOG["properties"]["$schema"] = TEXT


def run_of(report: Report) -> dict[str, Any]:
    log = json.loads(json.dumps(sarif.sarif(report)))
    jsonschema.validate(log, LOG)
    (run,) = log["runs"]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    return run


def with_proofs(report: Report, *proofs: Proof) -> Report:
    finding = report.findings[-1].model_copy(update={"proofs": proofs, "severity": worst(p.severity for p in proofs)})
    return report.model_copy(update={"findings": (finding,)})


def prints(report: Report) -> list[str]:
    return [result["partialFingerprints"]["primaryLocationLineHash"] for result in run_of(report)["results"]]


def test_rules_findings_and_places_come_through(report: Report, tmp_path: Path) -> None:
    run = run_of(report)
    assert [r["ruleId"] for r in run["results"]] == ["call.dangerous", "output.reconstruct", "source.module-call"]
    scores = {r["id"]: r["properties"]["security-severity"] for r in run["tool"]["driver"]["rules"]}
    assert scores == {"call.dangerous": "9.5", "output.reconstruct": "8.0", "source.module-call": "8.0"}
    region = run["results"][0]["locations"][0]["physicalLocation"]["region"]
    assert (region["byteOffset"], region["byteLength"], region["startLine"]) == (17, 14, 1)
    assert run["artifacts"][0]["hashes"]["sha-256"] == report.target.sha256
    assert run["invocations"][0]["executionSuccessful"] is False
    path = sarif.write(report, tmp_path)
    assert path.name == "report.sarif" and json.loads(path.read_text())["runs"][0]["results"] == run["results"]


@pytest.mark.parametrize("severity", Severity)
def test_every_severity_lands_in_githubs_bucket(severity: Severity) -> None:
    score = float(sarif.SCORES[severity])
    bucket = {"critical": (9.0, 10), "high": (7.0, 8.9), "medium": (4.0, 6.9), "low": (0.1, 3.9), "info": (0, 0)}[
        severity
    ]
    assert bucket[0] <= score <= bucket[1]
    assert (sarif.LEVELS[severity] == "error") == (severity >= Severity.HIGH)


def test_every_rule_can_be_written(report: Report) -> None:
    proofs = [Proof(rule=rule.id, severity=rule.severity, message=rule.title) for rule in RULES.values()]
    run = run_of(with_proofs(report, *proofs))
    names = [rule["name"] for rule in run["tool"]["driver"]["rules"]]
    assert len(set(names)) == len(names) == len(RULES)


def test_fingerprints_ignore_wording_and_offset_and_keep_facts_apart(report: Report) -> None:
    def one(**more: Any) -> Proof:
        given = {"rule": "call.unlisted", "severity": "high", "message": "m", "place": "data.pkl", "detail": "a.b"}
        return Proof.model_validate({**given, **more})

    first = prints(with_proofs(report, one()))
    assert prints(with_proofs(report, one(message="put otherwise", offset=99, length=3))) == first
    others = [one(place="other.pkl"), one(detail="a.c"), one(rule="call.dangerous"), one()]
    kept = prints(with_proofs(report, one(), *others))
    assert len(set(kept)) == 5 and first[0] in kept


def test_hostile_text_is_escaped_and_the_path_stays_a_path(hostile: Report) -> None:
    run = run_of(hostile)
    text = json.dumps(run, ensure_ascii=False)
    assert not {"\u202e", "\x1b", "\x07", "\ud800", "\u2028"} & set(text)
    assert run["artifacts"][0]["location"]["uri"].startswith("%3Cscript%3E")


def test_the_limit_keeps_the_worst(report: Report) -> None:
    low = [
        Proof(rule="graph.parallel", severity=Severity.LOW, message="m", place=str(i))
        for i in range(sarif.MOST_RESULTS)
    ]
    run = run_of(with_proofs(report, *low, Proof(rule="call.dangerous", severity=Severity.CRITICAL, message="m")))
    assert len(run["results"]) == sarif.MOST_RESULTS and run["results"][0]["ruleId"] == "call.dangerous"
    assert "1 results of lesser severity" in json.dumps(run["invocations"])


def test_plain_observations_raise_no_alert(report: Report) -> None:
    quiet = Finding(
        technique="static.biases", version=1, access="Generator", config={}, severity=Severity.INFO, summary="s"
    )
    assert run_of(report.model_copy(update={"findings": (quiet,)}))["results"] == []


def test_paths_below_the_working_folder_become_relative(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path, uri in (
        ("a/m x.pkl", "a/m%20x.pkl"),
        (f"{tmp_path}/m.pkl", "m.pkl"),
        ("/else/m.pkl", "file:///else/m.pkl"),
    ):
        target = report.target.model_copy(update={"path": path})
        assert run_of(report.model_copy(update={"target": target}))["artifacts"][0]["location"]["uri"] == uri
