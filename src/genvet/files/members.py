"""The data files in a folder or a zip, in a fixed order, each read only when asked for."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genvet.core.errors import BadInput
from genvet.core.printable import printable

MIB = 1 << 20
LARGEST_MEMBER = 256 * MIB
"""Bytes that one picture or sound may have, packed or unpacked."""
MOST_MEMBERS = 2_000_000


@dataclass(frozen=True)
class Member:
    """One file of a folder or a zip: its printable name, and how to get its bytes."""

    name: str
    read: Callable[[], bytes]


def split_slice(path: str | Path) -> tuple[Path, slice]:
    """`path#a:b` as a path and a slice; a file whose own name looks like that wins.

    Raises BadInput where the path is there, and what follows it is no slice.

    >>> split_slice("faces.npz#10:20")
    (PosixPath('faces.npz'), slice(10, 20, None))
    """
    name, mark, wanted = str(path).rpartition("#")
    if not mark or Path(path).exists():
        return Path(path), slice(None)
    bounds = re.fullmatch(r"(\d*):(\d*)", wanted)
    start, stop = (int(n) if n else None for n in bounds.groups()) if bounds else (0, 0)
    if stop is None or (start or 0) < stop:
        return Path(name), slice(start, stop)
    if not Path(name).exists():
        return Path(path), slice(None)
    expected = "START:STOP with START below STOP, such as #0:10, #10:20 or #20:"
    raise BadInput(f"{printable(name)} cannot be cut so", expected=expected, got=printable(f"#{wanted}"))


def sliced(found: Any, part: slice, path: Path) -> Any:
    """The slice of what was found; raises BadInput where there is something, and the slice has none of it."""
    chosen = found[part]
    if len(found) and not len(chosen):
        got, expected = f"#{part.start}:{part.stop or ''}", f"a START below {len(found)}"
        raise BadInput(f"the slice has none of the {len(found)} in {printable(path)}", expected=expected, got=got)
    return chosen


def existing(path: Path) -> Path:
    """The path, where there is something; raises BadInput otherwise."""
    if not path.exists():
        raise BadInput(f"there is no {printable(path)}", hint="check the path")
    if path.is_file() and path.stat().st_size == 0:
        raise BadInput(f"{printable(path)} is empty")
    return path


def in_folder(path: Path, suffixes: Sequence[str]) -> list[Member]:
    """The files with these suffixes below a folder, by name."""
    found = sorted(f for f in path.rglob("*") if f.suffix.lower() in suffixes and f.is_file() and _shown(f.name))
    return [Member(printable(f.relative_to(path)), _reader(f)) for f in found]


def in_zip(path: Path, suffixes: Sequence[str]) -> list[Member]:
    """The entries with these suffixes, by name. Names only sort: nothing is ever unpacked to a disk."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise BadInput(f"{printable(path)} is no readable zip: {printable(error)}") from None
    entries = archive.infolist()
    if len(entries) > MOST_MEMBERS:
        raise BadInput(f"{printable(path)} has too many entries", expected=f"at most {MOST_MEMBERS}")
    named = [
        e for e in entries if Path(e.filename).suffix.lower() in suffixes and not e.is_dir() and _shown(e.filename)
    ]
    named.sort(key=lambda e: e.filename)
    return [Member(printable(e.filename), lambda e=e: _entry(archive, e)) for e in named]  # type: ignore[misc]


def _shown(name: str) -> bool:
    return not name.startswith("__MACOSX") and not Path(name).name.startswith(".")


def _reader(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            if path.stat().st_size > LARGEST_MEMBER:
                raise BadInput(f"{printable(path.name)} is too large", expected=f"at most {LARGEST_MEMBER} bytes")
            return path.read_bytes()
        except OSError as error:
            raise BadInput(f"cannot read {printable(path)}: {printable(error.strerror)}") from None

    return read


def single(path: Path) -> Member:
    """One file on its own."""
    return Member(printable(path.name), _reader(path))


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The bytes of one entry; what it declares is checked first, and zipfile gives no byte more than that."""
    if entry.file_size > LARGEST_MEMBER:
        raise BadInput(f"entry {printable(entry.filename)} is too large", expected=f"at most {LARGEST_MEMBER} bytes")
    try:
        return archive.read(entry)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        raise BadInput(f"entry {printable(entry.filename)} cannot be read: {printable(error)}") from None
