"""The output folder: pictures by a counter, finished findings by their key, and the report."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from genvet.core.errors import BadInput
from genvet.core.report import Figure, Finding, Report
from genvet.core.technique import Picture
from genvet.files.writing import write_bytes


class Shelf:
    """Where one run keeps its files. Without a folder it keeps nothing."""

    def __init__(self, out: Path | None, rate: int = 16_000) -> None:
        self.out, self.rate = out, rate
        if out:
            ready(out)

    def figure(self, picture: Picture) -> Figure:
        """Write a picture under the next free number, or a sound as WAV."""
        sound = picture.x.ndim == 3
        data = {"captions": list(picture.captions)} if picture.captions else {}
        figure = Figure(kind="sound" if sound else "grid", title=picture.title, caption=picture.caption, data=data)
        if not self.out or not len(picture.x):
            return figure
        folder = self.out / "figures"
        folder.mkdir(exist_ok=True)
        number = 1 + max((int(p.stem) for p in folder.iterdir() if p.stem.isdecimal()), default=0)
        path = folder / f"{number:04d}.{'wav' if sound else 'png'}"
        _draw(picture, path, self.rate)
        return figure.model_copy(update={"file": path.relative_to(self.out).as_posix()})

    def recall(self, key: str) -> Finding | None:
        """The finding that an earlier run kept under this key, where its pictures are still there."""
        if not self.out:
            return None
        try:
            finding = Finding.model_validate_json((self.out / "findings" / f"{key}.json").read_bytes())
        except (OSError, ValidationError):
            return None
        return finding if all((self.out / f.file).is_file() for f in finding.figures if f.file) else None

    def keep(self, key: str, finding: Finding) -> None:
        if self.out:
            write_bytes(self.out / "findings" / f"{key}.json", finding.model_dump_json(indent=1).encode())


def write(report: Report, out: Path) -> Path:
    """Write report.json, replacing an older one in one step."""
    ready(out)
    return write_bytes(out / "report.json", (report.model_dump_json(indent=1) + "\n").encode())


def key(*parts: Any) -> str:
    """A short name for what a finding depends on; JSON values only.

    >>> key("a", 1) == key("a", 1) != key("a", 2)
    True
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def ready(out: Path) -> None:
    """Make the output folder; raises BadInput where nothing can be written: before the work, not after it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        writable = os.access(out, os.W_OK)
    except OSError as error:
        raise BadInput(
            f"cannot make the output folder {out}", got=str(error), hint="choose another with --out"
        ) from None
    if not writable:
        raise BadInput(f"cannot write to the output folder {out}", hint="choose another with --out")


def _draw(picture: Picture, path: Path, rate: int) -> None:
    """A grid of images as PNG, or up to 16 sounds one after the other as WAV, of so many samples a second."""
    if picture.x.ndim == 4:
        from genvet.files.images import write_grid

        write_grid(picture.x, path, picture.columns, picture.captions)
    else:
        from torch.nn.functional import pad

        from genvet.files.sounds import write_wav

        write_wav(pad(picture.x[:16, 0].detach().float().cpu(), (0, rate // 10)), path, rate)
