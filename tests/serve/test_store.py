"""The database of the service: budgets to the query, keys that nobody can read, and a disk that is full."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from genvet.core.errors import BadInput
from genvet.serve import keys, reviews, sessions  # noqa: F401 - the others declare tables
from genvet.serve.ledger import Ledger
from genvet.serve.migrations import migrate
from genvet.serve.problems import Problem
from genvet.serve.store import KEPT, METADATA, REPLAYS, Charge, Receipt, Store


@pytest.fixture
def url(database: str) -> str:
    return database


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    found = Store(url)
    migrate(found)
    yield found
    found.engine.dispose()


def client(store: Store, **how: object) -> int:
    found = store.known(keys.digest(keys.added(store, "ann", **how)))  # type: ignore[arg-type]
    assert found
    return found.id


def test_what_is_charged_is_in_the_audit_log_and_nothing_else(store: Store, tmp_path: Path) -> None:
    who, log = client(store, budget=5), Ledger(store.engine, bytes(32), tmp_path / "head")
    rows = [Charge(who, n, str(i), "r", {"kind": "answer", "asked": n}) for i, n in enumerate((4, 3, 1))]
    told = store.settle([*rows, rows[0]], log)
    assert [isinstance(one, Receipt) for one in told] == [True, False, True, True]
    assert [(r.said["asked"], r.said["charged"]) for r in log.latest(3)] == [(4, 0), (1, 1), (4, 4)]
    assert log.witness.read().count == 4


def charge(who: int, key: str, n: int = 1, request: str = "r") -> Charge:
    return Charge(who, n, key, request)


def test_migrations_give_the_tables_that_the_code_asks_for(store: Store) -> None:
    migrate(store)  # a second time changes nothing
    with store.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), METADATA) == []
    with store.writing() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = 'later'")
    with pytest.raises(BadInput, match="another version"):
        migrate(store)


def test_two_that_start_at_once_migrate_once(url: str) -> None:
    stores = [Store(url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, stores))
    assert stores[0].clients() == []
    for store in stores:
        store.engine.dispose()


def test_a_key_is_known_by_its_hash_alone_until_it_is_revoked(store: Store) -> None:
    key = keys.added(store, "ann", budget=3)
    assert len(key) > 43 and key not in str(store.clients())
    found = store.known(keys.digest(key))
    assert found and (found.name, found.left) == ("ann", 3) and store.known(keys.digest(key + "x")) is None
    with pytest.raises(BadInput, match="already"):
        keys.added(store, "ann")
    for name in ("", "a b", "x" * 70, "\u202e"):
        with pytest.raises(BadInput, match="no name"):
            keys.added(store, name)
    keys.revoked(store, "ann")
    assert store.known(keys.digest(key)) is None
    told = store.settle([charge(found.id, "k")])[0]
    assert isinstance(told, Problem) and told.status == 401, "what was admitted before is not paid for after"
    with pytest.raises(BadInput, match="no client"):
        keys.revoked(store, "ann")


def test_budgets_are_exact_under_concurrency(url: str, store: Store) -> None:
    """Two workers, eight threads, 400 requests of 1 to 3 queries: the budget is spent to the last query."""
    who, other = client(store, budget=280), Store(url)

    def ask(i: int) -> int:
        one = (store, other)[i % 2].settle([charge(who, str(i), 1 + i % 3), charge(who, f"{i}b")])
        return sum(n for n, told in zip((1 + i % 3, 1), one, strict=True) if isinstance(told, Receipt))

    with ThreadPoolExecutor(8) as pool:
        paid = sum(pool.map(ask, range(200)))
    assert paid == 280 == store.clients()[0].used
    other.engine.dispose()


def test_one_key_is_charged_once_and_covers_no_other_request(store: Store) -> None:
    who = client(store, budget=10)
    first, again = (store.settle([charge(who, "k", 4)])[0] for _ in range(2))
    assert first == Receipt(6) and again == Receipt(6, replayed=True)
    both = store.settle([charge(who, "k2", 1), charge(who, "k2", 1)])
    assert sorted(one.replayed for one in both if isinstance(one, Receipt)) == [False, True]
    other = store.settle([charge(who, "k", 4, "another")])[0]
    assert isinstance(other, Problem) and other.status == 422
    for _ in range(REPLAYS - 1):
        assert store.settle([charge(who, "k", 4)])[0] == Receipt(5, replayed=True)
    assert store.settle([charge(who, "k", 4)])[0] == Receipt(1), "after so many replays it is charged anew"
    dear = store.settle([charge(who, "k3", 2)])[0]
    assert isinstance(dear, Problem) and dear.status == 402
    assert store.settle([charge(who, "k3", 1)])[0] == Receipt(0), "what was not charged is not remembered"


def test_the_rate_fills_steadily_up_to_the_burst(url: str) -> None:
    now = [1000.0]
    store = Store(url, clock=lambda: now[0])
    migrate(store)
    who = client(store, rate=2.0, burst=6.0)
    assert store.settle([charge(who, "a", 6)])[0] == Receipt(None)
    slow = store.settle([charge(who, "b", 3)])[0]
    assert isinstance(slow, Problem) and (slow.status, slow.headers) == (429, {"Retry-After": "2"})
    now[0] += 1.5
    assert store.settle([charge(who, "b", 3)])[0] == Receipt(None)
    now[0] += 100
    assert isinstance(store.settle([charge(who, "c", 7)])[0], Problem), "no more than the burst is ever saved up"
    assert store.settle([charge(who, "d", 5)])[0] == Receipt(None)
    now[0] -= 200
    assert store.settle([charge(who, "e", 1)])[0] == Receipt(None), "a clock that goes back takes nothing away"
    now[0] += KEPT + 300
    store.forget()
    with store.reading() as connection:
        assert connection.exec_driver_sql("select count(*) from charges").scalar() == 0
    store.engine.dispose()


def test_a_database_that_is_held_or_gone_says_so_and_then_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genvet.serve.store.PATIENCE", 0.05)
    store = Store(f"sqlite:///{tmp_path}/s.sqlite")
    migrate(store)
    who = client(store, budget=10)
    other = sa.create_engine(f"sqlite:///{tmp_path}/s.sqlite")
    with other.connect() as holder:
        holder.exec_driver_sql("begin exclusive")
        with pytest.raises(Problem, match="cannot be reached") as caught:
            store.settle([charge(who, "k", 4)])
        assert caught.value.status == 503 and "Retry-After" in caught.value.headers
    assert store.settle([charge(who, "k", 4)])[0] == Receipt(6)
    store.engine.dispose()
    other.dispose()


def test_a_full_disk_charges_nothing(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/s.sqlite")
    migrate(store)
    who = client(store, budget=10_000)
    full = sa.event.listens_for(store.engine, "begin")(
        lambda connection: connection.exec_driver_sql("pragma max_page_count=1")
    )
    with pytest.raises(Problem, match="disk of the service is full"):
        for i in range(2000):
            store.settle([charge(who, f"{i:064}")])
    used, kept = store.clients()[0].used, 0
    with store.reading() as connection:
        kept = connection.exec_driver_sql("select count(*) from charges").scalar()
    assert used == kept, "each charge stands as a whole, or not at all"
    sa.event.remove(store.engine, "begin", full)
    store.engine.dispose()


@pytest.mark.parametrize("url", ["mysql://h/d", "sqlite://", "no url", "sqlite:///:memory:", "://"], ids=str)
def test_addresses_that_are_no_database_of_ours(url: str) -> None:
    with pytest.raises(BadInput, match=r"SQLite or PostgreSQL|does not parse"):
        Store(url)
