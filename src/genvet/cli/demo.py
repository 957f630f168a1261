"""`genvet demo`: the whole tool in three minutes."""

from __future__ import annotations

from pathlib import Path

from genvet.cli.options import DEBUGGING, Debugging


def demo(*, out: Path = Path("genvet-demo"), seed: int = 0, debugging: Debugging = DEBUGGING) -> int:
    """Train a small generator, plant a backdoor in a copy, and scan both, and a stranger's file too.

    Parameters
    ----------
    out: Path
        Folder for the three models and their reports.
    seed: int
        Everything drawn at random follows from it.
    """
    from genvet.core.errors import Unsupported

    raise Unsupported("the demo is not here yet")
