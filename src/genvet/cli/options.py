"""Options that several commands share, written once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

Device = Literal["auto", "cpu", "cuda"]
Flag = Parameter(negative="")
"""An option that is there or not: no --no-... twin."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Debugging:
    """What every command takes."""

    config: Path | None = None
    """JSON or TOML file with options; the command line goes before it."""
    debug: Annotated[bool, Flag] = False
    """Show a traceback when something fails."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common(Debugging):
    """What every command takes that runs a network."""

    seed: int = 0
    """Everything drawn at random follows from it."""
    device: Device = "auto"
    """Where the network runs."""


DEBUGGING, COMMON = Debugging(), Common()


def output_folder(command: str, about: Path) -> Path:
    """Where a command writes unless told otherwise: ./genvet-<command>-<stem>."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", about.resolve().stem if about.suffix else about.resolve().name).strip(".")
    return Path(f"genvet-{command}-{stem or 'model'}")
