"""The public surface and the report's schema: other people's scripts depend on them."""

import json
import subprocess
import sys
from pathlib import Path

import genvet
from genvet.core.report import Report
from genvet.core.rules import RULES
from genvet.core.severity import Severity

GOLDEN = Path(__file__).parent / "golden"


def test_public_names() -> None:
    assert genvet.__all__ == [
        "Finding", "Generator", "Latent", "ModelFile", "Report", "StyleGenerator",
        "__version__", "assess", "load", "scan", "techniques",
    ]  # fmt: skip
    for name in genvet.__all__:
        assert getattr(genvet, name) is not None


def test_report_schema_is_pinned() -> None:
    """A change here breaks readers of report.json: raise schema_version and write a migration note."""
    assert Report.model_json_schema() == json.loads((GOLDEN / "report.schema.json").read_text())


def test_rule_ids_are_pinned() -> None:
    """SARIF keeps alerts by these ids: add rows, never rename or drop one."""
    pinned = dict(line.split() for line in (GOLDEN / "rules.txt").read_text().splitlines())
    assert {rule.id: str(rule.severity) for rule in RULES.values()} == pinned


def test_severities_compare_by_rank() -> None:
    assert sorted(Severity, reverse=True)[0] is Severity.CRITICAL
    assert Severity.LOW < "medium" <= Severity.MEDIUM


def test_light_imports() -> None:
    """Reading, listing and reporting must not wait for torch."""
    code = (
        "import genvet, genvet.core.errors, genvet.core.report, genvet.core.modelfile, genvet.files, sys;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
