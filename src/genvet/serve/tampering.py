"""Whether the audit log is as it was written; where it is not, which row is the first, and what was done there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from sqlalchemy import Engine

from genvet.core.printable import printable
from genvet.serve.ledger import BEGUN, Chain, Row, rows_after
from genvet.serve.store import READING
from genvet.serve.witness import START, Head, Tampered, Witness

Done = Literal["altered", "inserted", "removed", "reordered", "truncated", "forked", "head"]
"""What was done to a log: `forked` is a chain that is sound, but is not the one that the head saw."""
NEAR = 48
"""Rows after the first bad one that are looked at to tell what was done."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a look at the whole log came to."""

    rows: int
    """That are sound, from the first on."""
    end: Head
    """The last of them: noted down elsewhere, it is a head that nobody here can take back."""
    seen: int
    """Rows that heads have witnessed; those beyond are sound too, but their removal would not show."""
    begun: tuple[int, ...] = ()
    """Rows that tell of a head that was begun: after the first, a machine joined, or a head was gone."""
    done: Done | None = None
    first: int | None = None
    """The first row that is not as it was written; the first missing one, where rows are."""
    said: str = ""

    @property
    def sound(self) -> bool:
        return self.done is None

    @property
    def lag(self) -> int:
        """Sound rows that no head has witnessed: what a crash between a commit and the head leaves."""
        return max(0, self.rows - self.seen) if self.sound else 0

    def __str__(self) -> str:
        """In words."""
        if not self.sound:
            return f"Tampered with: {self.done}, first at row {self.first}. {self.said}."
        lag = f" {self.lag} rows were written and not yet witnessed." * bool(self.lag)
        again = ", ".join(map(str, self.begun[1:]))
        joined = f" Heads were begun again at {again}: machines that joined, or heads that were gone." * bool(again)
        return f"Sound: {self.rows} rows, each as it was written.{lag}{joined}"


def verify(engine: Engine, key: bytes, head: Path, also: Sequence[Head] = ()) -> Verdict:
    """Read all rows by their numbers; `also` are heads of other machines, or ends that were noted down elsewhere.

    Raises BadInput for another key, and Tampered where there is no head to hold the log against.
    """
    chain, witness = Chain(key), Witness(head, key)
    heads = [*_heads(witness), *also]
    wanted: dict[int, set[bytes]] = {0: {START.mac}}
    for known in heads:
        wanted.setdefault(known.count, set()).add(known.mac)
    seen, end, begun = max(wanted), START, list[int]()

    def told(done: Done | None, first: int | None, said: str) -> Verdict:
        return Verdict(rows=end.count, end=end, seen=seen, begun=tuple(begun), done=done, first=first, said=said)

    with engine.connect().execution_options(**{READING: True}) as connection:
        rows = rows_after(connection, None)
        for row in rows:
            number = end.count + 1
            if row.id != number or not chain.fits(end.mac, number, row):
                near = [row, *islice(rows, NEAR)]
                return told(*_explained(chain, end, near, wanted))
            if wanted.get(number, {row.mac}) != {row.mac}:
                return told("forked", number, f"row {number} chains, but is not the one that a head saw")
            end = Head(number, row.mac)
            begun += [number] if row.kind == BEGUN else []
    if len(heads) == len(also):
        return told("head", end.count, f"no slot of {printable(head)} is one that this key sealed")
    if end.count < seen:
        first, missing = end.count + 1, seen - end.count
        return told("truncated", first, f"{missing} rows that a head saw are missing at the end, from row {first} on")
    return told(None, None, "")


def _heads(witness: Witness) -> list[Head]:
    """The head of this machine; none where it was tampered with, which is told after the rows are."""
    if not witness.there:
        return [witness.read()]  # raises, and says why
    try:
        return [witness.read()]
    except Tampered:
        return []


def _explained(chain: Chain, end: Head, near: Sequence[Row], heads: Mapping[int, set[bytes]]) -> tuple[Done, int, str]:
    """What was done at the first of these rows, which does not follow on `end`: all that the codes can tell.

    A row that fits somewhere else was moved; one that fits nowhere, while the next one follows on it, was altered.
    """
    number, row, seen = end.count + 1, near[0], max(heads)
    shown_later = any(row.mac in macs for count, macs in heads.items() if count > number)
    fitting = [i for i, other in enumerate(near) if chain.fits(end.mac, number, other)]
    true = next((i for i in fitting if near[i].id == number), fitting[0] if fitting else None)
    if true == 0:
        return "altered", number, f"row {number} has the number {row.id}"
    if true is not None:
        if any(chain.fits(before.mac, n, row) for before in near[1:] for n in range(number + 1, number + NEAR)):
            return "reordered", number, f"row {row.id} stands in the place of row {number}"
        return "inserted", number, f"{true} row{'s' * (true > 1)} before what was row {number}"
    if row.id > number and (row.id <= seen or _continues(chain, near) is not None):
        return "removed", number, f"rows {number} to {row.id - 1} are missing"
    later = _continues(chain, near)
    if later:
        gone = f"{later} row{'s' * (later > 1)}"
        return "removed", number, f"{gone} missing from row {number} on; the rest was renumbered"
    if later is None and number > seen:
        return "inserted", number, f"row {number}, beyond all that a head saw, was not written with this key"
    if later is None and shown_later:
        return "removed", number, f"row {number} and others are missing; the rest was renumbered"
    return "altered", number, f"row {number} is not as it was written"


def _continues(chain: Chain, near: Sequence[Row]) -> int | None:
    """By how much the second row's number lies beyond its place, where it follows on the first; None where not."""
    if len(near) < 2:
        return None
    first, second = near[:2]
    return next((d for d in range(NEAR) if chain.fits(first.mac, first.id + 1 + d, second)), None)
