"""Thresholds in: the table that comes with GenVet, or a user's own."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from genvet.core.calibration import Thresholds
from genvet.files.records import read_record

PACKAGED = Path(__file__).parent.parent / "thresholds.json"
LARGEST = 4 << 20
HINT = "`genvet zoo score FOLDER --write FILE` makes one"


def read_thresholds(path: str | Path) -> Thresholds:
    """The table of a file that `genvet zoo score --write` wrote; raises BadInput for any other file."""
    return read_record(Thresholds, Path(path), "a table of thresholds", LARGEST, HINT)


@lru_cache(maxsize=1)
def packaged() -> Thresholds:
    """The table that comes with GenVet."""
    return read_thresholds(PACKAGED)
