"""How the service listens."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")

from fastapi import FastAPI, Request

from genvet.serve import running as module
from genvet.serve.running import listening, running


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_small_answers_are_not_held_back(host: str) -> None:
    """An answer goes out in two writes: with Nagle's algorithm, the second one waits for the client's delayed word."""
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")

    async def told() -> int:
        met = asyncio.get_running_loop().create_future()

        class Met(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                met.set_result(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

        bound = listening(host, 0)
        async with await asyncio.get_running_loop().create_server(Met, sock=bound):
            _, writer = await asyncio.open_connection(*bound.getsockname()[:2])
            writer.close()
            return int(await met)

    assert asyncio.run(told())


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A connection to a service that waits half a second for headers, and four for a body."""
    monkeypatch.setattr(module, "PROMPT", 0.5)
    monkeypatch.setattr(module, "GRACE", -6)
    app = FastAPI()

    @app.get("/")
    async def here() -> None:
        pass

    @app.post("/")
    async def size(request: Request) -> int:
        return len(await request.body())

    with running(app) as url, socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 20) as met:
        yield met


def test_headers_that_never_end_are_not_waited_for(prompt: socket.socket) -> None:
    """A byte now and then does not keep a connection open."""
    with pytest.raises(ConnectionError):
        for _ in range(200):
            prompt.sendall(b"G")
            time.sleep(0.05)


def test_a_body_that_never_ends_is_not_waited_for(prompt: socket.socket) -> None:
    """Nor where it was answered without it."""
    prompt.sendall(b"GET / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n")
    assert prompt.recv(4096).startswith(b"HTTP/1.1 200")
    with pytest.raises(ConnectionError):
        for _ in range(400):
            prompt.sendall(b"a")
            time.sleep(0.05)


def test_silence_is_not_waited_for(prompt: socket.socket) -> None:
    assert prompt.recv(1) == b""


def test_a_slow_body_and_a_pause_between_requests_are(prompt: socket.socket) -> None:
    """The service's own limits are about bodies, and uvicorn's about pauses: neither is cut by that of headers."""
    for _ in range(2):
        prompt.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\na")
        time.sleep(0.8)
        prompt.sendall(b"b")
        answer = b""
        while not answer.endswith(b"\r\n\r\n2"):  # headers and body come in two parts
            answer += prompt.recv(4096) or pytest.fail(f"it was closed after {answer!r}")
        assert answer.startswith(b"HTTP/1.1 200")
        time.sleep(0.8)
