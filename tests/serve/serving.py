"""A guarded service in this process: models as small as can be, and a client's and an operator's key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from fastapi import FastAPI
from safetensors.torch import save
from torch import nn

from genvet.core.classifier import Classifier
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.remote import KEY
from genvet.serve import keys, logs
from genvet.serve.app import build
from genvet.serve.ledger import Ledger
from genvet.serve.migrations import migrate
from genvet.serve.policy import Policy
from genvet.serve.running import running
from genvet.serve.service import Service, Stands
from genvet.serve.store import Store

DIM, SHAPE = 16, (1, 8, 8)
OCTETS = {"Content-Type": "application/octet-stream"}


class Blobs(nn.Module):
    """z -> 8 x 8 pixels, linearly; labels shift the picture."""

    def __init__(self, classes: int = 0) -> None:
        super().__init__()
        drawn = torch.randn(DIM + classes, 64, generator=Rng(3).block()) / 4
        self.weight = nn.Parameter(drawn, requires_grad=False)
        self.delay = 0.0

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        z = z if labels is None else torch.cat([z, labels], 1)
        return (z @ self.weight).tanh().view(-1, *SHAPE)


def generator(classes: int = 0) -> Generator:
    return Generator(module=Blobs(classes), latent=Latent(DIM, classes=classes), shape=SHAPE, name="blobs")


def classifier() -> Classifier:
    module = nn.ModuleDict({"features": nn.Flatten(), "head": nn.Linear(64, 3)}).requires_grad_(False)
    module["head"].weight.copy_(torch.randn(3, 64, generator=Rng(4).block()))
    module["head"].bias.zero_()
    return Classifier(module=module, shape=SHAPE, classes=("a", "b", "c"), name="plain")


@dataclass
class Served:
    """A service and who may ask it."""

    app: FastAPI
    service: Service
    store: Store
    log: Ledger
    key: str
    operator: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


@contextmanager
def serving(
    folder: Path,
    model: Any = None,
    *,
    policy: dict[str, Any] | None = None,
    guards: Sequence[Stands] = (),
    budget: int | None = 1000,
    rate: float | None = None,
    url: str = "",
    level: int = logging.CRITICAL,
) -> Iterator[Served]:
    """The application, ready to be asked; it ends in order."""
    logs.configured(level)
    store = Store(url or f"sqlite:///{folder}/service.sqlite")
    migrate(store)
    log = Ledger(store.engine, bytes(32), folder / "head")
    held = Policy.model_validate(policy or {"latents": {"source": "client"}})
    service = Service(model or generator(), held, store, secret=bytes(32), log=log, guards=guards)
    known = {row.name for row in store.clients()}
    key = keys.added(store, f"client{len(known)}", budget=budget, rate=rate)
    operator = keys.added(store, f"operator{len(known)}", role="operator")
    yield Served(build(service), service, store, log, key, operator)
    service.close()
    log.close()
    store.engine.dispose()


@contextmanager
def live(folder: Path, model: Any = None, **how: Any) -> Iterator[tuple[Served, str]]:
    """The same behind a socket, and its address."""
    with serving(folder, model, **how) as served, running(served.app) as url:
        yield served, url


class keyed:  # noqa: N801 - reads as a word
    """The client's key in the environment, where the client looks for it."""

    def __init__(self, served: Served) -> None:
        self.patch, self.key = pytest.MonkeyPatch(), served.key

    def __enter__(self) -> None:
        self.patch.setenv(KEY, self.key)

    def __exit__(self, *_: object) -> None:
        self.patch.undo()


def z(n: int, seed: int = 0) -> torch.Tensor:
    """Latents (n, dim)."""
    return torch.randn(n, DIM, generator=Rng(seed).block())


def ask(served: Served, method: str, path: str, **how: Any) -> httpx.Response:
    """One request, without a network."""
    how["headers"] = served.headers | how.get("headers", {})

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(served.app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **how)

    return asyncio.run(asked())


def images(served: Served, latents: torch.Tensor, key: str = "", **more: torch.Tensor) -> httpx.Response:
    """What is answered for latents (n, dim), under an idempotency key if there is one."""
    named = {"Idempotency-Key": key} if key else {}
    return ask(served, "POST", "/v1/images", content=save({"z": latents, **more}), headers=OCTETS | named)
