"""How bad a finding is."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Severity(StrEnum):
    """Five rungs, from a plain fact to code that would run. They compare by rank.

    >>> Severity.HIGH > Severity.LOW
    True
    """

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)

    def __lt__(self, other: str) -> bool:
        return self.rank < Severity(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Severity(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Severity(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= Severity(other).rank


def worst(severities: Iterable[Severity]) -> Severity:
    """The highest of them; `info` where there are none."""
    return max(severities, key=lambda s: s.rank, default=Severity.INFO)
