"""A small style generator behind a real local socket."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread

import pytest

from genvet.core.rng import Rng
from genvet.nets import stylegan2
from genvet.serve.explore import Server
from genvet.serve.explorer import Explorer

SMALL = {"size": 16, "z_dim": 16, "w_dim": 12, "channel_base": 128, "channel_max": 16}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    explorer = Explorer(stylegan2.build(**SMALL, rng=Rng(1)), Rng(0).fork("sample"))
    with Server(explorer, "a <b>model</b>") as server:
        listening = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        listening.start()
        yield server
        server.shutdown()
        listening.join()
