"""`genvet list`: what there is."""

from __future__ import annotations

import json as jsonlib
import sys
from typing import Annotated

from genvet.cli import screen
from genvet.cli.options import DEBUGGING, Debugging, Flag


def listing(
    kind: str | None = None, /, *, json: Annotated[bool, Flag] = False, debugging: Debugging = DEBUGGING
) -> int:
    """List the techniques: name, kind, what it looks at, what it does.

    Parameters
    ----------
    kind: str
        Only these: attack, inspection, defence, study or recipe.
    json: bool
        Print them as JSON.
    """
    from genvet.catalogue import techniques

    found = techniques(kind).values()
    if json:
        rows = [{"name": e.name, "kind": e.kind, "access": e.access, "summary": e.summary} for e in found]
        sys.stdout.write(jsonlib.dumps(rows, indent=1) + "\n")
    else:
        screen.table(
            ("name", "kind", "looks at", "what it does"), ([e.name, e.kind, e.access, e.summary] for e in found)
        )
    return 0
