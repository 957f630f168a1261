"""TorchScript archives, as data: tensors from the pickles, the code listed and judged, nothing run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from genvet.files import torch_files
from genvet.files.reading import Reading


def matches(members: Mapping[str, memoryview]) -> bool:
    """A torch zip with code beside its data."""
    return "constants.pkl" in members or any(name.startswith("code/") for name in members)


def read_zip(members: Mapping[str, memoryview], reading: Reading, place: str, nesting: int) -> set[str]:
    """Parts of kind "torchscript", and every code file as a source; gives the members that it took."""
    before = len(reading.parts)
    taken = torch_files.read_zip(members, reading, place, nesting)
    reading.parts[before:] = [replace(part, kind="torchscript") for part in reading.parts[before:]]
    return taken
