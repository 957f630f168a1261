"""What the service refuses, as the status of HTTP and words for whoever asked: never a path, never a stack."""

from __future__ import annotations

import json
import math
from http import HTTPStatus
from typing import Any

from genvet.core.errors import AccessDenied, BadInput, BudgetSpent, GenVetError, Refused, Unsupported
from genvet.core.printable import printable
from genvet.serve.witness import Tampered

KIND = "application/problem+json"
AWAY, FULL = 5, 30
"""Seconds after which to try again where the database cannot be reached, and where its disk is full."""
STATUS: dict[type[GenVetError], int] = {
    BudgetSpent: 402,
    Refused: 451,
    AccessDenied: 403,
    Unsupported: 422,
}


class Problem(Exception):
    """A request that is not answered."""

    def __init__(self, status: int, detail: str, *, wait: float | None = None, hint: str = "") -> None:
        super().__init__(detail)
        self.status, self.detail, self.wait, self.hint = status, detail, wait, hint

    @property
    def headers(self) -> dict[str, str]:
        """What goes beside the body: how long to wait, and how to say who asks."""
        found = {} if self.wait is None else {"Retry-After": str(max(1, math.ceil(self.wait)))}
        return found | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})

    def body(self) -> bytes:
        """As problem+json.

        >>> Problem(404, "there is nothing here").body()
        b'{"type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is nothing here"}'
        """
        title = HTTPStatus(self.status).phrase
        told: dict[str, Any] = {"type": "about:blank", "title": title, "status": self.status}
        told["detail"] = printable(self.detail, 400)
        return json.dumps(told | ({"hint": printable(self.hint, 400)} if self.hint else {})).encode()


def nobody() -> Problem:
    """The key is missing, unknown or revoked: which of them, nobody is told."""
    return Problem(401, "this needs a key that is valid", hint="Authorization: Bearer KEY")


def spent(left: int) -> Problem:
    return Problem(402, f"the budget allows {left} more queries", hint="ask for fewer, or for a larger budget")


def too_fast(wait: float) -> Problem:
    return Problem(429, "more queries than the rate allows", wait=wait)


def away() -> Problem:
    return Problem(503, "the database cannot be reached; nothing was charged", wait=AWAY)


def unsure() -> Problem:
    told = "the database went away at the last moment; whether this stands, and was charged, is not known"
    return Problem(503, told, hint="the same request under the same Idempotency-Key is charged once", wait=AWAY)


def full() -> Problem:
    return Problem(503, "the disk of the service is full; nothing was charged", wait=FULL)


def busy(wait: float = 1.0) -> Problem:
    return Problem(503, "too many requests wait already; nothing was charged", wait=wait)


def at_once(most: int) -> Problem:
    return Problem(429, f"{most} of this client's requests wait already; nothing was charged", wait=1.0)


def told(error: GenVetError) -> Problem:
    """An error of ours, which is written for people, as a problem; of our own files clients are told nothing.

    >>> told(Tampered("the head /srv/genvet/ledger.head is gone")).detail
    'the audit log is not as it was left: nothing is answered until somebody has looked'
    """
    if isinstance(error, Tampered):
        return Problem(503, "the audit log is not as it was left: nothing is answered until somebody has looked")
    kinds = (status for kind, status in STATUS.items() if isinstance(error, kind))
    return Problem(next(kinds, 422 if isinstance(error, BadInput) else 500), error.message, hint=error.hint)
