"""What the service remembers: one database, SQLite unless told otherwise, shared by all workers and machines.

Budgets and rates are spent by one conditional UPDATE, so that no two workers spend the same query twice, and all that
belongs to an answer is written in one transaction: either all of it stands, or nothing was charged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, Protocol

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Double,
    Engine,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    and_,
    case,
    create_engine,
    delete,
    event,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as NoConnection

from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.serve import problems
from genvet.serve.problems import Problem

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)
"""Of all tables: every module of the service that keeps something declares its tables on this one."""
CLIENTS = Table(
    "clients",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("hash", String(64), nullable=False, unique=True),  # SHA-256 of the key; the key itself is nowhere
    Column("role", String(16), nullable=False),
    Column("budget", BigInteger),  # none: no limit
    Column("used", BigInteger, nullable=False, server_default="0"),
    Column("rate", Double),  # queries a second; none: no limit
    Column("burst", Double),
    Column("tokens", Double, nullable=False, server_default="0"),
    Column("filled", Double, nullable=False, server_default="0"),
    Column("made", Double, nullable=False),
    Column("revoked", Double),
)
CHARGES = Table(
    "charges",
    METADATA,
    Column("client", Integer, primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("request", String(64), nullable=False),
    Column("n", Integer, nullable=False),
    Column("at", Double, nullable=False, index=True),
    Column("replays", Integer, nullable=False, server_default="0"),
)
REPLAYS = 5
"""Times that one charge covers the same request again, within KEPT; then it is charged anew."""
KEPT = 24 * 3600.0
"""Seconds for which a charge is remembered."""
PATIENCE = 5.0
"""Seconds that a transaction waits for the one before it."""
READING = "genvet_reading"
"""Execution option of a transaction that writes nothing."""


class Log(Protocol):
    """The audit log: what it is handed stands, or the whole transaction does not; then it wants to know of that."""

    def append(self, rows: Sequence[Mapping[str, Any]], connection: Connection | None = None) -> None: ...
    def settle(self) -> None: ...


@dataclass(frozen=True)
class Client:
    """Who asks."""

    id: int
    name: str
    role: str
    used: int
    budget: int | None

    @property
    def left(self) -> int | None:
        """Queries that the budget still pays for; None where there is no budget."""
        return None if self.budget is None else self.budget - self.used


@dataclass(frozen=True)
class Charge:
    """What one answer costs, and what the audit log is to say of it."""

    client: int
    n: int
    key: str
    """SHA-256 of the client's own key for this request, or random: one charge for each."""
    request: str
    """SHA-256 of what was asked: another request under the same key is refused."""
    row: Mapping[str, Any] = field(default_factory=dict)
    also: Callable[[Connection], str] | None = None
    """What is to stand or fall with it; gives a name for the receipt."""


@dataclass(frozen=True)
class Receipt:
    """A charge that stands."""

    left: int | None
    replayed: bool = False
    name: str = ""
    """Of what else was written with it."""


class Store:
    """The database; every error of it that will pass is a Problem 503, which says whether something may be written."""

    def __init__(self, url: str, clock: Callable[[], float] | None = None) -> None:
        self.engine = _engine(url)
        self._clock = clock
        # SQLite lets those that wait sleep and try again, and luck decides: threads of one process queue here instead.
        self._turn: AbstractContextManager[Any] = Lock() if self.engine.dialect.name == "sqlite" else nullcontext()

    @property
    def now(self) -> ColumnElement[float]:
        """The database's own clock: machines that share it may disagree about the time."""
        if self._clock:
            return literal(self._clock(), Double)
        if self.engine.dialect.name == "sqlite":
            return (func.julianday("now") - 2440587.5) * 86400.0
        return func.extract("epoch", func.clock_timestamp()).cast(Double)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: it stands as a whole, or raises; where its end was cut off, nobody knows which."""
        ending = False
        with (
            _explained(lambda: problems.unsure() if ending else problems.away()),
            self._turn,
            self.engine.begin() as connection,
        ):
            yield connection
            ending = True

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with _explained(), self.engine.connect().execution_options(**{READING: True}) as connection:
            yield connection

    def known(self, digest: str) -> Client | None:
        """The client whose key has this SHA-256; None where there is none, or it was revoked."""
        with self.reading() as connection:
            row = connection.execute(select(CLIENTS).where(CLIENTS.c.hash == digest)).one_or_none()
        return None if row is None or row.revoked is not None else _client(row)

    def clients(self) -> list[Row[Any]]:
        """All of them, with those that were revoked."""
        with self.reading() as connection:
            return list(connection.execute(select(CLIENTS).order_by(CLIENTS.c.name)))

    def admit(self, client: Client, n: int, key: str, request: str) -> bool:
        """Whether this was charged before; raises Problem where it cannot be paid for, before any work is done."""
        with self.reading() as connection:
            free = self._covered(connection, client.id, key, request)
            if refusal := self._refusal(connection, client.id, n, 0 if free else n):
                raise refusal
        return free

    def settle(self, charges: Sequence[Charge], log: Log | None = None) -> list[Receipt | Problem]:
        """Charge them in one transaction, and log those that stand; what cannot be paid for is a Problem."""
        told: dict[int, Receipt | Problem] = {}
        with self.writing() as connection:
            # In one order for all workers, so that no two wait for each other.
            for i, charge in sorted(enumerate(charges), key=lambda pair: (pair[1].client, pair[1].key)):
                told[i] = self._whole(connection, charge)
            standing = [(charges[i], one) for i, one in sorted(told.items()) if isinstance(one, Receipt)]
            if log is not None and standing:
                rows = [{**charge.row, "charged": 0 if one.replayed else charge.n} for charge, one in standing]
                log.append(rows, connection)
        if log is not None and standing:
            self.witnessed(log)
        return [told[i] for i in range(len(charges))]

    def witnessed(self, log: Log) -> None:
        """The head of the log is brought up to what stands: a Problem that comes now comes too late to undo it."""
        with _explained(problems.unsure):
            log.settle()

    def forget(self) -> None:
        """Drop charges that are no longer remembered."""
        with self.writing() as connection:
            connection.execute(delete(CHARGES).where(CHARGES.c.at < self.now - KEPT))

    def _whole(self, connection: Connection, charge: Charge) -> Receipt | Problem:
        """A charge, and what is to stand with it: both, or none."""
        if charge.also is None:
            return self._charged(connection, charge)
        try:
            with connection.begin_nested():
                receipt = self._charged(connection, charge)
                return replace(receipt, name=charge.also(connection)) if isinstance(receipt, Receipt) else receipt
        except Problem as problem:
            return problem

    def _charged(self, connection: Connection, charge: Charge) -> Receipt | Problem:
        """One charge: free where the same request was charged before."""
        values = {"client": charge.client, "key": charge.key, "request": charge.request, "n": charge.n}
        fresh = self._insert(CHARGES).values(**values, at=self.now).on_conflict_do_nothing()
        new = connection.execute(fresh.returning(CHARGES.c.key)).one_or_none() is not None
        mine = _of(charge.client, charge.key)
        try:
            free = not new and self._covered(connection, charge.client, charge.key, charge.request)
            left = self._spent(connection, charge.client, charge.n, 0 if free else charge.n)
        except Problem as problem:
            if new:
                connection.execute(delete(CHARGES).where(mine))
            return problem
        if not new:
            again = {"replays": CHARGES.c.replays + 1} if free else {"replays": 0, "at": self.now}
            connection.execute(update(CHARGES).where(mine).values(**again))
        return Receipt(left, free)

    def _covered(self, connection: Connection, client: int, key: str, request: str) -> bool:
        """Whether an earlier charge covers this request; raises Problem where it was for another one."""
        found = select(CHARGES, self.now.label("now")).where(_of(client, key))
        before = connection.execute(found).one_or_none()
        if before is not None and before.request != request:
            raise Problem(422, "this Idempotency-Key was used for another request")
        return before is not None and before.replays < REPLAYS and before.now - before.at < KEPT

    def _spent(self, connection: Connection, client: int, n: int, cost: int) -> int | None:
        """What the budget has left after this; raises Problem, and spends nothing, where it does not pay for it."""
        c, level = CLIENTS.c, self._level()
        pays = and_(
            c.id == client,
            c.revoked.is_(None),
            or_(c.budget.is_(None), c.used + cost <= c.budget),
            or_(c.rate.is_(None), level >= n),
        )
        drawn = update(CLIENTS).where(pays).values(used=c.used + cost, tokens=level - n, filled=self.now)
        row = connection.execute(drawn.returning(c.used, c.budget)).one_or_none()
        if row is None:
            raise self._refusal(connection, client, n, cost) or problems.busy()
        return None if row.budget is None else row.budget - row.used

    def _refusal(self, connection: Connection, client: int, n: int, cost: int) -> Problem | None:
        """Why this cannot be paid for; None where it can."""
        row = connection.execute(select(CLIENTS, self._level().label("level")).where(CLIENTS.c.id == client)).one()
        if row.revoked is not None:
            return problems.nobody()
        if row.budget is not None and row.used + cost > row.budget:
            return problems.spent(row.budget - row.used)
        if row.rate is not None and row.level < n:
            return problems.too_fast((n - row.level) / row.rate)
        return None

    def _level(self) -> ColumnElement[float]:
        """Queries that the rate allows at once now: the bucket fills steadily, and no further than `burst`."""
        c, now = CLIENTS.c, self.now
        since = case((now > c.filled, now - c.filled), else_=0.0)
        level = c.tokens + since * func.coalesce(c.rate, 0.0)
        return case((level > c.burst, c.burst), else_=level)

    def _insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        return sqlite.insert(table) if self.engine.dialect.name == "sqlite" else postgresql.insert(table)


def _of(client: int, key: str) -> ColumnElement[bool]:
    return and_(CHARGES.c.client == client, CHARGES.c.key == key)


def _client(row: Row[Any]) -> Client:
    return Client(row.id, row.name, row.role, row.used, row.budget)


@contextmanager
def _explained(gone: Callable[[], Problem] = problems.away) -> Iterator[None]:
    """What a database says, as a Problem, `gone` where it cannot be reached: nothing of it reaches whoever asked."""
    try:
        yield
    except DBAPIError as error:
        if isinstance(error, IntegrityError):
            raise
        text = str(error.orig).lower()
        raise (problems.full() if "full" in text or "no space" in text else gone()) from error
    except NoConnection as error:
        raise problems.busy(problems.AWAY) from error


def _engine(url: str) -> Engine:
    """SQLite in write-ahead mode, each transaction that may write alone from its beginning; PostgreSQL by psycopg."""
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
            given = {"connect_timeout": int(PATIENCE), "options": "-c lock_timeout=10s -c statement_timeout=30s"}
            return create_engine(parsed, pool_pre_ping=True, pool_timeout=PATIENCE, connect_args=given)
        if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
            raise BadInput(
                "the service keeps what it knows in SQLite or PostgreSQL",
                expected="sqlite:///path or postgresql://user@host/name",
                got=printable(parsed.render_as_string(hide_password=True), 100),
            )
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput("the database's address does not parse", expected="sqlite:///path or postgresql://...") from None
    engine = create_engine(
        parsed, pool_timeout=PATIENCE, connect_args={"timeout": PATIENCE, "check_same_thread": False}
    )
    event.listen(engine, "connect", _opened)
    event.listen(engine, "begin", _begun)
    return engine


def _opened(connection: Any, record: object) -> None:
    connection.isolation_level = None  # transactions begin where we say so, and not where the driver guesses
    for pragma in ("journal_mode=wal", "synchronous=full", "foreign_keys=on"):
        connection.execute(f"pragma {pragma}").close()


def _begun(connection: Connection) -> None:
    reading = connection.get_execution_options().get(READING, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
