"""Images that a person decides about: kept in the database until somebody did, and collected by the client who waits.

A rejected image is erased with the decision: what it resembles is what should not lie about. An approved one goes out
as it was made, to the bit.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from safetensors.torch import load as unpacked
from safetensors.torch import save as packed
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    func,
    insert,
    select,
    update,
)
from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.core.queries import STATUS, Reply
from genvet.serve.problems import Problem
from genvet.serve.store import CLIENTS, METADATA, Log, Store

HELD = Table(
    "held",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("hold", String(43), nullable=False, index=True),  # what the client asks for it by
    Column("place", Integer, nullable=False),  # among the held queries of its request
    Column("client", Integer, nullable=False),
    Column("at", Double, nullable=False),
    Column("why", String(400), nullable=False),
    Column("images", LargeBinary),  # safetensors; none once they are erased
    Column("digest", String(64), nullable=False),  # SHA-256 of the same
    Column("decision", String(16), index=True),  # none: a person still has to
    Column("by", String(100)),
    Column("decided", Double),
)
"""One row for each held query."""
NOTED = tuple(HELD.c[name] for name in ("id", "hold", "place", "client", "digest", "decision"))
"""What the audit log is told of, which is all but the images."""

Decision = Literal["approved", "rejected", "expired"]
ANSWERS: dict[Decision | None, int] = {
    None: STATUS.index("held"),
    "approved": STATUS.index("answered"),
    "rejected": STATUS.index("blocked"),
    "expired": STATUS.index("blocked"),
}
"""What a client is told of a held query."""
MOST = 1000
"""Queries that wait for a person at once; while there are as many, no more are held."""
LARGEST = 16 << 20
"""Bytes of the images of one query."""
PATIENCE, KEPT = 14 * 86400.0, 7 * 86400.0
"""Seconds that an image waits for a person before it expires; and that an approved one waits for its client."""


@dataclass(frozen=True, eq=False)
class Held:
    """One query that waits for a person."""

    id: int
    client: int
    at: float
    why: str
    x: Tensor
    """All that would come back for it, (m, *shape)."""


class Reviews:
    """The queue, shared by all workers and machines."""

    def __init__(self, store: Store, log: Log | None = None, *, most: int = MOST) -> None:
        self.store, self.log, self.most = store, log, most

    def hold(self, connection: Connection, client: int, images: Sequence[Tensor], why: Sequence[str]) -> str:
        """Keep the images (m, *shape) of each held query of a request, within the caller's transaction.

        Gives the name by which the client collects them; raises Problem where too many wait already.
        """
        waiting = connection.execute(select(func.count()).where(HELD.c.decision.is_(None))).scalar_one()
        if waiting + len(images) > self.most:
            raise Problem(503, "too many images wait for a person already; nothing was charged", wait=60)
        hold, now, rows = secrets.token_urlsafe(32), self._now(connection), list[dict[str, Any]]()
        for place, (x, reason) in enumerate(zip(images, why, strict=True)):
            data = packed({"x": x.detach().float().cpu().contiguous()})
            if len(data) > LARGEST:
                raise BadInput("too much to hold", expected=f"{LARGEST} bytes a query", got=str(len(data)))
            digest = hashlib.sha256(data).hexdigest()
            rows.append({"hold": hold, "place": place, "client": client, "why": printable(reason, 390), "images": data})
            rows[-1] |= {"digest": digest, "at": now}
        if rows:
            connection.execute(insert(HELD), rows)
        return hold

    def collect(self, hold: str, client: int, shape: tuple[int, ...]) -> Reply:
        """What became of a request's held queries, in their order; raises Problem where this client has none such.

        `shape` is that of one image, for where there are none yet.
        """
        with self.store.reading() as connection:
            mine = select(HELD).where(HELD.c.hold == hold, HELD.c.client == client).order_by(HELD.c.place)
            rows = connection.execute(mine).all()
        if not rows:
            raise Problem(404, "nothing is held under this name")
        images = [_images(row) if row.decision == "approved" else None for row in rows]
        status = [
            ANSWERS["expired"] if row.decision == "approved" and x is None else ANSWERS[row.decision]
            for row, x in zip(rows, images, strict=True)
        ]
        there = [(i, x) for i, x in enumerate(images) if x is not None]
        owner = [torch.full((len(x),), i) for i, x in there]
        return Reply(
            torch.cat([x for _, x in there]) if there else torch.empty(0, *shape),
            torch.cat(owner) if owner else torch.empty(0, dtype=torch.long),
            torch.tensor(status),
        )

    def waiting(self, count: int = 12, after: int = 0) -> list[Held]:
        """The first queries that wait, beyond the number `after`."""
        with self.store.reading() as connection:
            first = select(HELD).where(HELD.c.decision.is_(None), HELD.c.id > after).order_by(HELD.c.id).limit(count)
            rows = connection.execute(first).all()
        found = [(row, _images(row)) for row in rows]
        return [Held(row.id, row.client, row.at, row.why, x) for row, x in found if x is not None]

    def count(self) -> int:
        """How many wait."""
        with self.store.reading() as connection:
            return int(connection.execute(select(func.count()).where(HELD.c.decision.is_(None))).scalar_one())

    def decide(self, number: int, decision: Literal["approved", "rejected"], by: str) -> None:
        """Once and for all; raises Problem where there is no such query, or somebody was faster."""
        with self.store.writing() as connection:
            mine = HELD.c.id == number
            values: dict[str, Any] = {"decision": decision, "by": by, "decided": self._now(connection)}
            values |= {"images": None} if decision == "rejected" else {}
            open_one = update(HELD).where(mine, HELD.c.decision.is_(None)).values(**values)
            if connection.execute(open_one).rowcount != 1:
                before = connection.execute(select(HELD.c.decision, HELD.c.by).where(mine)).one_or_none()
                if before is None:
                    raise Problem(404, "there is no such image")
                raise Problem(409, f"it was {before.decision} already, by {before.by or 'nobody'}")
            self._note(connection, connection.execute(select(*NOTED).where(mine)).all(), by)
        if self.log is not None:
            self.store.witnessed(self.log)

    def forget(self) -> int:
        """Let what waited too long expire, and erase what was not collected in time; gives how many expired."""
        with self.store.writing() as connection:
            now = self._now(connection)
            late = update(HELD).where(HELD.c.decision.is_(None), HELD.c.at < now - PATIENCE)
            gone = late.values(decision="expired", images=None, decided=now).returning(*NOTED)
            expired = sorted(connection.execute(gone).all(), key=lambda row: row.id)
            old = update(HELD).where(HELD.c.decided < now - KEPT, HELD.c.images.is_not(None))
            connection.execute(old.values(images=None))
            self._note(connection, expired, "")
        if self.log is not None and expired:
            self.store.witnessed(self.log)
        return len(expired)

    def _note(self, connection: Connection, rows: Sequence[Row[Any]], by: str) -> None:
        """Each decision, in the audit log, in the same transaction."""
        if self.log is None or not rows:
            return
        known = select(CLIENTS.c.id, CLIENTS.c.name).where(CLIENTS.c.id.in_({row.client for row in rows}))
        names = {row.id: row.name for row in connection.execute(known)}
        told = [{"hold": row.hold, "place": row.place, "sha256": row.digest, "by": by} for row in rows]
        kinds = [{"kind": f"review.{row.decision}", "client": names.get(row.client, str(row.client))} for row in rows]
        self.log.append([one | kind for one, kind in zip(told, kinds, strict=True)], connection)

    def _now(self, connection: Connection) -> float:
        return float(connection.execute(select(self.store.now)).scalar_one())


def _images(row: Row[Any]) -> Tensor | None:
    return None if row.images is None else unpacked(bytes(row.images))["x"]
