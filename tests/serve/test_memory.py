"""What a client asked for lately, by one worker and by several."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")

import torch
from safetensors.torch import load
from serving import images, serving, z
from sqlalchemy import func, select

from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.serve.memory import ASKED, TIDY, Memory, Traces
from genvet.serve.migrations import migrate
from genvet.serve.policy import Latents
from genvet.serve.store import Store

LATENT = Latent(64)
HOW = Latents(source="client", repeats=3, neighbours=10, memory=256)


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    migrate(store)
    yield store
    store.engine.dispose()


def ask(memory: Memory, client: int, latents: torch.Tensor, store: Store, key: str = "") -> list[bool]:
    """What is judged of these, and what is then charged for."""
    fits, remember = memory.judged(client, key or "a request", latents)
    with store.writing() as connection:
        remember(connection)
    answered: list[bool] = fits.tolist()
    return answered


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.parametrize("workers", [1, 3])
def test_repeats_and_drifts_are_seen_and_honest_clients_are_not(store: Store, workers: int) -> None:
    """By any worker of several, as if there were one."""
    every = [Memory(LATENT, HOW, store) for _ in range(workers)]
    turn = iter(range(1 << 20))

    def asked(client: int, latents: torch.Tensor) -> list[bool]:
        number = next(turn)
        return ask(every[number % workers], client, latents, store, f"request {number}")

    honest = LATENT.sample(0, 2000, Rng(2))
    assert all(all(asked(1, part)) for part in honest.split(64))
    assert [asked(2, honest[:1])[0] for _ in range(5)] == [True, True, True, False, False]
    assert asked(2, (honest[:1] + 1e-5).repeat(2, 1)) == [False, False], "the same to three decimals"
    search = honest[1] + 0.1 * torch.randn(40, 64, generator=Rng(3).block())
    answered = [fits for part in search.split(5) for fits in asked(3, part)]
    assert sum(answered) == 11, "the first has no neighbour, ten may have some"
    assert all(asked(4, search[:5])), "each client for itself"
    assert all(fits for part in honest[512:1024].split(64) for fits in asked(3, part))
    assert asked(3, search[:1]) == [True], "it is forgotten"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_worker_that_starts_anew_knows_what_was_asked(store: Store) -> None:
    latents = LATENT.sample(0, 3, Rng(1))
    assert [all(ask(Memory(LATENT, HOW, store), 1, latents, store, str(i))) for i in range(4)] == [True] * 3 + [False]


def test_what_is_sent_again_is_answered_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by a worker that did not answer it first, and where some of it was blocked."""
    monkeypatch.setattr("genvet.serve.service.KEPT", 0)
    policy = {"latents": {"source": "client", "repeats": 1}}
    with serving(tmp_path, policy=policy) as served:
        images(served, z(2))
        first = images(served, z(3), key="mine")
        assert len(load(first.content)["x"]) == 1, "two were asked for before"
        again = [images(served, z(3), key="mine") for _ in range(2)]
        assert all(answer.content == first.content for answer in again)
        assert len(load(images(served, z(3), key="another").content)["x"]) == 0
        with served.store.reading() as connection:
            assert connection.execute(select(func.count()).select_from(ASKED)).scalar_one() == 3


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_is_older_than_the_memory_is_dropped(store: Store) -> None:
    memory, how = 10, Latents(source="client", repeats=1, memory=10)
    view = Memory(LATENT, how, store)
    for number, row in enumerate(LATENT.sample(0, 2 * TIDY, Rng(1))):
        ask(view, 1, row[None], store, str(number))
    with store.reading() as connection:
        rows = connection.execute(select(ASKED.c.serial).order_by(ASKED.c.serial)).scalars().all()
    assert rows == list(range(2 * TIDY - memory + 1, 2 * TIDY + 1))


def test_traces_come_back_and_those_of_other_latents_do_not() -> None:
    latents, fits = LATENT.sample(0, 5, Rng(1)), torch.tensor([True, False, True, True, False])
    data = Traces.of(latents).packed(fits)
    known = Traces.unpacked(data, 5, 64)
    assert known and known[0].names == Traces.of(latents).names and known[1].equal(fits)
    assert known[0].directions.equal(Traces.of(latents).directions)
    assert Traces.unpacked(data, 5, 32) is None
