"""A folder of models, file by file: what cannot be read does not stop the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genvet.core.errors import BadInput, GenVetError
from genvet.core.printable import printable
from genvet.core.report import Report
from genvet.engine.scanning import scan


@dataclass(frozen=True)
class Scanned:
    """What became of one file of a folder: a report, or the reason why there is none."""

    path: Path
    out: Path | None
    report: Report | None = None
    error: GenVetError | None = None


def scan_folder(path: Path | str, *, out: Path | None = None, **options: Any) -> Iterator[Scanned]:
    """Scan every file below a folder, one after the other; what cannot be read does not stop the rest."""
    own = out.resolve() if out else None
    files = sorted(p for p in Path(path).rglob("*") if p.is_file() and not (own and p.absolute().is_relative_to(own)))
    if not files:
        raise BadInput(f"the folder {path} holds no files", hint="name a model file, or a folder that holds some")
    for number, file in enumerate(files, 1):
        own = out / f"{number:03d}" if out else None
        try:
            if file.is_symlink():
                raise BadInput(f"{printable(file)} is a link, and was not followed", hint="name what it points to")
            report = scan(file, out=own, **options)
        except GenVetError as error:
            yield Scanned(file, own, error=error)
        except Exception as error:  # a fault of ours on one file: told, and the others go on
            yield Scanned(file, own, error=GenVetError(f"{type(error).__name__}: {printable(error)}"))
        else:
            yield Scanned(file, own, report=report)
            if report.interrupted:
                return
