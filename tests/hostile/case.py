"""One file for the exploit tests: what it holds, what must be said about it, and where the trick is known from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A model file made on the spot. Its payload, if it ever ran, would write the marker file."""

    name: str
    data: bytes
    rules: frozenset[str]
    """Rules that must all be in the evidence; empty for a clean file."""
    advisory: str = ""
    """Where the trick is documented."""


def case(name: str, data: bytes, *rules: str, advisory: str = "") -> Case:
    return Case(name, data, frozenset(rules), advisory)
