"""A PostgreSQL server that goes away and comes back: between requests, and in the middle of them."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")

import torch
from safetensors.torch import load
from serving import ask, generator, images, serving, z
from wire import Wire

from genvet.core.rng import Rng
from genvet.remote import LEFT
from genvet.serve.tampering import verify

ROUNDS = 40
LONGEST = 4000
"""Bytes of the server's answers to one request, and some."""


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_between_requests(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genvet.serve.app.HEALTHY", 0.0)
    wire = Wire(database)
    with serving(tmp_path, url=wire.address) as served:
        assert images(served, z(3)).headers[LEFT] == "997" and ask(served, "GET", "/health").status_code == 200
        wire.cut()
        for answer in (images(served, z(2)), images(served, z(2)), ask(served, "GET", "/health")):
            assert answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1
            assert "127.0.0.1" not in answer.text and "psycopg" not in answer.text
        wire.mend()
        answer = images(served, z(5))
        assert answer.status_code == 200 and answer.headers[LEFT] == "992", "what failed was not charged"
        assert ask(served, "GET", "/health").status_code == 200
        assert verify(served.store.engine, served.log.key, served.log.witness.path).sound
    wire.cut()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_amid_requests_each_is_charged_once(database: str, tmp_path: Path) -> None:
    """The wire is cut after some bytes, be it before a commit or before its word comes back; the client tries again."""
    wire, failed, late = Wire(database), 0, 0
    lengths = torch.randint(1, LONGEST, (ROUNDS,), generator=Rng(0).block()).tolist()
    with serving(tmp_path, url=wire.address) as served:
        for number, length in enumerate(lengths):
            wire.left = length
            answer = images(served, z(3, number), key=f"round {number}")
            wire.cut()
            wire.mend()
            if answer.status_code != 200:
                charged = served.store.clients()[0].used - 3 * number
                assert answer.status_code == 503 and charged in (0, 3)
                assert not charged or "not known" in answer.text
                failed, late = failed + 1, late + charged // 3
                answer = images(served, z(3, number), key=f"round {number}")
            assert torch.equal(load(answer.content)["x"], generator()(z(3, number)))
            assert answer.headers[LEFT] == str(1000 - 3 * (number + 1))
        assert 0 < late < failed < ROUNDS, "some were cut before their commit, some before its word came back"
        assert verify(served.store.engine, served.log.key, served.log.witness.path).sound
    wire.cut()
