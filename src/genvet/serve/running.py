"""The service in a process: a socket, uvicorn on it, and an end in which what was accepted is answered."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import ClassVar

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from genvet.core.errors import BadInput
from genvet.core.printable import printable

IDLE = 75
"""Seconds for which a connection may be silent after an answer."""
PROMPT = 20.0
"""Seconds for which headers are waited for, from the connection or from their first byte."""
GRACE = 5.0
"""Seconds that whoever waits for a request leaves to the service to say so itself."""


@dataclass(frozen=True)
class Certificate:
    """What lets clients talk to the service in secret."""

    certificate: Path
    key: Path


def listening(host: str, port: int) -> socket.socket:
    """A socket that clients can connect to; raises BadInput where there is none to be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # By its protocol, asyncio knows that small writes are not to be held back (TCP_NODELAY): else an answer, which is
    # written in two, waits 40 ms for the client's acknowledgement of the first.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(2048)
    except OSError as error:
        found.close()
        reason = printable(error.strerror or error, 100)
        raise BadInput(f"cannot listen on {printable(host, 60)}, port {port}: {reason}") from None
    return found


def address(bound: socket.socket, secret: bool = False) -> str:
    """Where clients find it."""
    host, port = bound.getsockname()[:2]
    return f"http{'s' * secret}://{f'[{host}]' if ':' in host else host}:{port}"


def run(app: FastAPI, bound: socket.socket, seconds: float, certificate: Certificate | None = None) -> None:
    """Serve until a signal comes; then take nothing more, and answer what was accepted within `seconds`."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn raises them again at its end, which then is none of ours
    _server(app, seconds, certificate).run(sockets=[bound])


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """The same in a thread, on any free port of this machine: gives the address, and ends in order."""
    bound = listening("127.0.0.1", 0)
    server = _server(app, 10)
    thread = Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        yield address(bound)
    finally:
        server.should_exit = True
        thread.join()
        bound.close()


class Prompt(H11Protocol):
    """HTTP/1.1 for strangers: who begins a request and never ends it does not keep the connection.

    Uvicorn's own clock runs between an answer and the next byte alone, so that a byte now and then would stop it.
    """

    body: ClassVar[float]
    """Seconds for which a body is waited for, whether anybody reads it or not."""
    _part: object = None
    """Of a request: what the clock runs for."""
    _overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._waits()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._waits()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _waits(self) -> None:
        """A clock for the headers, and another for the body; none where nothing is to come."""
        if self.conn.their_state is self._part:
            return
        self._stop()
        self._part = self.conn.their_state
        seconds = PROMPT if self._part is h11.IDLE else self.body if self._part is h11.SEND_BODY else None
        if seconds is not None:
            self._overdue = self.loop.call_later(seconds, self.transport.abort)

    def _stop(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None


def _server(app: FastAPI, seconds: float, certificate: Certificate | None = None) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=type("Prompt", (Prompt,), {"body": seconds + GRACE}),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nobody may tell us who asks but the key
            timeout_keep_alive=IDLE,
            timeout_graceful_shutdown=int(seconds + GRACE),
            ssl_certfile=certificate.certificate if certificate else None,
            ssl_keyfile=certificate.key if certificate else None,
        )
    )
