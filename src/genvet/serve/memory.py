"""What clients asked for lately: noise is averaged away by asking again, and a search asks for neighbours.

A worker remembers what it is asked at once. What other workers were asked it reads in the database, where every request
leaves its traces with its charge: a client is seen alike by all of them, and by one that starts anew. What is under way
elsewhere at that moment is not known yet.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from scipy import stats
from sqlalchemy import BigInteger, Column, Connection, Integer, LargeBinary, String, Table, delete, func, insert, select
from torch import Tensor
from torch.nn.functional import normalize

from genvet.core.latent import Latent
from genvet.serve.policy import Latents
from genvet.serve.store import METADATA, Store

ASKED = Table(
    "asked",
    METADATA,
    Column("client", Integer, primary_key=True),
    Column("serial", BigInteger, primary_key=True, autoincrement=False),  # counts the client's requests
    Column("key", String(64), nullable=False),  # of the charge
    Column("n", Integer, nullable=False),
    Column("traces", LargeBinary, nullable=False),
)
"""One row for each request whose latents are remembered."""
CLIENTS = 4096
"""Clients whose latents a worker has at hand."""
ALIKE = 1e-4
"""Odds that a latent of the prior is taken for a neighbour of any that are remembered."""
SAME = 3
"""Decimals in which two latents agree that are one: noise by the latent would begin anew behind them."""
NAMED = 16
"""Bytes of a latent's name."""
TIDY = 64
"""Requests after which what is older than the memory is dropped."""
Remember = Callable[[Connection], None]
"""Leaves the traces of a request, in the transaction that charges it."""


@dataclass(frozen=True, eq=False)
class Traces:
    """What is remembered of latents."""

    names: tuple[bytes, ...]
    """The same for latents that are one."""
    directions: Tensor
    """(n, dim), of unit length to three decimals."""

    @classmethod
    def of(cls, z: Tensor) -> Traces:
        """Of latents (n, dim)."""
        rounded = z.double().round(decimals=SAME) + 0.0
        names = tuple(hashlib.sha256(row.numpy().tobytes()).digest()[:NAMED] for row in rounded)
        return cls(names, normalize(z.float(), dim=1).half().float())

    def packed(self, fits: Tensor) -> bytes:
        """With whether each was answered, (n,), as bytes that follow on each other."""
        half = self.directions.numpy().astype("<f2")
        return bytes(fits.tolist()) + b"".join(self.names) + half.tobytes()

    @classmethod
    def unpacked(cls, data: bytes, n: int, dim: int) -> tuple[Traces, Tensor] | None:
        """The same again; None for those of a model with other latents."""
        if len(data) != n * (1 + NAMED + 2 * dim):
            return None
        fits, names, rows = data[:n], data[n : n + n * NAMED], data[n + n * NAMED :]
        split = tuple(names[i * NAMED : (i + 1) * NAMED] for i in range(n))
        directions = np.frombuffer(rows, "<f2").reshape(n, dim).astype(np.float32)
        return cls(split, torch.from_numpy(directions)), torch.tensor(list(fits), dtype=torch.bool)


class Seen:
    """What one client asked for lately: how often each latent, and how many that lay near earlier ones."""

    def __init__(self, latent: Latent, memory: int) -> None:
        d = latent.dim
        # (1 + cosine) / 2 of two directions drawn at random is Beta((d-1)/2, (d-1)/2).
        odds = ALIKE / memory
        self.near = float(2 * stats.beta.isf(odds, (d - 1) / 2, (d - 1) / 2) - 1) if d > 1 else 1.0
        self.memory, self.next, self.filled = memory, 0, 0
        self.directions = torch.zeros(memory, d)
        self.names: deque[bytes] = deque()
        self.times: Counter[bytes] = Counter()
        self.close: deque[bool] = deque(maxlen=memory)
        self.serial = 0
        """The last request that was read in the database."""
        self.mine: OrderedDict[str, None] = OrderedDict()
        """Requests of this worker's that were not read there yet, by the keys of their charges."""
        self.lock = Lock()

    def take(self, traces: Traces, repeats: int | None = None, neighbours: int | None = None) -> Tensor:
        """Whether each of these may be answered, (n,); all of them are remembered."""
        fits = torch.ones(len(traces.names), dtype=torch.bool)
        for i, (name, direction) in enumerate(zip(traces.names, traces.directions, strict=True)):
            self._noted(name)
            close = bool(((self.directions[: self.filled] @ direction) > self.near).any()) and self.times[name] == 1
            self.close.append(close)
            self.directions[self.next] = direction
            self.next, self.filled = (self.next + 1) % self.memory, min(self.filled + 1, self.memory)
            again = repeats is not None and self.times[name] > repeats
            fits[i] = not again and not (close and neighbours is not None and sum(self.close) > neighbours)
        return fits

    def own(self, key: str) -> None:
        """This worker has taken the request of this charge."""
        self.mine[key] = None
        while len(self.mine) > self.memory:
            self.mine.popitem(last=False)

    def _noted(self, name: bytes) -> None:
        if len(self.names) == self.memory:
            gone = self.names.popleft()
            self.times[gone] -= 1
            if not self.times[gone]:
                del self.times[gone]
        self.names.append(name)
        self.times[name] += 1


class Memory:
    """What all clients asked for lately, shared by all workers and machines; safe to be asked by several threads."""

    def __init__(self, latent: Latent, how: Latents, store: Store) -> None:
        self._latent, self._how, self._store = latent, how, store
        self.needed = how.repeats is not None or how.neighbours is not None
        """Whether the policy wants to know of it at all."""
        self._seen: OrderedDict[int, Seen] = OrderedDict()
        self._lock = Lock()

    def judged(self, client: int, key: str, z: Tensor) -> tuple[Tensor, Remember]:
        """Whether each latent (n, dim) may be answered, (n,), and what is to stand with the charge of this key."""
        left, seen = Traces.of(z), self._of(client)
        with seen.lock:
            self._read(client, seen)
            fits = seen.take(left, self._how.repeats, self._how.neighbours)
            seen.own(key)
        return fits, lambda connection: self._leave(connection, client, key, left.packed(fits), len(z))

    def before(self, client: int, key: str, n: int) -> Tensor:
        """How it was judged when it was charged: a request that is sent again is answered as it was, (n,)."""
        last = select(ASKED).where(ASKED.c.client == client, ASKED.c.key == key).order_by(ASKED.c.serial.desc())
        with self._store.reading() as connection:
            row = connection.execute(last.limit(1)).one_or_none()
        known = None if row is None or row.n != n else Traces.unpacked(row.traces, n, self._latent.dim)
        return torch.ones(n, dtype=torch.bool) if known is None else known[1]

    def _read(self, client: int, seen: Seen) -> None:
        """What other workers were asked since."""
        newer = select(ASKED).where(ASKED.c.client == client, ASKED.c.serial > seen.serial).order_by(ASKED.c.serial)
        with self._store.reading() as connection:
            rows = connection.execute(newer).all()
        for row in rows:
            seen.serial = row.serial
            if row.key in seen.mine:
                del seen.mine[row.key]
            elif known := Traces.unpacked(row.traces, row.n, self._latent.dim):
                seen.take(known[0])

    def _leave(self, connection: Connection, client: int, key: str, traces: bytes, n: int) -> None:
        """The charge before it has locked the client's row: no two requests get one number."""
        mine = ASKED.c.client == client
        serial = 1 + (connection.execute(select(func.max(ASKED.c.serial)).where(mine)).scalar_one() or 0)
        connection.execute(insert(ASKED).values(client=client, serial=serial, key=key, n=n, traces=traces))
        if serial % TIDY:
            return
        newest = select(ASKED.c.serial, ASKED.c.n).where(mine).order_by(ASKED.c.serial.desc())
        kept = 0
        for row in connection.execute(newest).all():
            if kept >= self._how.memory:
                connection.execute(delete(ASKED).where(mine, ASKED.c.serial <= row.serial))
                return
            kept += row.n

    def _of(self, client: int) -> Seen:
        with self._lock:
            seen = self._seen.pop(client, None) or Seen(self._latent, self._how.memory)
            self._seen[client] = seen
            while len(self._seen) > CLIENTS:
                self._seen.popitem(last=False)
            return seen
