"""The command line in this process, as a test calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genvet.cli import main


def run(*words: object) -> int:
    """The exit code of `genvet` with these words."""
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert isinstance(stop.value.code, int)
    return stop.value.code


def findings(folder: Path) -> list[dict[str, Any]]:
    """Those of the report in a folder."""
    return json.loads((folder / "report.json").read_text())["findings"]  # type: ignore[no-any-return]
