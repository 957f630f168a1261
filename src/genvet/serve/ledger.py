"""The audit log: rows that are only ever added, each chained to the one before it by a code that needs the key.

Key and head lie outside the database, so that whoever can write to the database alone can forge no row, and remove none
that was acknowledged, without showing.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    insert,
    select,
    text,
)

from genvet.core.errors import BadInput, Unsupported
from genvet.serve.store import METADATA, READING
from genvet.serve.witness import SIZE, START, Head, Tampered, Witness

LEDGER = Table(
    "ledger",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", String(32), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("mac", LargeBinary(SIZE), nullable=False),
)
"""Numbered from 1 without gaps; `at` is UTC, `body` is JSON."""

BEGUN = "ledger.begun"
"""The kind of the row that tells where a head was begun: the first one, and one for each machine that joined."""
LARGEST = 64 << 10
"""Characters of a body."""
TOGETHER = 2000
"""Rows in one commit."""
PART = 1000
LOCK = int.from_bytes(b"genvet l") >> 1
"""Of PostgreSQL's advisory locks."""


@dataclass(frozen=True)
class Row:
    """One row as it lies in the database."""

    id: int
    at: str
    kind: str
    body: str
    mac: bytes

    @property
    def said(self) -> Any:
        """The body's content."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Entry:
    """What is to become a row."""

    at: str
    kind: str
    body: str


def entry(row: Mapping[str, Any]) -> Entry:
    """A row's `kind` and, of all the rest, its body; raises BadInput for what is no plain JSON."""
    kind, rest = row.get("kind"), {key: value for key, value in row.items() if key != "kind"}
    try:
        body = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput("a row of the audit log is no JSON", got=str(error)[:100]) from None
    if not isinstance(kind, str) or not 0 < len(kind) <= 64 or len(body) > LARGEST:
        got = f"kind {str(kind)[:64]!r}, {len(body)} characters"
        raise BadInput("this is no row", expected=f"a kind of 1 to 64 characters, a body of {LARGEST}", got=got)
    return Entry(datetime.now(UTC).isoformat(timespec="microseconds"), kind, body)


class Chain:
    """How rows are chained: code i = HMAC-SHA256(key, code i-1 | number, time, kind and body of row i)."""

    def __init__(self, key: bytes) -> None:
        if len(key) != SIZE:
            raise BadInput("this is no key of an audit log", expected=f"{SIZE} bytes", got=str(len(key)))
        self._key = key

    def mac(self, before: bytes, number: int, row: Row | Entry) -> bytes:
        """The code of row `number` after one with the code `before`."""
        told = json.dumps([number, row.at, row.kind, row.body], separators=(",", ":"))
        return hmac.digest(self._key, before + told.encode(), "sha256")

    def fits(self, before: bytes, number: int, row: Row) -> bool:
        """Whether this row is number `number`, after one with the code `before`."""
        return hmac.compare_digest(self.mac(before, number, row), row.mac)


class Ledger:
    """One worker's hand on the audit log; several workers and machines share one.

    Rows that come while a commit is on its way go into the next one together. What was acknowledged is committed and
    witnessed by the head. A log that is not as its head saw it raises Tampered, and is not written to any more.
    """

    def __init__(self, engine: Engine, key: bytes, head: Path) -> None:
        self.engine, self.key, self.chain, self.witness = engine, key, Chain(key), Witness(head, key)
        self._waiting: list[tuple[list[Entry], Future[None]]] = []
        self._changed, self._closed = threading.Condition(), False
        self._writer: threading.Thread | None = None
        _lasting(engine)
        if not self.witness.there:
            self.witness.begin(self._begin)

    def append(self, rows: Sequence[Mapping[str, Any]], connection: Connection | None = None) -> None:
        """Add rows, and come back when they are safe.

        With a connection they become part of its transaction, and are safe once that was committed and `settle` was
        called. It then holds the log's lock until its end: nobody else can append meanwhile.
        """
        if connection is None:
            self.submit(rows).result()
        else:
            self._added(connection, [entry(row) for row in rows])

    def submit(self, rows: Sequence[Mapping[str, Any]]) -> Future[None]:
        """The same without waiting: the future is done when the rows are safe."""
        entries, future = [entry(row) for row in rows], Future[None]()
        with self._changed:
            if self._closed:
                raise Unsupported("the audit log is closed")
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="ledger", daemon=True)
                self._writer.start()
            future.set_running_or_notify_cancel()  # from here on nobody can call it off
            self._waiting.append((entries, future))
            self._changed.notify()
        return future

    def settle(self) -> None:
        """Let the head witness what was committed since; raises Tampered where that does not follow from it."""
        with self.engine.connect().execution_options(**{READING: True}) as connection:
            self.witness.move(self._end(connection))

    def close(self) -> None:
        """Write what is waiting, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._writer is not None:
            self._writer.join()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def latest(self, count: int, kinds: Sequence[str] = ()) -> list[Row]:
        """The last rows, the latest first; of these kinds alone, where some are named. Nothing is verified."""
        wanted = select(LEDGER).order_by(LEDGER.c.id.desc()).limit(count)
        with self.engine.connect().execution_options(**{READING: True}) as connection:
            return [
                Row(*row) for row in connection.execute(wanted.where(LEDGER.c.kind.in_(kinds)) if kinds else wanted)
            ]

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                batch, self._waiting = _first(self._waiting)
            try:
                with self.engine.begin() as connection:
                    head = self._added(connection, [entry for entries, _ in batch for entry in entries])
                self.witness.move(head)
            except BaseException as error:
                for _, future in batch:
                    future.set_exception(error)
            else:
                for _, future in batch:
                    future.set_result(None)

    def _added(self, connection: Connection, entries: Sequence[Entry]) -> Head:
        """Add rows within a transaction; gives where the log then ends."""
        _locked(connection)
        return self._linked(connection, self._end(connection), entries)

    def _linked(self, connection: Connection, head: Head, entries: Sequence[Entry]) -> Head:
        rows = []
        for one in entries:
            head = Head(head.count + 1, self.chain.mac(head.mac, head.count + 1, one))
            rows.append({"id": head.count, "at": one.at, "kind": one.kind, "body": one.body, "mac": head.mac})
        if rows:
            connection.execute(insert(LEDGER), rows)
        return head

    def _end(self, connection: Connection, head: Head | None = None) -> Head:
        """Where the log ends, from the head on; raises Tampered where the two do not fit together."""
        head = self.witness.read() if head is None else head
        if head.count:
            seen = connection.execute(select(LEDGER.c.mac).where(LEDGER.c.id == head.count)).scalar()
            if seen is None or not hmac.compare_digest(bytes(seen), head.mac):
                raise _tampered(head.count)
        for row in rows_after(connection, head.count):
            if row.id != head.count + 1 or not self.chain.fits(head.mac, row.id, row):
                raise _tampered(head.count + 1)
            head = Head(row.id, row.mac)
        return head

    def _begin(self) -> Head:
        """Where a machine begins that has no head: the log is checked whole, and a row of it says where that was."""
        with self.engine.begin() as connection:
            _locked(connection)
            after = self._end(connection, START)
            told = entry({"kind": BEGUN, "after": after.count, "mark": secrets.token_hex(8)})
            return self._linked(connection, after, [told])


def _first(waiting: list[tuple[list[Entry], Future[None]]]) -> tuple[list[Any], list[Any]]:
    """What goes into one commit, and what waits for the next; one request is never parted."""
    count = 0
    for i, (entries, _) in enumerate(waiting):
        count += len(entries)
        if i and count > TOGETHER:
            return waiting[:i], waiting[i:]
    return waiting, []


def rows_after(connection: Connection, number: int | None) -> Iterator[Row]:
    """All rows after this one by their numbers; all there are, for None."""
    while True:
        wanted = select(LEDGER).order_by(LEDGER.c.id).limit(PART)
        found = connection.execute(wanted if number is None else wanted.where(LEDGER.c.id > number)).all()
        for row in found:
            yield Row(row.id, row.at, row.kind, row.body, bytes(row.mac))
        if len(found) < PART:
            return
        number = found[-1].id


def _locked(connection: Connection) -> None:
    """Let nobody else append before this transaction ends."""
    if connection.dialect.name == "sqlite":
        # Takes the database's one write lock; as the first statement, it waits for it.
        connection.execute(text("DELETE FROM ledger WHERE id IS NULL"))
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK})


def _lasting(engine: Engine) -> None:
    """Raises BadInput where commits may be lost with the power: the head would then have seen rows that are gone."""
    if engine.dialect.name != "sqlite":
        return
    with engine.connect().execution_options(**{READING: True}) as connection:
        if int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one()) < 2:
            raise BadInput("commits of this database may be lost with the power", expected="PRAGMA synchronous=FULL")


def _tampered(number: int) -> Tampered:
    hint = "genvet serve verify tells what was done to it"
    return Tampered(f"row {number} of the audit log is not as it was written", hint=hint)
