"""Who may ask: keys of 256 random bits, shown once; the database holds their SHA-256 and no more."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Any, Literal

from sqlalchemy import Row, insert, update
from sqlalchemy.exc import IntegrityError

from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.serve.store import CLIENTS, Store

Role = Literal["client", "operator"]
"""A client asks; an operator also sees the page, the metrics and the review queue."""
MARK = "genvet_"
"""What keys begin with, so that those who look for leaked keys find them."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")


def digest(key: str) -> str:
    """The SHA-256 under which a key is known. No salt and no slowness: 256 random bits cannot be guessed."""
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()


def added(
    store: Store,
    name: str,
    *,
    budget: int | None = None,
    rate: float | None = None,
    burst: float | None = None,
    role: Role = "client",
) -> str:
    """A new client's key, which nobody can read again; raises BadInput where the name is taken or no name."""
    if not NAME.fullmatch(name):
        raise BadInput("no name for a client", expected="letters, digits and ._@-, at most 63", got=printable(name, 80))
    if (budget is not None and budget < 0) or (rate is not None and rate <= 0) or (burst is not None and burst < 1):
        raise BadInput("a budget is 0 or more, a rate more than 0, a burst 1 or more")
    key = MARK + secrets.token_urlsafe(32)
    bucket = None if rate is None else max(burst or rate, 1.0)
    values = {"name": name, "hash": digest(key), "role": role, "budget": budget, "rate": rate, "burst": bucket}
    try:
        with store.writing() as connection:
            new = insert(CLIENTS).values(**values, tokens=bucket or 0.0, made=store.now, filled=store.now)
            connection.execute(new)
    except IntegrityError:
        raise BadInput(f"there is a client {printable(name)} already", hint="revoke it, or take another name") from None
    return key


def revoked(store: Store, name: str) -> None:
    """Takes effect with the next request; raises BadInput where there is no such client, or it was revoked."""
    with store.writing() as connection:
        gone = update(CLIENTS).where(CLIENTS.c.name == name, CLIENTS.c.revoked.is_(None)).values(revoked=store.now)
        if connection.execute(gone).rowcount != 1:
            raise BadInput(f"no client {printable(name, 80)} holds a key", hint="genvet serve keys list names them")


def told(row: Row[Any]) -> dict[str, Any]:
    """One client for a reader: everything but the hash of its key."""
    names = ("name", "role", "used", "budget", "rate", "burst")
    return {name: getattr(row, name) for name in names} | {"revoked": row.revoked is not None}
