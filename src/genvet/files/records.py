"""Records in: a JSON file of ours, or of anybody's, as a checked record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.core.report import Record

Kind = TypeVar("Kind", bound=Record)


def read_record(kind: type[Kind], path: Path, name: str, largest: int, hint: str = "") -> Kind:
    """The record in a file of at most `largest` bytes; raises BadInput, which says what it is not, where it is none."""
    try:
        size = path.stat().st_size
        text = path.read_bytes() if size <= largest else b""
    except OSError as error:
        raise BadInput(f"cannot read {printable(path)}", got=error.strerror or str(error), hint=hint) from None
    if size > largest:
        raise BadInput(f"{printable(path)} is too large for {name}", expected=f"{largest >> 20} MiB at most")
    try:
        return kind.model_validate(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{printable(path)} is not {name}", got=printable(_why(error), 300), hint=hint) from None


def _why(error: Exception) -> str:
    """The first thing that does not fit, by its place in the file."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}"
