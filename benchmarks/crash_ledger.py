"""The audit log under kill -9: is what was acknowledged there, unaltered, and is the chain sound, after every crash?

    python -m benchmarks.crash_ledger                    100 rounds on SQLite, in a folder of their own
    python -m benchmarks.crash_ledger --url postgresql://user@host/name
    python -m benchmarks.crash_ledger --rounds 20 --workers 4 --seed 7
    python -m benchmarks.crash_ledger --hasty            acknowledges before the commit: this has to fail

In each round, workers append from several threads each, and note down what was acknowledged; all of them are killed at
a random moment. The database of `--url` is one to be used for nothing else: its table `ledger` is dropped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from genvet.serve.ledger import LEDGER, Ledger
from genvet.serve.problems import Problem
from genvet.serve.store import Store
from genvet.serve.tampering import verify

SECRET = hashlib.sha256(b"of this benchmark alone").digest()
THREADS = 4
LONGEST = 1.0
"""Seconds from the first acknowledged row of a round to the kill, at most."""


@dataclass
class Crashes:
    """What came of rounds that ended in a crash each."""

    rounds: int = 0
    lags: list[int] = field(default_factory=list)
    """Rows beyond the head, after each crash."""
    wrong: list[str] = field(default_factory=list)

    @property
    def ending(self) -> str:
        """How the log's head fared, and how much was wrong."""
        lagged, most = sum(lag > 0 for lag in self.lags), max(self.lags, default=0)
        return f"the head lagged in {lagged} rounds, by {most} rows at most; {len(self.wrong)} wrong"

    def code(self) -> int:
        """Print it, with some of what was wrong: the exit code."""
        print(self, *self.wrong[:10], sep="\n")
        return 1 if self.wrong else 0


@dataclass
class Outcome(Crashes):
    """The same, of rows."""

    acknowledged: int = 0
    unacknowledged: int = 0
    """Rows that were committed, while the crash came before anybody was told."""

    def __str__(self) -> str:
        return (
            f"{self.rounds} rounds, {self.acknowledged} rows acknowledged, {self.unacknowledged} written and not "
            f"acknowledged; {self.ending}"
        )


def work(url: str, head: Path, acknowledged: Path, name: str, hasty: bool) -> None:
    """Append until killed; what was acknowledged is noted down in one write."""
    store = Store(url)
    ledger = Ledger(store.engine, SECRET, head)
    notes = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def thread(number: int) -> None:
        for i in range(1 << 30):
            rows = [
                {"kind": "answer", "by": f"{name}.{number}", "i": i, "j": j, "x": os.urandom(40).hex()} for j in (0, 1)
            ]
            try:
                added(store, ledger, rows, number % 2 == 0, hasty)
            except (
                Problem,
                DBAPIError,
            ):  # the database was busy for too long: nothing was written, and nobody was told
                continue
            os.write(notes, "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows).encode())

    for number in range(THREADS):
        threading.Thread(target=thread, args=(number,), daemon=True).start()
    time.sleep(60)


def added(store: Store, ledger: Ledger, rows: list[dict[str, object]], alone: bool, hasty: bool) -> None:
    """In a commit that the log shares among those who wait; or as the service does, within a transaction of its own."""
    if alone or hasty:
        done = ledger.submit(rows)
        if not hasty:
            done.result()
        return
    with store.writing() as connection:
        ledger.append(rows, connection)
    ledger.settle()


def crash(url: str, head: Path, folder: Path, number: int, workers: int, chance: random.Random, hasty: bool) -> None:
    """Workers that begin, append, and are killed together."""
    children = []
    for worker in range(workers):
        child = os.fork()
        if not child:
            try:
                work(url, head, folder / f"{number}.{worker}", f"{number}.{worker}", hasty)
            finally:
                os._exit(1)
        children.append(child)
    patience = time.monotonic() + 60
    while not any((folder / f"{number}.{worker}").is_file() for worker in range(workers)):
        if time.monotonic() > patience:
            break
        time.sleep(0.005)
    time.sleep(chance.uniform(0, LONGEST))
    for child in children:
        os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)


def checked(url: str, head: Path, folder: Path, outcome: Outcome) -> None:
    """Hold the log against all that was ever acknowledged."""
    store = Store(url)
    try:
        verdict = verify(store.engine, SECRET, head)
        with store.reading() as connection:
            kept = [(kind, json.loads(body)) for kind, body in connection.execute(select(LEDGER.c.kind, LEDGER.c.body))]
    finally:
        store.engine.dispose()
    if not verdict.sound:
        outcome.wrong.append(f"round {outcome.rounds}: {verdict.said}")
    there = {json.dumps({"kind": kind, **body}, sort_keys=True) for kind, body in kept}
    told = [line for path in sorted(folder.glob("*.*")) for line in path.read_text().splitlines(keepends=True)]
    lines = [line.rstrip("\n") for line in told if line.endswith("\n")]
    lost = [line for line in lines if line not in there]
    if lost:
        outcome.wrong.append(f"round {outcome.rounds}: {len(lost)} acknowledged rows are lost or altered: {lost[0]}")
    begun = len(verdict.begun)
    outcome.acknowledged, outcome.unacknowledged = len(lines), max(0, len(kept) - begun - len(lines))
    outcome.lags.append(verdict.lag)


def run(url: str, folder: Path, rounds: int, workers: int, seed: int, hasty: bool = False) -> Outcome:
    """So many rounds on one log, which is checked after each."""
    chance, outcome, head, notes = random.Random(seed), Outcome(), folder / "head", folder / "acknowledged"
    notes.mkdir(parents=True)
    store = Store(url)
    LEDGER.drop(store.engine, checkfirst=True)
    LEDGER.create(store.engine)
    store.engine.dispose()
    for number in range(rounds):
        crash(url, head, notes, number, workers, chance, hasty)
        outcome.rounds += 1
        checked(url, head, notes, outcome)
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", default="", help="a database of its own; SQLite in a new folder unless given")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hasty", action="store_true", help="acknowledge before the commit")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="genvet-crash-") as name:
        url = given.url or f"sqlite:///{name}/genvet.db"
        outcome = run(url, Path(name) / "log", given.rounds, given.workers, given.seed, given.hasty)
    return outcome.code()


if __name__ == "__main__":
    sys.exit(main())
