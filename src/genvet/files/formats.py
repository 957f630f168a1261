"""Tells formats by content, never by name, and hands each stretch of bytes to its reader."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from types import ModuleType

from genvet.core.printable import printable
from genvet.files import keras_file, numpy_file, onnx_file, safetensors_file, signatures
from genvet.files.archives import compressed, sevenzip, tars, zip_models, zips
from genvet.files.pickles import objects, torch_files
from genvet.files.reading import Reading, Stop

# Told by their first bytes; where several match, loaders disagree.
_BY_START: tuple[tuple[str, ModuleType], ...] = (
    ("7z", sevenzip),
    ("compressed", compressed),
    ("npy", numpy_file),
    ("safetensors", safetensors_file),
    ("torch-legacy", torch_files),
    ("pickle", objects),
)

_CONTAINERS = {"zip", "tar", "7z", "compressed"}
_OVERHEAD = 1024
"""What each nested read is charged: a tree of empty archives unpacks to nothing, and goes on for hours."""

# What a zip or a stream turns out to be, once it is looked into.
_CLOSER = {("zip", kind) for kind in ("torch-zip", "torchscript", "keras", "npz")}
_CLOSER |= {("tar", "torch-tar")}
_CLOSER |= {("compressed", kind) for kind in ("gzip", "xz", "bzip2", "zlib", "lzma")}

_EXPLAINED_BY_A_CUT = {"tensor.bounds", "archive.unreadable", "archive.hidden"}


class NotAModel(Stop):
    """The content is of no format that can hold a model; the message says what it is instead."""

    def __init__(self, found: str) -> None:
        super().__init__("file.truncated", found)


def read_bytes(data: memoryview, reading: Reading, place: str = "", nesting: int = 0) -> None:
    """Read whatever this is into `reading`; raises NotAModel where it is no model at all."""
    try:
        _read(data, reading, place, nesting)
    except NotAModel:
        raise
    except Stop as stop:
        reading.note(stop.rule, stop.message, place=place, offset=stop.offset)
    except (MemoryError, RecursionError) as error:
        reading.note("pickle.limit", f"reading was stopped: {type(error).__name__}", place=place)
    if not nesting:
        _leave_out_what_a_cut_explains(reading, place)


def _leave_out_what_a_cut_explains(reading: Reading, place: str) -> None:
    """A file that ends too early lacks tensors and entries; that accuses nobody, and the report stays incomplete."""
    if any(e.rule == "file.truncated" and e.place == place for e in reading.evidence):
        reading.evidence[:] = [e for e in reading.evidence if e.rule not in _EXPLAINED_BY_A_CUT]


def _read(data: memoryview, reading: Reading, place: str, nesting: int) -> None:
    if nesting > reading.limits.nesting:
        raise Stop("archive.bomb", f"formats are nested more than {reading.limits.nesting} deep")
    if nesting:
        reading.unpack(_OVERHEAD)
    found = list(_formats(data))
    if not found:
        raise NotAModel(signatures.describe(data))
    if nesting and found[0][0] in _CONTAINERS:
        digest = hashlib.sha256(data).digest()
        if digest in reading.known:
            return
        reading.known.add(digest)
    if len(found) > 1:
        names = " and ".join(kind for kind, _ in found)
        reading.note("archive.hidden", f"the content is {names} at once: readers take different ones", place=place)
    for i, (kind, reader) in enumerate(found):
        if i == 0:
            name(reading, kind, place, nesting)
        _guarded(reader, data, reading, place, nesting)


def _guarded(reader: ModuleType, data: memoryview, reading: Reading, place: str, nesting: int) -> None:
    """One reader's failure must not keep the next from reading the same bytes."""
    try:
        reader.read(data, reading, place, nesting)
    except NotAModel:
        raise
    except Stop as stop:
        reading.note(stop.rule, stop.message, place=place, offset=stop.offset)


def _formats(data: memoryview) -> Iterable[tuple[str, ModuleType]]:
    """Every format that this content is: by its first bytes, and those that other readers find elsewhere in it."""
    elsewhere = [("zip", zip_models)] if zips.matches(data) else []
    elsewhere += [("tar", tars)] if tars.matches(data) else []
    elsewhere += [("hdf5", keras_file)] if keras_file.matches(data) else []
    # A pickle's opcodes can spell another format's first bytes: a tar's first name, a safetensors header's length.
    by_start = [(name, reader) for name, reader in _BY_START if reader.matches(data)]
    if elsewhere and bytes(data[:1]) != b"\x80" and _begins(elsewhere[0][1], data):
        return [*elsewhere, *by_start]
    if by_start:
        return [*by_start, *elsewhere]
    if not elsewhere and onnx_file.matches(data):
        return [("onnx", onnx_file)]
    return elsewhere


def _begins(reader: ModuleType, data: memoryview) -> bool:
    """Whether the format claims the first bytes as well, so that nothing else can begin there."""
    if reader is zip_models:
        return zips.begins(data)
    return reader is tars or keras_file.begins(data)


def name(reading: Reading, found: str, place: str, nesting: int) -> None:
    """Put this format into the chain at its depth, or a closer name for the same bytes.

    The chain follows the first path that leads on: its siblings are not in it.
    """
    chain = reading.format.split(" > ") if reading.format else []
    if len(chain) == nesting and f"{place}/".startswith(f"{reading.innermost}/" if reading.innermost else ""):
        reading.format, reading.innermost = " > ".join([*chain, found]), place
    elif len(chain) == nesting + 1 and place == reading.innermost and (chain[-1], found) in _CLOSER:
        reading.format = " > ".join([*chain[:-1], found])


def read_members(
    members: Iterable[tuple[str, memoryview]], reading: Reading, place: str, nesting: int, *, programs: bool = True
) -> None:
    """Read the members of an archive, whatever their names: what is a model, a pickle or a program is told."""
    before = len(reading.parts)
    owners: list[str] = []
    for name, content in members:
        where = within(place, name)
        if programs and (kind := signatures.program(content, name)):
            reading.note("archive.executable", f"the archive carries {kind}", place=where)
        elif len(content):
            with suppress(NotAModel):
                read_bytes(content, reading, where, nesting + 1)
            owners += [name] * (len(reading.parts) - before - len(owners))
    if len(set(owners)) > 1:
        # Several models in one archive: the members' names tell their parts apart.
        added = zip(owners, reading.parts[before:], strict=True)
        reading.parts[before:] = [replace(p, name=printable(within(o, p.name), 200).rstrip("/")) for o, p in added]


def within(place: str, name: str) -> str:
    """The place of a member: outer/inner."""
    return f"{place}/{name}" if place and name else place or name
