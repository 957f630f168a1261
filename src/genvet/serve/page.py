"""The operators' page: forms without a script, for a keyboard as well as a mouse.

Signing in trades a key for a cookie, which the browser sends to this site alone. HTTP Basic would do with less, but its
password goes along with every request, whoever wrote the form, and nobody can sign out.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Callable, Coroutine
from functools import cache
from importlib.resources import files
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from genvet.core.errors import GenVetError
from genvet.core.printable import printable
from genvet.serve import bodies, keys, sessions
from genvet.serve.desk import CLIENTS, Desk
from genvet.serve.problems import Problem
from genvet.serve.sessions import LASTING, Session
from genvet.serve.tampering import verify

PLACE, COOKIE = "/desk", "genvet_desk"
LARGEST = 8 << 10
"""Bytes of a form."""
SECONDS = 60.0
"""For which a form is waited for."""
LONGEST = 1 << 24
"""Characters of one value on a page: images are."""
FORM = "application/x-www-form-urlencoded"
TOLD = {
    "approved": "The image was approved. Its client can collect it.",
    "rejected": "The image was rejected, and is erased.",
    "out": "You are signed out.",
}
"""What the page says after a form was sent, by the word in its address."""


def router(desk: Desk) -> APIRouter:
    """The page's routes, for the service to take in."""
    routes, looking = APIRouter(prefix=PLACE, include_in_schema=False, route_class=ForPeople), Lock()

    @routes.get("")
    async def page(request: Request, told: str = "") -> Response:
        """The whole page; for whoever is not signed in, a place to do that."""
        session = await _session(desk, request)
        if session is None:
            return _written("desk_key.html", 401, told=TOLD.get(told, "") if told == "out" else "")
        return await asyncio.to_thread(_shown, desk, session, TOLD.get(told, ""))

    @routes.post("/in")
    async def enter(request: Request) -> Response:
        """Trade an operator's key for a cookie."""
        key = (await _form(request)).get("key", "").strip()
        client = await asyncio.to_thread(desk.store.known, keys.digest(key))
        if client is None or client.role != "operator":
            return _written("desk_key.html", 401, wrong="This is no operator's key, or it was revoked.")
        word = await asyncio.to_thread(sessions.begun, desk.store, client)
        answer = RedirectResponse(PLACE, 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, word, int(LASTING), path=PLACE, secure=secure, httponly=True, samesite="strict")
        return answer

    @routes.post("/out")
    async def leave(request: Request) -> Response:
        """Sign out."""
        await _signed(desk, request)
        await asyncio.to_thread(sessions.ended, desk.store, request.cookies[COOKIE])
        answer = RedirectResponse(f"{PLACE}?told=out", 303)
        answer.delete_cookie(COOKIE, path=PLACE)
        return answer

    @routes.post("/held/{number}")
    async def decide(number: int, request: Request) -> Response:
        """Approve or reject one held image."""
        session, form = await _signed(desk, request)
        decision = form.get("decision", "")
        if decision not in ("approved", "rejected") or not 0 < number < 1 << 53:
            raise Problem(422, "approve it, or reject it")
        await asyncio.to_thread(desk.reviews.decide, number, decision, session.name)  # type: ignore[arg-type]
        return RedirectResponse(f"{PLACE}?told={decision}#queue", 303)

    @routes.post("/log")
    async def look(request: Request) -> Response:
        """Verify the whole audit log."""
        session, _ = await _signed(desk, request)
        if not looking.acquire(blocking=False):
            raise Problem(409, "the audit log is being verified already")
        try:
            found = await asyncio.to_thread(_verified, desk)
        finally:
            looking.release()
        return await asyncio.to_thread(_shown, desk, session, "", found)

    return routes


class ForPeople(APIRoute):
    """A route whose refusals are pages too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handled = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handled(request)
            except Problem as problem:
                return _written("desk_problem.html", problem.status, problem=problem)

        return told


def _shown(desk: Desk, session: Session, told: str, found: tuple[bool, str] | None = None) -> Response:
    accounts = desk.accounts()
    return _written(
        "desk.html",
        200,
        session=session,
        about=desk.about,
        log=desk.log(),
        found=found,
        accounts=accounts[:CLIENTS],
        more=max(0, len(accounts) - CLIENTS),
        queue=desk.queue(),
        waiting=desk.reviews.count(),
        findings=desk.findings(),
        told=told,
    )


def _verified(desk: Desk) -> tuple[bool, str]:
    try:
        found = verify(desk.store.engine, desk.ledger.key, desk.ledger.witness.path)
    except GenVetError as error:
        return False, error.message
    return found.sound, str(found)


async def _session(desk: Desk, request: Request) -> Session | None:
    word = request.cookies.get(COOKIE)
    return await asyncio.to_thread(sessions.known, desk.store, word) if word else None


async def _signed(desk: Desk, request: Request) -> tuple[Session, dict[str, str]]:
    """Who is signed in, and what this page's own form holds; raises Problem for any other."""
    session = await _session(desk, request)
    if session is None:
        raise Problem(401, "you are not signed in, or no longer")
    form = await _form(request)
    if not hmac.compare_digest(form.get("form", "").encode(), session.form.encode()):
        raise Problem(403, "this form is none of this page's, or is of an earlier session")
    return session, form


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form that this very site sent."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    ours = origin is None or urlsplit(origin).netloc == request.headers.get("host", "")
    # A browser that says which site it is says so whatever the referrer policy; Origin may then be "null".
    if site not in ("same-origin", "none") if site else not ours:
        raise Problem(403, "another site may not send this form")
    body = await bodies.read(request, FORM, LARGEST, SECONDS)
    try:
        fields = parse_qs(body.decode(), strict_parsing=True, max_num_fields=10)
    except ValueError:
        raise Problem(400, "this form does not parse") from None
    return {name: values[-1] for name, values in fields.items()}


def _written(name: str, status: int, **what: Any) -> Response:
    """A page by its template; nothing on it is loaded from anywhere, and nothing runs."""
    style = Markup(_style())  # noqa: S704 - our own file
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; media-src data:; style-src 'sha256-{digest}'; "
    policy += "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    text = _pages().get_template(name).render(style=style, place=PLACE, **what)
    return HTMLResponse(text, status, headers={"Content-Security-Policy": policy, "X-Frame-Options": "DENY"})


@cache
def _pages() -> Environment:
    """Autoescape on, and every value goes through `printable` on its way into a page."""
    return Environment(
        loader=PackageLoader("genvet.serve", "static"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else printable(value, LONGEST),
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _style() -> str:
    """The reports' own style, and what forms add to it."""
    parts = (files("genvet.page") / "style.css", files("genvet.serve") / "static" / "desk.css")
    return "\n".join(part.read_text(encoding="utf-8") for part in parts)
