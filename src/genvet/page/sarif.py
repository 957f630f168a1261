"""Report -> SARIF 2.1.0, as GitHub code scanning takes it: stable rules, stable fingerprints, severities in numbers.

A model file has no lines, so every location carries its byte offset, and line 1 for readers that know lines only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from genvet.core.printable import printable
from genvet.core.report import Finding, Proof, Report
from genvet.core.rules import RULES
from genvet.core.severity import Severity
from genvet.files.writing import write_bytes

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
SCORES = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.5",
    Severity.LOW: "3.0",
    Severity.INFO: "0.0",
}
LEVELS = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
    Severity.INFO: "note",
}
MOST_RESULTS = 5000
"""GitHub takes 25,000 results a run and shows 5,000."""
MOST_TEXT = 2000

Json = dict[str, Any]


def write(report: Report, folder: Path) -> Path:
    """Write `report.sarif` into the report's folder."""
    text = json.dumps(sarif(report), indent=1, ensure_ascii=True, allow_nan=False)
    return write_bytes(folder / "report.sarif", (text + "\n").encode())


def sarif(report: Report) -> Json:
    """The report as a SARIF log with one run. The worst results come first, and survive the limit."""
    rows = sorted(_rows(report), key=lambda row: -row.severity.rank)
    kept, dropped = rows[:MOST_RESULTS], len(rows) - len(rows[:MOST_RESULTS])
    ids = list(dict.fromkeys(row.rule for row in kept))
    run = {
        "tool": {"driver": _driver(report, ids, kept)},
        "automationDetails": {"id": f"genvet/scan/{report.target.sha256[:16]}/"},
        "artifacts": [_artifact(report)],
        "results": [row.result(ids, report) for row in kept],
        "invocations": [_invocation(report, dropped)],
        "columnKind": "unicodeCodePoints",
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


class Row:
    """One result: a proof of a rule, or a technique's finding as a whole."""

    def __init__(self, finding: Finding, proof: Proof | None = None, copy: int = 0) -> None:
        self.finding, self.proof, self.copy = finding, proof, copy
        self.rule = proof.rule if proof else finding.technique
        self.severity = proof.severity if proof else finding.severity

    def result(self, ids: list[str], report: Report) -> Json:
        properties: Json = {"technique": self.finding.technique}
        if self.finding.part:
            properties["part"] = _text(self.finding.part)
        return {
            "ruleId": self.rule,
            "ruleIndex": ids.index(self.rule),
            "level": LEVELS[self.severity],
            "message": {"text": _text(self._message()) or self.rule},
            "locations": [self._location(report)],
            "partialFingerprints": {"primaryLocationLineHash": self._fingerprint()},
            "properties": properties,
        }

    def _message(self) -> str:
        if not self.proof:
            return f"{self.finding.summary} {self.finding.reason}".strip()
        title = f"{RULES[self.rule].title}: " if self.rule in RULES else ""
        return title + self.proof.message + (f" ({self.proof.place})" if self.proof.place else "")

    def _location(self, report: Report) -> Json:
        region: Json = {"startLine": 1}
        if self.proof and self.proof.offset is not None:
            region["byteOffset"] = self.proof.offset
            region["byteLength"] = self.proof.length or 0
        if self.proof and self.proof.detail:
            region["snippet"] = {"text": _text(self.proof.detail)}
        location: Json = {
            "physicalLocation": {"artifactLocation": {"uri": _uri(report.target.path), "index": 0}, "region": region}
        }
        place = (self.proof.place if self.proof else "") or self.finding.part
        if place:
            location["logicalLocations"] = [{"fullyQualifiedName": _text(place)}]
        return location

    def _fingerprint(self) -> str:
        """The same for the same fact in a later scan, whatever the wording, the version or the byte offset.

        `copy` counts equal facts, so that two calls of one function at one place stay two alerts.
        """
        proof, finding = self.proof, self.finding
        fact = [proof.rule, proof.place, proof.detail] if proof else [finding.technique, finding.part]
        return hashlib.sha256(json.dumps([*fact, self.copy]).encode()).hexdigest()[:32] + ":1"


def _rows(report: Report) -> Iterator[Row]:
    """Proofs speak for their finding; one whose severity its proofs do not reach speaks for itself as well."""
    for finding in report.findings:
        seen: dict[tuple[str, str, str], int] = {}
        for proof in finding.proofs:
            key = (proof.rule, proof.place, proof.detail)
            yield Row(finding, proof, seen.get(key, 0))
            seen[key] = seen.get(key, 0) + 1
        covered = max((proof.severity.rank for proof in finding.proofs), default=-1)
        if finding.severity.rank > covered and finding.severity > Severity.INFO:
            yield Row(finding)


def _driver(report: Report, ids: list[str], rows: Iterable[Row]) -> Json:
    worst: dict[str, Severity] = {}
    for row in rows:  # the worst come first
        worst.setdefault(row.rule, row.severity)
    return {
        "name": "GenVet",
        "semanticVersion": report.made_by.genvet,
        "version": report.made_by.genvet,
        "rules": [_rule(id, worst[id]) for id in ids],
    }


def _rule(id: str, severity: Severity) -> Json:
    known = RULES.get(id)
    title = known.title if known else f"Measured by {id}"
    help = known.help if known else "Read the measures, their power and the pictures in report.html."
    return {
        "id": id,
        "name": "".join(word.capitalize() for word in id.replace(".", "-").replace("_", "-").split("-")),
        "shortDescription": {"text": title},
        "fullDescription": {"text": f"{title}."},
        "help": {"text": help},
        "defaultConfiguration": {"level": LEVELS[severity]},
        "properties": {"security-severity": SCORES[severity], "precision": "high", "tags": ["security", "model-file"]},
    }


def _artifact(report: Report) -> Json:
    target = report.target
    return {
        "location": {"uri": _uri(target.path)},
        "length": target.size,
        "hashes": {"sha-256": target.sha256},
        "description": {"text": _text(target.format) or "unknown format"},
    }


def _invocation(report: Report, dropped: int) -> Json:
    notes = [f"{gap.technique}: {gap.reason}. {gap.detail}" for gap in report.not_checked if not gap.complete]
    if dropped:
        notes.append(f"{dropped} results of lesser severity are in report.json only")
    return {
        "executionSuccessful": report.verdict.complete,
        "endTimeUtc": report.made_at.removesuffix("+00:00").removesuffix("Z") + "Z",
        "toolExecutionNotifications": [{"level": "warning", "message": {"text": _text(note)}} for note in notes],
    }


def _uri(path: str) -> str:
    """A relative reference for what lies below the working folder, as GitHub needs it; reserved characters escaped."""
    if os.path.isabs(path) and Path(path).is_relative_to(Path.cwd()):
        path = str(Path(path).relative_to(Path.cwd()))
    scheme = "file://" if os.path.isabs(path) else ""
    return scheme + quote(path.encode("utf-8", "backslashreplace"), safe="/")


def _text(text: str) -> str:
    return printable(text, MOST_TEXT, lines=True)
