"""The command line: commands are the catalogue, flags are the fields."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command, and leave with its exit code."""
    from genvet.cli.app import run

    raise SystemExit(run(argv))
