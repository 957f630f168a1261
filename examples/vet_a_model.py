"""Scan a model file from Python, and stop a release pipeline when the verdict says so.

python examples/vet_a_model.py model.pkl
"""

import sys
from pathlib import Path

import genvet
from genvet.core.severity import Severity


def main(path: str) -> int:
    report = genvet.scan(path, out=Path("vetted"), depth="quick")
    print(report.verdict.severity, "-", report.verdict.loading)
    for finding in report.findings:
        print(f"  {finding.severity:8} {finding.technique}: {finding.summary}")
    return 1 if report.verdict.severity >= Severity.HIGH or not report.verdict.complete else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
