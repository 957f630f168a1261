"""A small style generator behind a real local socket."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from clocks import Clock

from genvet.core.rng import Rng
from genvet.nets import stylegan2
from genvet.serve.explore import Server
from genvet.serve.explorer import Explorer

if TYPE_CHECKING:
    from genvet.serve.reviews import Reviews

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


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database of each kind that a service may have."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/service.sqlite"
        return
    address = os.environ.get("GENVET_TEST_POSTGRES", "")
    if not address:
        pytest.skip("needs PostgreSQL: GENVET_TEST_POSTGRES is not set")
    import sqlalchemy as sa

    name = f"genvet_{os.getpid()}_{secrets.token_hex(4)}"
    server = sa.create_engine(sa.make_url(address).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f"create database {name}")
    yield sa.make_url(address).set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.exec_driver_sql(f"drop database {name} with (force)")
    server.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reviews(tmp_path: Path, clock: Clock) -> Reviews:
    """An empty queue of five at most, with its database, and an audit log whose key is the bytes 0 to 31."""
    from genvet.serve.ledger import Ledger
    from genvet.serve.reviews import Reviews
    from genvet.serve.store import METADATA, Store

    store = Store(f"sqlite:///{tmp_path / 'genvet.db'}", clock)
    METADATA.create_all(store.engine)
    return Reviews(store, Ledger(store.engine, bytes(range(32)), tmp_path / "head"), most=5)
