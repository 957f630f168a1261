"""What inspections say of every member of a population: the measures that thresholds can be set on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from genvet.catalogue import Entry, techniques
from genvet.core.calibration import Thresholds
from genvet.core.errors import BadInput, GenVetError, NoModel
from genvet.core.printable import printable
from genvet.core.progress import track
from genvet.core.report import Record, Report
from genvet.core.severity import Severity
from genvet.core.technique import Technique
from genvet.engine.scanning import scan, source_hash
from genvet.engine.shelf import key
from genvet.files.load import load
from genvet.files.writing import write_bytes
from genvet.nets.family import family
from genvet.zoo.building import MANIFEST, Made, manifest, models
from genvet.zoo.workers import spread

BY_RULE = ("static.graph",)
"""Inspections that judge by rules, besides that of the file: what they find needs no threshold."""
LARGEST_CELL = 1 << 20


class Row(Record):
    """One generator with its signals: a cell of the table, small enough to be committed."""

    name: Annotated[str, Field(max_length=300)]
    parent: Annotated[str, Field(max_length=300)]
    """Siblings share it; a stranger's model is its own."""
    kind: str = "clean"
    made: str = ""
    trigger: str = ""
    group: str = "main"
    worked: bool | None = None
    sha256: str = ""
    family: str = ""
    """Empty where no generator could be rebuilt."""
    shape: tuple[int, ...] = ()
    signals: dict[str, float | None]
    """technique/measure -> value; None where it was not measured."""
    alarms: tuple[str, ...] = ()
    """What rules found, from high on."""
    gaps: dict[str, str] = Field(default_factory=dict)
    """technique -> why it gave nothing."""
    standing: dict[str, str] = Field(default_factory=dict)
    """technique -> hash of the version and the settings that measured."""
    seconds: float = 0.0
    depth: str = "standard"
    seed: int = 0
    key: str = ""
    """Of everything that the numbers depend on."""


@dataclass(frozen=True)
class Look:
    """One generator to look at."""

    path: Path
    about: Row
    out: Path
    depth: str
    seed: int
    cells: Path | None


def rows(folder: Path, out: Path, depth: str, seed: int = 0, jobs: int = 1, cells: Path | None = None) -> list[Row]:
    """Every member of a population, every model of a plain folder, or every cell of a folder of cells, measured.

    Findings are kept in `out` by inspection, so that only changed inspections run again; cells are kept in `cells`.
    """
    if not (folder / MANIFEST).is_file() and (known := stored(folder)):
        if other := {row.depth for row in known} - {depth}:
            raise BadInput(
                "these cells are of another depth",
                expected=depth,
                got=", ".join(sorted(other)),
                hint="name it with --depth",
            )
        return known
    todo = [Look(path, about, out / "looks" / about.name, depth, seed, cells) for path, about in _targets(folder, out)]
    looked = track(spread(look, todo, jobs), len(todo), "models")
    return sorted((row for row in looked if row), key=lambda row: row.name)


def stored(folder: Path) -> list[Row]:
    """The cells of a folder that holds nothing else."""
    files = sorted(p for p in folder.iterdir() if p.is_file()) if folder.is_dir() else []
    if not files or any(p.suffix != ".json" for p in files):
        return []
    return [cell for p in files if (cell := _cell(p))]


def _targets(folder: Path, out: Path) -> list[tuple[Path, Row]]:
    """Model files, with what is known of them before anybody looks."""
    if (folder / MANIFEST).is_file():
        return [(path, _about(made)) for made, path in models(manifest(folder), folder)]
    own = out.resolve()
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    files = [p for p in files if not p.resolve().is_relative_to(own)]
    found = [
        (p, Row(name=_plain(p.relative_to(folder)), parent=_plain(p.relative_to(folder)), signals={})) for p in files
    ]
    if not found:
        raise BadInput(f"the folder {printable(folder)} holds no files", hint="name a population, or clean models")
    return found


def _plain(path: Path) -> str:
    """A name for a stranger's file that can be a folder's, and no other file's."""
    text = "".join(c if c.isalnum() or c in "._-" else "_" for c in path.as_posix())[-80:].lstrip(".")
    return f"{text}-{hashlib.sha256(path.as_posix().encode()).hexdigest()[:8]}"


def _about(made: Made) -> Row:
    member = made.member
    return Row(
        name=made.name,
        parent=member.parent.name,
        kind=member.kind,
        made=member.made,
        trigger=member.trigger,
        group=member.group,
        worked=made.worked,
        sha256=made.sha256,
        signals={},
    )


def look(job: Look) -> Row | None:
    """One model's row, from its cell where nothing has changed since; None for what is plainly no model."""
    digest = hashlib.sha256(job.path.read_bytes()).hexdigest()
    cell = job.cells / f"{job.about.name}.json" if job.cells else None
    old = _cell(cell) if cell else None
    if old and old.key == _key(digest, old.family, job):
        return old.model_copy(update=job.about.model_dump(include={"kind", "made", "trigger", "group", "worked"}))
    row = job.about.model_copy(update={"sha256": digest, "depth": job.depth, "seed": job.seed})
    try:
        row = row.model_copy(update=_measured(job))
    except NoModel:
        return None
    row = row.model_copy(update={"key": _key(digest, row.family, job)})
    if cell:
        text = json.dumps(row.model_dump(mode="json"), indent=1, sort_keys=True)
        write_bytes(cell, (text + "\n").encode())
    return row


@cache
def inspections() -> list[Entry]:
    """Those with signals, and those that judge by rules."""
    every = techniques("inspection").values()
    return [e for e in every if e.name in BY_RULE or (e.access != "ModelFile" and e.load().signals)]


def config(technique: type[Technique], depth: str) -> dict[str, Any] | None:
    """The settings that it has at a depth; None where it is left out."""
    knobs = technique.depths.get(depth, {})
    return None if knobs is None else technique(**knobs).model_dump(mode="json")


def standing(technique: type[Technique], depth: str) -> str:
    """A hash of its version and settings: measures of one hash can be compared."""
    return key(technique.name(), technique.version, config(technique, depth))


def _key(digest: str, family: str, job: Look) -> str:
    """Of all that a row's numbers depend on."""
    return key(digest, job.depth, job.seed, *(_depends(e, job.depth) for e in inspections() if counts(e, family)))


def counts(entry: Entry, family: str) -> bool:
    """Whether a row of this family depends on the inspection: those of style generators alone tell of no other."""
    return family == "style" or entry.access != "StyleGenerator"


def _depends(entry: Entry, depth: str) -> list[str]:
    """What an inspection's numbers depend on: its source, version and settings."""
    return [standing(entry.load(), depth), source_hash(entry.path)]


def _measured(job: Look) -> dict[str, Any]:
    """What a scan says; a file that no generator comes out of has gaps, and the alarms of its rules."""
    names = [entry.name for entry in inspections()]
    try:
        report = scan(
            job.path,
            out=job.out,
            depth=job.depth,
            seed=job.seed,
            device="cpu",
            only=names,
            thresholds=Thresholds(),
        )
    except NoModel:
        raise
    except GenVetError as error:
        return {"gaps": {"file": printable(error.message, 200)}, "signals": {}}
    if report.interrupted:
        raise KeyboardInterrupt
    found = next(iter(load(job.path).generators.values()), None)
    kind = {"family": family(found), "shape": tuple(found.shape)} if found else {}
    alarms = [f.reason for f in report.findings if f.severity >= Severity.HIGH]
    gaps = {n.technique: f"{n.reason}: {n.detail}"[:200] for n in report.not_checked if n.technique in names}
    seconds = round(sum(f.seconds for f in report.findings), 1)
    ways = {e.name: standing(e.load(), job.depth) for e in inspections()}
    told = {"alarms": tuple(alarms), "gaps": gaps, "seconds": seconds, "standing": ways}
    return {"signals": _signals(report), **told, **kind}


def _signals(report: Report) -> dict[str, float | None]:
    """The worst of the file's parts for each signal."""
    found: dict[str, float | None] = {}
    for entry in inspections():
        for measure in entry.load().signals:
            values = [
                m.value
                for f in report.findings
                if f.technique == entry.name
                for m in f.measures
                if m.name == measure and m.value is not None and math.isfinite(m.value)
            ]
            found[f"{entry.name}/{measure}"] = max(values, default=None)
    return found


def _cell(path: Path) -> Row | None:
    """A kept row; None where there is none, or it is not one."""
    try:
        return Row.model_validate_json(path.read_bytes()) if path.stat().st_size <= LARGEST_CELL else None
    except (OSError, ValidationError):
        return None


def meanings() -> Mapping[str, str]:
    """technique/measure -> what a high value means."""
    found = {f"{e.name}/{m}": why for e in inspections() for m, why in e.load().signals.items()}
    return dict(sorted(found.items()))
