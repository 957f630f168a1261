"""The audit log: nothing that was acknowledged is lost, and nothing can be done to it by the database alone unseen."""

from __future__ import annotations

import multiprocessing
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import NullPool

from genvet.core.errors import BadInput
from genvet.serve.ledger import BEGUN, LEDGER, Ledger
from genvet.serve.tampering import verify
from genvet.serve.witness import KEY, Head, Tampered, Witness, ledger_key

SECRET = bytes(range(32))
POSTGRES = os.environ.get("GENVET_TEST_POSTGRES", "")
LAST = 12
ROOT = Path(__file__).parents[2]


def engine_of(url: str) -> Engine:
    """As the service opens its database: one writer at a time, on disk when a commit returns."""
    engine = create_engine(url, poolclass=NullPool)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def ready(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA busy_timeout=20000")

    return engine


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'genvet.db'}"
    elif not POSTGRES:
        pytest.skip("GENVET_TEST_POSTGRES names no server")
    else:
        url = POSTGRES.replace("postgresql://", "postgresql+psycopg://")
    engine = engine_of(url)
    LEDGER.drop(engine, checkfirst=True)
    LEDGER.create(engine)
    yield url
    LEDGER.drop(engine)
    engine.dispose()


@pytest.fixture
def log(url: str, tmp_path: Path) -> Iterator[Ledger]:
    """Twelve rows, of which the first tells of the head, and their database."""
    ledger = Ledger(engine_of(url), SECRET, tmp_path / "head")
    rows = [{"kind": "answer", "client": "ann", "i": i} for i in range(1, LAST)]
    ledger.append(rows[:-1])
    ledger.append(rows[-1:])
    yield ledger
    ledger.close()


def swap(a: int, b: int) -> list[str]:
    """Exchange what two rows hold, codes and all."""
    held = ", ".join(f"{c} = (SELECT {c} FROM ledger o WHERE o.id = 100 + {{}})" for c in ("at", "kind", "body", "mac"))
    copies = [f"INSERT INTO ledger SELECT id + 100, at, kind, body, mac FROM ledger WHERE id IN ({a}, {b})"]
    moves = [f"UPDATE ledger SET {held.format(*[q] * 4)} WHERE id = {p}" for p, q in ((a, b), (b, a))]
    return [*copies, *moves, "DELETE FROM ledger WHERE id > 100"]


def shift(beyond: int, by: int) -> list[str]:
    """Renumber the rows after one, without two of one number on the way."""
    return [
        f"UPDATE ledger SET id = -(id + {by}) WHERE id > {beyond}",
        "UPDATE ledger SET id = -id WHERE id < 0",
    ]


FORGED = "INSERT INTO ledger SELECT {}, at, kind, body, mac FROM ledger WHERE id = {}"
TAMPERINGS: dict[str, tuple[list[str], str, int]] = {
    "a body": (["""UPDATE ledger SET body = '{"client":"bob","i":6}' WHERE id = 7"""], "altered", 7),
    "a kind": (["UPDATE ledger SET kind = 'other' WHERE id = 1"], "altered", 1),
    "a time": (["UPDATE ledger SET at = '2020-01-01T00:00:00+00:00' WHERE id = 12"], "altered", 12),
    "a code": (["UPDATE ledger SET mac = (SELECT mac FROM ledger o WHERE o.id = 3) WHERE id = 7"], "altered", 7),
    "a number": (["UPDATE ledger SET id = 900 WHERE id = 12"], "altered", 12),
    "one removed": (["DELETE FROM ledger WHERE id = 7"], "removed", 7),
    "three removed": (["DELETE FROM ledger WHERE id BETWEEN 5 AND 7"], "removed", 5),
    "the first removed": (["DELETE FROM ledger WHERE id = 1"], "removed", 1),
    "removed and closed up": (["DELETE FROM ledger WHERE id IN (7, 8)", *shift(8, -2)], "removed", 7),
    "the last but one, closed up": (["DELETE FROM ledger WHERE id = 11", *shift(11, -1)], "removed", 11),
    "inserted between": ([*shift(6, 1), FORGED.format(7, 3)], "inserted", 7),
    "two inserted between": ([*shift(6, 2), FORGED.format(7, 3), FORGED.format(8, 4)], "inserted", 7),
    "inserted at the end": ([FORGED.format(13, 12)], "inserted", 13),
    "inserted far beyond the end": ([FORGED.format(400, 12)], "inserted", 13),
    "inserted before the first": ([FORGED.format(0, 1)], "inserted", 1),
    "neighbours exchanged": (swap(6, 7), "reordered", 6),
    "others exchanged": (swap(3, 9), "reordered", 3),
    "the end cut off": (["DELETE FROM ledger WHERE id > 9"], "truncated", 10),
    "the last cut off": (["DELETE FROM ledger WHERE id = 12"], "truncated", 12),
    "all cut off": (["DELETE FROM ledger"], "truncated", 1),
}


def done_to(ledger: Ledger, statements: list[str]) -> None:
    with ledger.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_a_log_that_nobody_touched_is_sound(log: Ledger) -> None:
    verdict = verify(log.engine, SECRET, log.witness.path)
    assert verdict.sound and (verdict.rows, verdict.seen, verdict.lag, verdict.begun) == (LAST, LAST, 0, (1,))
    assert [row.said["i"] for row in log.latest(2)] == [11, 10]
    assert [row.kind for row in log.latest(9, [BEGUN])] == [BEGUN]


@pytest.mark.parametrize("how", TAMPERINGS)
def test_what_was_done_is_told_with_the_first_row(log: Ledger, how: str) -> None:
    statements, done, first = TAMPERINGS[how]
    done_to(log, statements)
    verdict = verify(log.engine, SECRET, log.witness.path)
    assert (verdict.done, verdict.first) == (done, first), verdict.said


@pytest.mark.parametrize("how", ["the last code", "the last cut off", "inserted at the end", "all cut off"])
def test_a_log_whose_end_was_touched_is_not_written_to(log: Ledger, how: str) -> None:
    """Otherwise the next row would witness it."""
    code = ["UPDATE ledger SET mac = (SELECT mac FROM ledger o WHERE o.id = 11) WHERE id = 12"]
    done_to(log, code if how == "the last code" else TAMPERINGS[how][0])
    with pytest.raises(Tampered, match=r"row 1[23] of the audit log is not as it was written"):
        log.append([{"kind": "answer"}])
    assert not verify(log.engine, SECRET, log.witness.path).sound


def test_a_lag_of_the_head_is_no_tampering(log: Ledger, tmp_path: Path) -> None:
    """As a crash between a commit and the head leaves it; the next commit witnesses what was left."""
    with log.engine.begin() as connection:
        log.append([{"kind": "answer", "i": 12}, {"kind": "answer", "i": 13}], connection)
    verdict = verify(log.engine, SECRET, log.witness.path)
    assert verdict.sound and (verdict.rows, verdict.lag) == (LAST + 2, 2)
    with Ledger(log.engine, SECRET, tmp_path / "head") as again:
        again.append([{"kind": "answer", "i": 14}])
    verdict = verify(log.engine, SECRET, log.witness.path)
    assert verdict.sound and (verdict.rows, verdict.lag) == (LAST + 3, 0)


def test_rows_in_a_transaction_that_is_taken_back_were_never_there(log: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), log.engine.begin() as connection:
        log.append([{"kind": "answer"}], connection)
        raise ZeroDivisionError
    log.settle()
    assert verify(log.engine, SECRET, log.witness.path).rows == LAST


def test_settling_witnesses_a_transaction_of_the_callers(log: Ledger) -> None:
    with log.engine.begin() as connection:
        log.append([{"kind": "answer"}], connection)
    log.settle()
    assert verify(log.engine, SECRET, log.witness.path).seen == LAST + 1


def test_another_key_forges_nothing(log: Ledger, tmp_path: Path) -> None:
    """Not even beyond the head, where nobody has seen what was there."""
    with pytest.raises(BadInput, match="another key"):
        verify(log.engine, bytes(32), log.witness.path)
    with log.engine.begin() as connection:
        stranger = Ledger(log.engine, SECRET, tmp_path / "head")
        stranger.chain._key = bytes(32)
        stranger.chain.fits = lambda *_: True  # type: ignore[method-assign]
        stranger.append([{"kind": "answer", "forged": True}], connection)
    verdict = verify(log.engine, SECRET, log.witness.path)
    assert (verdict.done, verdict.first) == ("inserted", LAST + 1)


@pytest.mark.parametrize(
    ("harm", "done"), [("0", "head"), ("count", "head"), ("old slot", None), ("nothing left", "head")]
)
def test_heads_that_were_changed(log: Ledger, harm: str, done: str | None) -> None:
    """One slot that is no longer whole, as when the power fails, leaves the other; a changed count has no seal."""
    path = log.witness.path
    slots = [path.read_bytes()[i : i + 4096] for i in (0, 4096)]
    counts = [int(re.findall(rb'"count": (\d+)', slot)[0]) for slot in slots]
    assert sorted(counts) == [LAST - 1, LAST]
    old = counts.index(LAST - 1)
    if harm == "old slot":
        slots[old] = b"x" * 4096
    else:
        change: Callable[[bytes], bytes] = {
            "0": lambda slot: slot.replace(b'"mac": "', b'"mac": "00', 1),
            "count": lambda slot: re.sub(rb'"count": \d+', b'"count": 3', slot),
            "nothing left": lambda slot: b"\0" * 4096,
        }[harm]
        slots = [change(slot) for slot in slots]
    path.write_bytes(b"".join(slots))
    verdict = verify(log.engine, SECRET, log.witness.path)
    assert verdict.done == done
    if done:
        with pytest.raises(Tampered, match="none that this key sealed"):
            log.append([{"kind": "answer"}])


def test_a_head_that_is_gone_is_no_clean_log(log: Ledger, tmp_path: Path) -> None:
    """A new one may be begun, and the log says so: what was cut off before that, nobody can tell."""
    log.witness.path.unlink()
    with pytest.raises(Tampered, match="is gone"):
        verify(log.engine, SECRET, log.witness.path)
    with pytest.raises(Tampered, match="is gone"):
        log.append([{"kind": "answer"}])
    done_to(log, TAMPERINGS["the end cut off"][0])
    Ledger(log.engine, SECRET, log.witness.path).close()
    verdict = verify(log.engine, SECRET, log.witness.path)
    assert verdict.sound and verdict.begun == (1, 10)
    noted = Head(LAST, b"\1" * 32)  # an end that somebody noted down elsewhere still tells
    assert verify(log.engine, SECRET, log.witness.path, [noted]).done == "truncated"


def test_a_machine_that_joins_checks_the_whole_log_first(log: Ledger, tmp_path: Path) -> None:
    with Ledger(log.engine, SECRET, tmp_path / "other" / "head") as other:
        other.append([{"kind": "answer", "by": "other"}])
        log.append([{"kind": "answer", "by": "first"}])
        assert other.witness.read().count == LAST + 2 and log.witness.read().count == LAST + 3
        verdict = verify(log.engine, SECRET, other.witness.path, [log.witness.read()])
        assert verdict.sound and verdict.begun == (1, LAST + 1) and verdict.seen == LAST + 3
    done_to(log, TAMPERINGS["a body"][0])
    with pytest.raises(Tampered, match="row 7"):
        Ledger(log.engine, SECRET, tmp_path / "third" / "head")
    assert not (tmp_path / "third" / "head").read_bytes()


def test_an_older_database_put_back_is_found(log: Ledger) -> None:
    """And one that went on from there, with the key: another chain than the head saw."""
    end = log.witness.read()
    done_to(log, TAMPERINGS["the end cut off"][0])
    assert verify(log.engine, SECRET, log.witness.path).done == "truncated"
    log.witness.path.unlink()
    with Ledger(log.engine, SECRET, log.witness.path) as again:
        again.append([{"kind": "answer", "i": i} for i in range(5)])
    verdict = verify(log.engine, SECRET, again.witness.path, [end])
    assert (verdict.done, verdict.first) == ("forked", LAST)


def test_many_threads_share_commits(log: Ledger) -> None:
    commits: list[int] = []
    event.listen(log.engine, "commit", lambda _: commits.append(1))
    threads = [
        threading.Thread(target=lambda n=n: [log.append([{"kind": "answer", "n": n, "i": i}]) for i in range(10)])
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(log.engine, SECRET, log.witness.path).rows == LAST + 200
    rows = [row.said for row in reversed(log.latest(200))]
    assert all([row["i"] for row in rows if row["n"] == n] == list(range(10)) for n in range(20))
    assert len(commits) < 150


def _work(url: str, head: Path, name: str, count: int) -> None:
    with Ledger(engine_of(url), SECRET, head) as ledger:
        for i in range(count):
            ledger.append([{"kind": "answer", "by": name, "i": i}])


def test_several_processes_on_one_log(url: str, tmp_path: Path) -> None:
    """Those of one machine share its head; those of another have their own."""
    context = multiprocessing.get_context("spawn")
    heads = [tmp_path / "head", tmp_path / "head", tmp_path / "elsewhere" / "head"]
    workers = [context.Process(target=_work, args=(url, head, str(n), 8)) for n, head in enumerate(heads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    engine = engine_of(url)
    verdict = verify(engine, SECRET, heads[0], [Witness(heads[2], SECRET).read()])
    assert verdict.sound and verdict.rows == 24 + 2 and verdict.lag == 0


def test_a_database_that_goes_away_and_comes_back(log: Ledger) -> None:
    """What could not be committed was not acknowledged, and the log goes on."""
    done_to(log, ["ALTER TABLE ledger RENAME TO away"])
    with pytest.raises(Exception, match="ledger"):
        log.append([{"kind": "answer", "lost": True}])
    done_to(log, ["ALTER TABLE away RENAME TO ledger"])
    log.append([{"kind": "answer", "lost": False}])
    assert verify(log.engine, SECRET, log.witness.path).rows == LAST + 1


@pytest.mark.parametrize(
    "row", [{"i": 1}, {"kind": "a", "x": {1}}, {"kind": "a", "x": float("nan")}, {"kind": "k" * 65}]
)
def test_what_is_no_row_is_refused_alone(log: Ledger, row: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="row"):
        log.append([row])
    log.append([{"kind": "answer"}])


def test_a_database_that_may_lose_commits_is_refused(tmp_path: Path) -> None:
    engine = engine_of(f"sqlite:///{tmp_path / 'a.db'}")
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=NORMAL"))
    with pytest.raises(BadInput, match="lost with the power"):
        Ledger(engine, SECRET, tmp_path / "head")


def test_the_key_is_its_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    path = tmp_path / "keys" / "ledger.key"
    with pytest.raises(BadInput, match="cannot read"):
        ledger_key(path)
    key = ledger_key(path, create=True)
    assert len(key) == 32 and ledger_key(path) == key and path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(BadInput, match="others may read") as error:
        ledger_key(path)
    assert key.hex() not in str(error.value)
    (tmp_path / "link").symlink_to(path)
    path.chmod(0o600)
    with pytest.raises(BadInput, match="cannot read"):
        ledger_key(tmp_path / "link")
    path.write_text("secret, but no key\n")
    with pytest.raises(BadInput, match="64 hexadecimal digits; got 18 characters") as error:
        ledger_key(path)
    assert "secret" not in str(error.value)
    monkeypatch.setenv(KEY, "ab" * 32)
    assert ledger_key(None) == b"\xab" * 32


def crashes(url: str, *words: str) -> tuple[int, str]:
    """A few rounds of the program in benchmarks/."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.crash_ledger",
        *words,
        *(["--url", url] if "sqlite" not in url else []),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def test_kill_9_loses_nothing_that_was_acknowledged(url: str) -> None:
    code, told = crashes(url, "--rounds", "5")
    assert code == 0 and re.match(r"5 rounds, [1-9]\d* rows acknowledged", told), told


def test_an_acknowledgement_before_the_commit_would_be_found(url: str) -> None:
    code, told = crashes(url, "--rounds", "1", "--hasty")
    assert code == 1 and "acknowledged rows are lost or altered" in told, told
