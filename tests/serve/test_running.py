"""How the service listens."""

from __future__ import annotations

import asyncio
import socket

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")

from genvet.serve.running import listening


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
