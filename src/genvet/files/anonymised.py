"""An anonymised data set out: into a new folder that is there whole or not at all, with a log of every file.

What is done is kept in a folder beside it until all is done: the same command goes on where it was interrupted.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from genvet.core.dataset import Dataset, Sheet
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.core.progress import track
from genvet.files.pictures import png
from genvet.files.pseudonyms import Pseudonyms
from genvet.files.writing import write_bytes

LOG = "anonymised.jsonl"
LONGEST = 200
"""Bytes of a name."""


@dataclass(frozen=True, eq=False)
class Made:
    """One picture after it was changed."""

    picture: Tensor | None
    """(c, h, w) in [-1, 1]; None where it is left out."""
    steps: tuple[str, ...]
    """What was done to it, in words."""


def new_names(dataset: Dataset, names: Pseudonyms | None) -> list[str]:
    """What each picture is called afterwards: a PNG, inside the new folder whatever its old name says, no two alike."""
    ways = [_way(dataset, i) for i in range(len(dataset))]
    if names:
        # By the whole name, so that a.jpg and a.png stay apart.
        new = ["/".join([*map(names.of, p.parent.parts), f"{names.of(p.name)}.png"]) for p in map(PurePosixPath, ways)]
    else:
        plain = [str(PurePosixPath(way).with_suffix(".png")) for way in ways]
        often = Counter(name.lower() for name in plain)
        new = [name if often[name.lower()] == 1 else f"{way}.png" for name, way in zip(plain, ways, strict=True)]
    seen: set[str] = set()
    for i, name in enumerate(new):
        if name.lower() in seen:
            new[i] = f"{name.removesuffix('.png')}-{i}.png"
        seen.add(new[i].lower())
    return new


def _way(dataset: Dataset, i: int) -> str:
    """Its path, with nothing in it that leads elsewhere; a picture of an array gets one by its label and number."""
    item = dataset.items[i]
    if item.format == "array":
        label = dataset.classes[int(dataset.labels[i])] if dataset.labels is not None else ""
        return inside(f"{label}/{i:07}.png")
    return inside(item.name)


def inside(name: str) -> str:
    """A path below any folder: without roots and ways up, and no part longer than file systems take.

    >>> inside("/../a/./b:c/x.png")
    'a/b_c/x.png'
    """
    parts = [part.replace(":", "_") for part in name.replace("\\", "_").split("/") if part not in ("", ".", "..")]
    return "/".join(part if len(part.encode()) <= LONGEST else _cut(part) for part in parts) or "picture"


def _cut(part: str) -> str:
    digest, suffix = hashlib.sha256(part.encode()).hexdigest()[:16], PurePosixPath(part).suffix[:8]
    return f"{part.encode()[:150].decode('utf-8', 'ignore')}-{digest}{suffix}"


class Writer:
    """Writes into a hidden folder beside the new one, which then takes its name in one step."""

    def __init__(self, into: Path, log: Path, about: Mapping[str, Any]) -> None:
        """`about` is all that the outcome follows from: a run that was begun otherwise is not gone on with."""
        if into.exists() and (not into.is_dir() or any(into.iterdir())):
            raise BadInput(f"{printable(into)} is there already", expected="a new folder", hint="choose another --into")
        self.into, self.log = into, log
        self.partial = into.parent / f".{into.name}.partial"
        self.about = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
        self.done = self._begun()

    def _begun(self) -> dict[str, dict[str, Any]]:
        """What an interrupted run has done, by the file's name; a torn last line counts as not done."""
        if not self.partial.is_dir() or not self.log.is_file():
            shutil.rmtree(self.partial, ignore_errors=True)
            self.log.unlink(missing_ok=True)
            return {}
        found = {}
        for line in self.log.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
                if entry["run"] == self.about:
                    found[entry["file"]] = entry
            except (ValueError, KeyError, TypeError):
                continue
        # Written anew without torn lines and other runs' ones.
        write_bytes(self.log, "".join(_line(entry) for entry in found.values()).encode())
        return found

    def put(self, name: str, before: str, after: str, data: Callable[[], tuple[bytes | None, Sequence[str]]]) -> None:
        """One file, unless an interrupted run has written it: its name, its hash, its new name, and its new bytes."""
        kept = self.done.get(name)
        if kept and kept["before"] == before and kept["after"] in ("", self._hash(after)):
            return
        made, steps = data()
        entry = {"run": self.about, "file": name, "before": before, "to": after if made is not None else ""}
        if made is not None:
            write_bytes(self.partial / after, made)
        entry |= {"after": hashlib.sha256(made).hexdigest() if made is not None else "", "steps": list(steps)}
        self._append(_line(entry))

    def _hash(self, name: str) -> str:
        try:
            return hashlib.sha256((self.partial / name).read_bytes()).hexdigest()
        except OSError:
            return "not there"

    def _append(self, line: str) -> None:
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise BadInput(f"cannot write {printable(self.log)}: {printable(error.strerror or error)}") from None

    def finish(self, wanted: Sequence[str]) -> Path:
        """Give the folder its name, with these files and no others in it."""
        keep = {str(PurePosixPath(name)) for name in wanted}
        try:
            self.partial.mkdir(parents=True, exist_ok=True)
            for folder, _, files in os.walk(self.partial):
                for file in files:
                    path = Path(folder) / file
                    if path.relative_to(self.partial).as_posix() not in keep:
                        path.unlink()
            if self.into.exists():
                self.into.rmdir()
            self.partial.rename(self.into)
        except OSError as error:
            raise BadInput(f"cannot write {printable(self.into)}: {printable(error.strerror or error)}") from None
        return self.into


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, sort_keys=True) + "\n"


def write_pictures(
    dataset: Dataset, writer: Writer, names: Pseudonyms | None, made: Callable[[int], Made]
) -> dict[str, str]:
    """Every picture, as `made` gives it; gives the new name of each that is kept, by its old one."""
    new, kept = new_names(dataset, names), {}
    for i in track(range(len(dataset)), len(dataset), "anonymising"):
        item = dataset.items[i]

        def data(i: int = i) -> tuple[bytes | None, Sequence[str]]:
            after = made(i)
            return (None if after.picture is None else png(after.picture)), after.steps

        writer.put(item.name, item.sha256, new[i], data)
        if (writer.partial / new[i]).is_file():
            kept[item.name] = new[i]
    return kept


def write_sheet(sheet: Sheet, writer: Writer, name: str, before: Sheet, steps: Sequence[str]) -> str:
    """A table as CSV; gives its new name."""
    out = io.StringIO(newline="")
    rows = csv.writer(out)
    rows.writerow(sheet.columns)
    rows.writerows(sheet.rows)
    digest = hashlib.sha256(repr((before.columns, before.rows)).encode()).hexdigest()
    writer.put(before.name, digest, name, lambda: (out.getvalue().encode(), steps))
    return name
