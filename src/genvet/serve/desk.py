"""What an operator sees: how the service is, who has spent what, what waits for a person, and what stood out lately."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from torch import Tensor

from genvet.core.errors import GenVetError
from genvet.files.pictures import png
from genvet.files.sounds import wav
from genvet.serve.ledger import Ledger, Row
from genvet.serve.reviews import Reviews
from genvet.serve.store import Store

CLIENTS, QUEUE, FINDINGS, LOOKED = 50, 12, 20, 400
"""Clients, held images and findings on the page; rows of the audit log that findings are looked for in."""
PICTURES = 4
"""Of one query's images."""
PLAIN = "answer"
"""The kind of the rows that tell of answers: findings where something was kept back."""
KEPT_BACK = ("blocked", "held")
TOLD_APART = {
    "kind",
    "by",
    "mark",
    "place",
    "asked",
    "charged",
    "request",
    "path",
    "hold",
    "sha256",
    "answered",
    "kept",
}


@dataclass(frozen=True)
class Account:
    """What one client has spent."""

    name: str
    role: str
    used: int
    budget: int | None
    rate: float | None
    revoked: bool

    @property
    def spent(self) -> float | None:
        """The share of the budget; none without one."""
        return None if self.budget is None else self.used / max(1, self.budget)


@dataclass(frozen=True)
class Picture:
    """One held query, as the page shows it."""

    id: int
    client: str
    at: str
    why: str
    images: tuple[str, ...]
    """As data: addresses."""
    sound: bool
    more: int


@dataclass(frozen=True)
class Noted:
    """One row of the audit log that stands out."""

    id: int
    at: str
    kind: str
    who: str
    said: str


@dataclass(frozen=True, eq=False)
class Desk:
    """What the page is made of."""

    store: Store
    reviews: Reviews
    ledger: Ledger
    about: Mapping[str, str]
    """What is served, and how: names and values."""
    rate: int = 16_000
    """Samples a second, where sounds are served."""

    def log(self) -> tuple[bool, str]:
        """Whether the audit log follows on its head, and in words."""
        try:
            self.ledger.settle()
            return True, f"{self.ledger.witness.read().count} rows; the last one is witnessed by the head."
        except GenVetError as error:
            return False, error.message

    def accounts(self) -> list[Account]:
        """All clients: who has the least left comes first, who was revoked comes last."""
        every = [Account(c.name, c.role, c.used, c.budget, c.rate, c.revoked is not None) for c in self.store.clients()]
        return sorted(every, key=lambda a: (a.revoked, 1 if a.spent is None else -a.spent, a.name))

    def queue(self) -> list[Picture]:
        """The first held images."""
        names = {c.id: c.name for c in self.store.clients()}
        return [
            Picture(
                id=held.id,
                client=names.get(held.client, "a client that is gone"),
                at=_time(held.at),
                why=held.why,
                images=tuple(_shown(x, self.rate) for x in held.x[:PICTURES]),
                sound=held.x.ndim == 3,
                more=max(0, len(held.x) - PICTURES),
            )
            for held in self.reviews.waiting(QUEUE)
        ]

    def findings(self) -> list[Noted]:
        """The latest rows of the audit log that tell of more than answers."""
        return list(_standing_out(self.ledger.latest(LOOKED)))[:FINDINGS]


def _standing_out(rows: list[Row]) -> Iterator[Noted]:
    for row in rows:
        try:
            body = dict(row.said)
        except (ValueError, TypeError):  # a row that was tampered with may hold anything
            body = {"unreadable": row.body[:200]}
        if row.kind != PLAIN or any(body.get(name) for name in KEPT_BACK):
            who = str(body.get("by") or body.get("client") or "")
            apart = TOLD_APART | ({"client"} if "by" not in body else set())
            said = ", ".join(f"{key} {value}" for key, value in body.items() if key not in apart)
            asked = f" of {body['asked']}" if row.kind == PLAIN and "asked" in body else ""
            yield Noted(row.id, row.at[:19].replace("T", " "), row.kind, who, said + asked)


def _shown(x: Tensor, rate: int) -> str:
    kind, data = ("audio/wav", wav(x, rate)) if x.ndim == 2 else ("image/png", png(x))
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
