"""`genvet lint`: what breaks a private training in a script, or in the Python of a Markdown page."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path
from typing import Annotated

from genvet.cli import screen
from genvet.cli.options import DEBUGGING, Debugging, Flag
from genvet.core.errors import BadInput
from genvet.core.printable import printable

MOST = 4 << 20
"""Bytes of a script: more of it is data."""


def lint(script: Path, /, *, json: Annotated[bool, Flag] = False, debugging: Debugging = DEBUGGING) -> int:
    """Name what breaks a private training in a script; the script is parsed, never run. Exits 1 where anything does.

    A critic's own parts: genvet study sensitivity MODEL --critic critic.safetensors.

    Parameters
    ----------
    script: Path
        Python, or Markdown with Python in it.
    json: bool
        Print what was found as JSON.
    """
    from genvet.training.source_linter import lint_source

    if script.stat().st_size > MOST:
        raise BadInput(f"{printable(script)} is no script", expected=f"{MOST >> 20} MiB at most")
    try:
        found = lint_source(script.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise BadInput(f"{printable(script)} is no script", expected="text in UTF-8") from None
    if json:
        rows = [{"rule": b.rule, "where": b.where, "why": b.why} for b in found]
        sys.stdout.write(jsonlib.dumps(rows, indent=1) + "\n")
    elif found:
        screen.table(("where", "rule", "why"), ([b.where, b.rule, b.why] for b in found))
    else:
        screen.note("nothing that is known to break a private training; what it computes was not run")
    return int(bool(found))
