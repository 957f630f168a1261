"""What the readers fill in while they walk through a file, and the limits that they must keep.

Runs in the child process: standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from genvet.core.modelfile import Call, Evidence, Part, Source
from genvet.core.printable import printable
from genvet.core.rules import RULES

MIB = 1 << 20


class Stop(Exception):
    """This stretch of the file cannot be read further; says which rule it broke and where."""

    def __init__(self, rule: str, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.rule, self.message, self.offset = rule, message, offset


@dataclass
class Limits:
    """Caps that no honest model file comes near. Bytes unless said otherwise."""

    unpacked: int = 64 * MIB
    """All bytes that come out of decompression and nested streams together; set from the file's size."""
    nesting: int = 8
    """Archives and pickles inside one another."""
    members: int = 100_000
    """Entries of one archive, tensors of one file."""
    text: int = 64 * MIB
    """One header, source text or string."""
    evidence: int = 1000
    """Facts of one rule that are kept; later ones are counted only."""

    @classmethod
    def for_file(cls, size: int) -> Limits:
        """Unpacking may give at most 64 MiB, or 20 times the file: beyond that it is a bomb."""
        return cls(unpacked=max(64 * MIB, 20 * size))


@dataclass
class Reading:
    """Everything found so far. Readers add to it and never raise anything but Stop."""

    limits: Limits = field(default_factory=Limits)
    format: str = ""
    evidence: list[Evidence] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    storages: list[memoryview] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    """By rule, how many facts beyond limits.evidence were only counted."""
    listed: set[tuple[str, str, bool]] = field(default_factory=set)
    """Expected globals that `calls` has already, as (module, name, called): one entry for each is enough."""
    innermost: str = ""
    """The place of the last name in `format`: the chain follows one path into nested files."""
    known: set[bytes] = field(default_factory=set)
    """Hashes of the nested archives that were read: trees of equal ones are read once."""
    _unpacked: int = 0
    _count: dict[str, int] = field(default_factory=dict)

    def note(
        self,
        rule: str,
        message: str,
        *,
        place: str = "",
        offset: int | None = None,
        length: int | None = None,
        line: int | None = None,
        detail: str = "",
    ) -> None:
        """Add a fact. Texts may come raw from the file: they are made printable here."""
        assert rule in RULES, rule
        self._count[rule] = self._count.get(rule, 0) + 1
        if self._count[rule] > self.limits.evidence:
            self.dropped[rule] = self.dropped.get(rule, 0) + 1
            return
        self.evidence.append(
            Evidence(
                rule=rule,
                message=printable(message),
                place=printable(place, 200),
                offset=offset,
                length=length,
                line=line,
                detail=printable(detail, 1000, lines=True),
            )
        )

    def unpack(self, n: int, offset: int | None = None) -> None:
        """Charge `n` bytes to the budget, before they are made; raises Stop when it is spent."""
        self._unpacked += n
        if self._unpacked > self.limits.unpacked:
            raise Stop("archive.bomb", f"unpacking gives more than {self.limits.unpacked} bytes", offset)

    @property
    def unpacked(self) -> int:
        return self._unpacked

    def keep(self, data: memoryview | bytes) -> int:
        """Keep the bytes of a storage; gives its index for TensorSpec.storage."""
        self.storages.append(memoryview(data))
        return len(self.storages) - 1
