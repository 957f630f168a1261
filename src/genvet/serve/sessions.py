"""Operators who are signed in to the page: a cookie, of which the database holds the SHA-256 and no more."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import Column, Double, Integer, String, Table, delete, insert, select

from genvet.serve.keys import digest
from genvet.serve.store import CLIENTS, METADATA, Client, Store

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("hash", String(64), primary_key=True),
    Column("client", Integer, nullable=False),
    Column("form", String(43), nullable=False),  # what every form has to send back
    Column("until", Double, nullable=False),
)
LASTING = 8 * 3600.0
"""Seconds, whatever is done meanwhile."""


@dataclass(frozen=True)
class Session:
    """Who is signed in, and the word that their forms carry: no other site can know it."""

    name: str
    form: str


def begun(store: Store, client: Client) -> str:
    """A new session's word for the cookie."""
    word = secrets.token_urlsafe(32)
    with store.writing() as connection:
        connection.execute(delete(SESSIONS).where(SESSIONS.c.until < store.now))
        values = {"hash": digest(word), "client": client.id, "form": secrets.token_urlsafe(32)}
        connection.execute(insert(SESSIONS).values(**values, until=store.now + LASTING))
    return word


def known(store: Store, word: str) -> Session | None:
    """The session of a cookie; none where it ended, or its key was revoked or is no operator's."""
    c, s = CLIENTS.c, SESSIONS.c
    found = select(c.name, s.form).join(CLIENTS, c.id == s.client)
    found = found.where(s.hash == digest(word), s.until >= store.now, c.revoked.is_(None), c.role == "operator")
    with store.reading() as connection:
        row = connection.execute(found).one_or_none()
    return None if row is None else Session(row.name, row.form)


def ended(store: Store, word: str) -> None:
    """Sign out."""
    with store.writing() as connection:
        connection.execute(delete(SESSIONS).where(SESSIONS.c.hash == digest(word)))
