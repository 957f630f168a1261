"""The service under kill -9: is every answer that came back paid for and in the audit log, once, after every crash?

    python -m benchmarks.crash_service                     100 rounds on SQLite, one worker
    python -m benchmarks.crash_service --rounds 20 --workers 2 --seed 7
    GENVET_DATABASE=postgresql://user@host/name python -m benchmarks.crash_service --workers 2

In each round, `genvet serve` starts with all that the rounds before left, clients ask it for images, and all of its
processes are killed at a random moment. What a client got no answer to, it asks for again in the next round, under the
same key. After each round, the log is verified whole, and held against what clients were answered and what their
budgets say; in the end, one row is altered, which has to be found. The database of `GENVET_DATABASE` is to be used for
nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import torch
from safetensors.torch import save as packed
from sqlalchemy import select, update

from benchmarks.bench_serve import apart
from benchmarks.crash_ledger import Crashes
from genvet.core.progress import track
from genvet.core.rng import Rng
from genvet.files.convert import save
from genvet.nets.build import fresh
from genvet.remote import BINARY
from genvet.serve import keys
from genvet.serve.home import Home
from genvet.serve.ledger import LEDGER
from genvet.serve.tampering import verify

POLICY = """
[latents]
source = "client"
"""
PATH = "/v1/images"
AT_ONCE = 4
"""Images in a request."""
LONGEST = 1.5
"""Seconds from the first answer of a round to the kill, at most."""
PATIENCE = 120.0


@dataclass
class Asker:
    """A client: its key, what it was answered, and what it still waits for."""

    name: str
    secret: str
    seed: int
    next: int = 0
    waiting: bool = False
    answered: list[str] = field(default_factory=list)
    """SHA-256 of each request that was answered, as the log has it."""
    again: int = 0
    """Requests that were sent again after a crash, and then answered."""

    def ask(self, url: str, killed: threading.Event, first: threading.Event) -> None:
        """One request after the other, until the service is gone."""
        with httpx.Client(timeout=PATIENCE, headers={"Authorization": f"Bearer {self.secret}"}) as client:
            while not killed.is_set():
                z = torch.randn(AT_ONCE, 8, generator=Rng(self.seed, str(self.next)).block())
                body, headers = (
                    packed({"z": z}),
                    {"Content-Type": BINARY, "Idempotency-Key": f"{self.name}.{self.next}"},
                )
                sent_before, self.waiting = self.waiting, True
                try:
                    answer = client.post(url + PATH, content=body, headers=headers)
                except httpx.TransportError:
                    return
                if answer.status_code != 200:
                    raise AssertionError(f"{answer.status_code}: {answer.text[:200]}")
                self.answered.append(hashlib.sha256(PATH.encode() + b"\0" + body).hexdigest())
                self.again += sent_before
                self.next, self.waiting = self.next + 1, False
                first.set()


@dataclass
class Outcome(Crashes):
    """What came of all rounds."""

    answered: int = 0
    again: int = 0
    ahead: int = 0
    """Requests that were paid for when the crash kept their answer back."""

    def __str__(self) -> str:
        return (
            f"{self.rounds} rounds, {self.answered} requests answered, {self.again} of them sent again after a crash; "
            f"{self.ahead} times the charge stood and the answer was lost; {self.ending}"
        )


def crash(folder: Path, askers: list[Asker], workers: int, chance: random.Random) -> list[str]:
    """A service that begins, answers, and is killed; what went wrong meanwhile."""
    killed, first, wrong = threading.Event(), threading.Event(), list[str]()

    def asking(asker: Asker, url: str) -> None:
        try:
            asker.ask(url, killed, first)
        except AssertionError as error:
            wrong.append(f"{asker.name}: {error}")

    with apart(folder, workers) as (url, group):
        threads = [threading.Thread(target=asking, args=(asker, url)) for asker in askers]
        for thread in threads:
            thread.start()
        if not first.wait(PATIENCE):
            wrong.append(f"no answer within {PATIENCE:g} s")
        time.sleep(chance.uniform(0, LONGEST))
        killed.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        for thread in threads:
            thread.join()
    return wrong


def checked(home: Home, askers: list[Asker], outcome: Outcome) -> None:
    """Hold the log and the budgets against what clients were answered."""
    store = home.store()
    try:
        verdict = verify(store.engine, home.key(), home.head)
        with store.reading() as connection:
            rows = connection.execute(select(LEDGER.c.body).where(LEDGER.c.kind == "answer")).scalars()
            bodies = [json.loads(body) for body in rows]
        used = {row.name: row.used for row in store.clients()}
    finally:
        store.engine.dispose()
    said = outcome.wrong.append
    if not verdict.sound:
        said(f"round {outcome.rounds}: {verdict.said}")
    charged = Counter[str]()
    for body in bodies:
        charged[body["request"]] += body["charged"]
    outcome.answered = sum(len(asker.answered) for asker in askers)
    outcome.again = sum(asker.again for asker in askers)
    lost = [name for asker in askers for name in asker.answered if charged[name] != AT_ONCE]
    if lost:
        said(f"round {outcome.rounds}: {len(lost)} answered requests are not charged once, such as {lost[0]}")
    for asker in askers:
        paid = sum(body["charged"] for body in bodies if body["client"] == asker.name)
        early = paid - AT_ONCE * len(asker.answered)
        if used[asker.name] != paid:
            said(f"round {outcome.rounds}: {asker.name} used {used[asker.name]}, and the log has {paid}")
        if early not in (0, AT_ONCE * asker.waiting):
            said(f"round {outcome.rounds}: {asker.name} was charged for {early} images more than it was answered")
        outcome.ahead += early > 0
    outcome.lags.append(verdict.lag)


def tampered(home: Home, chance: random.Random) -> str:
    """Alter one row behind the service's back; empty where that is found, and where."""
    store = home.store()
    try:
        with store.writing() as connection:
            every = list(connection.execute(select(LEDGER.c.id, LEDGER.c.body).where(LEDGER.c.kind == "answer")))
            row = chance.choice(every)
            body = json.dumps({**json.loads(row.body), "asked": 1})
            connection.execute(update(LEDGER).where(LEDGER.c.id == row.id).values(body=body))
        verdict = verify(store.engine, home.key(), home.head)
    finally:
        store.engine.dispose()
    found = verdict.done == "altered" and verdict.first == row.id
    return "" if found else f"row {row.id} was altered, and verify says: {verdict}"


def run(folder: Path, rounds: int, workers: int, clients: int, seed: int) -> Outcome:
    """So many rounds on one home, which is checked after each."""
    chance, outcome, home = random.Random(seed), Outcome(), Home(folder / "home")
    save(fresh("dcgan", {"size": 16, "channels": 1, "capacity": 2, "latent": 8}), folder / "m.safetensors", {})
    (folder / "policy.toml").write_text(POLICY)
    store, name = home.store(), f"crash{os.getpid()}"
    askers = [Asker(f"{name}.{i}", keys.added(store, f"{name}.{i}", budget=10**6), i) for i in range(clients)]
    store.engine.dispose()
    for number in track(range(rounds), rounds, "rounds"):
        outcome.rounds = number + 1
        outcome.wrong += crash(folder, askers, workers, chance)
        checked(home, askers, outcome)
    if said := tampered(home, chance):
        outcome.wrong.append(said)
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="genvet-crash-") as name:
        outcome = run(Path(name), given.rounds, given.workers, given.clients, given.seed)
    return outcome.code()


if __name__ == "__main__":
    sys.exit(main())
