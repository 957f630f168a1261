"""Thresholds in: the table that comes with GenVet, or a user's own."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from genvet.core.calibration import Thresholds
from genvet.core.errors import BadInput
from genvet.core.printable import printable

PACKAGED = Path(__file__).parent.parent / "thresholds.json"
LARGEST = 4 << 20


def read_thresholds(path: str | Path) -> Thresholds:
    """The table of a file that `genvet zoo score --write` wrote; raises BadInput for any other file."""
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise BadInput(f"{printable(path)} is too large for a table of thresholds")
        return Thresholds.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise BadInput(f"cannot read {printable(path)}", got=error.strerror or str(error)) from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadInput):
            raise
        hint = "`genvet zoo score FOLDER --write FILE` makes one"
        raise BadInput(
            f"{printable(path)} is no table of thresholds", got=printable(_why(error), 300), hint=hint
        ) from None


def _why(error: Exception) -> str:
    """The first thing that does not fit, by its place in the file."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}"


@lru_cache(maxsize=1)
def packaged() -> Thresholds:
    """The table that comes with GenVet."""
    return read_thresholds(PACKAGED)
