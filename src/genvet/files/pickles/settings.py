"""Settings in a file, as JSON values and printable texts, bounded in every direction. Standard library only."""

from __future__ import annotations

from typing import Any

from genvet.core.modelfile import TensorSpec
from genvet.core.printable import printable
from genvet.files.pickles.inert import Global, shown
from genvet.files.pickles.modules import mapping
from genvet.files.reading import Reading

_ENTRIES = 500
_KEPT = 200


def jsonable(value: Any, depth: int = 8) -> Any:
    """The value as JSON has it; what JSON has not comes as a text that says what it was."""
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= 64 else shown(value)
    if isinstance(value, str):
        return value[:2000]
    if isinstance(value, (list, tuple)) and depth:
        return [jsonable(v, depth - 1) for v in value[:_ENTRIES]]
    held = mapping(value)
    if held is not None and depth:
        return {k[:200]: jsonable(v, depth - 1) for k, v in list(held.items())[:_ENTRIES]}
    return value.name if isinstance(value, Global) else shown(value)


def note_metadata(reading: Reading, path: str, value: Any) -> None:
    """Keep a scalar beside the tensors, or the settings one level inside, for the report."""
    held = mapping(value)
    entries = {f"{path}.{k}" if path else k: v for k, v in held.items()} if held is not None else {path: value}
    for name, scalar in entries.items():
        if len(reading.metadata) >= _KEPT:
            return
        if scalar is None or (isinstance(scalar, (str, bool, int, float)) and not isinstance(scalar, TensorSpec)):
            reading.metadata.setdefault(printable(name, 100), printable(jsonable(scalar), 200))
