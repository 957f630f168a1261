"""The guarded model: what an answer goes through from the question to the receipt.

A request is admitted where it can be paid for, answered behind the guards, and then charged: in one transaction with
its row in the audit log. An answer leaves when that stands, so that nothing is given away for free, and nothing is
charged that did not leave.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

import torch
from sqlalchemy import Connection
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.generator import Generator
from genvet.core.queries import STATUS, Queries, Reply
from genvet.core.rng import Rng
from genvet.core.scores import Scores
from genvet.core.technique import Guard
from genvet.nets.between import Between
from genvet.serve import problems, wire
from genvet.serve.batching import Batcher, Question, asked, scored, split_reply, split_scores
from genvet.serve.latents import Typical, drawn
from genvet.serve.memory import Memory, Remember
from genvet.serve.metrics import Metrics
from genvet.serve.policy import Policy
from genvet.serve.problems import Problem
from genvet.serve.reviews import Reviews
from genvet.serve.store import Charge, Client, Log, Receipt, Store
from genvet.serve.till import Till

BLOCKED, HELD = STATUS.index("blocked"), STATUS.index("held")
KEPT = 64 << 20
"""Bytes of answers that are kept, so that a request which is sent again gets the very same one."""
STACKS = 1024
"""Clients for whom guards of their own stand, where guards remember what was asked before."""


@dataclass(frozen=True, eq=False)
class Stands:
    """A guard with what it is given."""

    guard: Guard
    given: Any
    otherwise: Literal["block", "hold"] = "block"


@dataclass(frozen=True)
class Answer:
    """What leaves: the body, and what the client's budget has left."""

    body: bytes
    left: int | None
    held: str = ""
    """The name by which the client collects what a person decides about."""


@dataclass(frozen=True, eq=False)
class Done:
    """What was worked out, before it is paid for."""

    body: bytes
    outcomes: Mapping[str, int]
    also: Callable[[Connection], str] | None = None
    """What is to stand with the charge; gives the name of what is held."""
    held: str = ""


class Service:
    """One model behind one policy, with the database that its workers share."""

    def __init__(
        self,
        model: Generator | Classifier,
        policy: Policy,
        store: Store,
        *,
        secret: bytes,
        log: Log | None = None,
        guards: Sequence[Stands] = (),
    ) -> None:
        self.model, self.policy, self.store, self.log = model, policy, store, log
        self.metrics, self._secret, self._guards = Metrics(), secret, tuple(guards)
        self._views: OrderedDict[int, Any] = OrderedDict()
        self._kept: OrderedDict[tuple[int, str], Done] = OrderedDict()
        self._kept_bytes = 0
        self.waiting, self.closing, self._turns = 0, False, Counter[int]()
        self.reviews = Reviews(store, log)
        self._whole = self._plain()
        self._holders = ", ".join(one.guard.name() for one in guards if one.otherwise == "hold")
        self._remembers = any(getattr(one.guard, "remembers", False) for one in guards)
        shared = self._view(0)  # what does not fit is said now, and what is to be learnt is learnt
        self.brings: int = getattr(shared, "brings", 1)
        join = policy.limits.join_ms / 1000
        self.batcher: Batcher[Any]
        if isinstance(model, Generator):
            self._typical = Typical(model.latent, policy.latents.false_alarms) if policy.latents.typical else None
            self._memory = Memory(model.latent, policy.latents, store)
            self.batcher = Batcher(asked, split_reply, policy.limits.images, join)  # type: ignore[arg-type]
        else:
            self.batcher = Batcher(scored, split_scores, policy.limits.images, join)  # type: ignore[arg-type]
        self.batcher.on_batch = self.metrics.batch
        self.till = Till(store, log)

    @property
    def most(self) -> int:
        """Queries in one request: the least of the policy's number and of what fits into a body."""
        row = 4 * prod(self.model.shape) * self.brings
        return max(1, min(self.policy.limits.images, int(self.policy.limits.megabytes * 2**20 - 4096) // row))

    def about(self) -> dict[str, Any]:
        """What is served, for clients."""
        shape = list(self.model.shape)
        if isinstance(self.model, Classifier):
            classes = list(self.model.classes)
            told = {"answers": self._view(0).answers, "most": self.most}
            return {"kind": "classifier", "shape": shape, "classes": classes, **told}
        latent = self.model.latent
        prior = {"dim": latent.dim, "distribution": latent.distribution, "classes": latent.classes}
        source = {"latents": self.policy.latents.source, "brings": self.brings, "most": self.most}
        return {"kind": "generator", "shape": shape, "latent": prior, **source}

    async def sample(self, client: Client, n: int, key: str | None) -> Answer:
        """Images for latents of the service's own; the same ones where the request is sent again under its key."""
        latent = self._generator().latent
        charge = _charge(client, "/v1/sample", n, str(n).encode(), key)
        seed = self._derived("latents", str(client.id), charge.key)

        async def work(replayed: bool) -> Done:
            return await self._imagined(client, *drawn(latent, n, seed))

        return await self._paid(client, charge, work)

    async def images(self, client: Client, body: bytes, key: str | None) -> Answer:
        """Images for latents of the client's."""
        if self.policy.latents.source != "client":
            raise Problem(403, "this service draws its latents itself", hint="POST /v1/sample")
        z, labels = wire.latents(body, self._generator().latent, self.most)

        charge = _charge(client, "/v1/images", len(z), body, key)

        async def work(replayed: bool) -> Done:
            fits, remember = await self._looked(charge, z, replayed)
            done = await self._imagined(client, z, labels, fits)
            return replace(done, also=_both(remember, done.also)) if remember else done

        return await self._paid(client, charge, work)

    async def held(self, client: Client, name: str) -> Answer:
        """What a person has decided by now about the queries of a request that were held."""
        reply = await asyncio.to_thread(self.reviews.collect, name, client.id, self._generator().shape)
        return Answer(wire.answered(reply), client.left, name)

    async def scores(self, client: Client, body: bytes, key: str | None) -> Answer:
        """What the policy tells of a classifier's scores."""
        if not isinstance(self.model, Classifier):
            raise Problem(404, "this service holds no classifier")
        x = wire.images(body, self.model.shape, self.most)

        async def work(replayed: bool) -> Done:
            view: Scores = self._view(client.id)
            scores = await asyncio.wrap_future(self.batcher.submit(view, Question(x)))
            return Done(wire.told(scores, view.answers), {"answered": len(x)})

        return await self._paid(client, _charge(client, "/v1/scores", len(x), body, key), work)

    @asynccontextmanager
    async def turn(self, client: Client) -> AsyncIterator[None]:
        """One request's time within the service; raises Problem where too many wait, or too many of this client's."""
        if self.closing or self.waiting >= self.policy.limits.waiting:
            raise problems.busy()
        if self._turns[client.id] >= self.policy.limits.each:
            raise problems.at_once(self.policy.limits.each)
        self.waiting += 1
        self._turns[client.id] += 1
        self.metrics.waiting.inc()
        try:
            yield
        finally:
            self.waiting -= 1
            self._turns[client.id] -= 1
            self.metrics.waiting.dec()

    def close(self) -> None:
        """Answer and settle what was accepted, and end."""
        self.closing = True
        self.batcher.close()
        self.till.close()

    async def _paid(self, client: Client, charge: Charge, work: Callable[[bool], Awaitable[Done]]) -> Answer:
        """Admit, work, charge: an answer that is kept from before is not worked out again."""
        try:
            async with asyncio.timeout(self.policy.limits.seconds):
                replayed = await self._admitted(client, charge)
                kept = self._kept.get((client.id, charge.key)) if replayed else None
                done = kept or await work(replayed)
        except TimeoutError:
            raise Problem(504, "this took longer than the service allows; nothing was charged", wait=5) from None
        outcomes = {"kept": charge.n} if kept else done.outcomes
        also = None if kept else done.also
        priced = replace(charge, row={**charge.row, **outcomes}, also=also)
        receipt: Receipt = await asyncio.shield(asyncio.wrap_future(self.till.submit(priced)))
        self._counted(receipt, charge.n, outcomes)
        done = replace(done, also=None, held=receipt.name or done.held)
        self._keep((client.id, charge.key), done)
        return Answer(done.body, receipt.left, done.held)

    async def _admitted(self, client: Client, charge: Charge) -> bool:
        """Whether it was charged before; the model waits a little for what is on its way."""
        self.batcher.coming += 1
        try:
            return await asyncio.to_thread(self.store.admit, client, charge.n, charge.key, charge.request)
        finally:
            self.batcher.coming -= 1

    async def _looked(self, charge: Charge, z: Tensor, replayed: bool) -> tuple[Tensor, Remember | None]:
        """Which latents may be answered, (n,), and what is to be remembered of them with the charge."""
        fits, remember = torch.ones(len(z), dtype=torch.bool), None
        if self._typical is not None:
            fits = self._typical(z)
            self._failed("typical", fits)
        if self._memory.needed and replayed:
            fits &= await asyncio.to_thread(self._memory.before, charge.client, charge.key, len(z))
        elif self._memory.needed:
            new, remember = await asyncio.to_thread(self._memory.judged, charge.client, charge.key, z)
            self._failed("seen", new)
            fits &= new
        return fits, remember

    def _failed(self, look: str, fits: Tensor) -> None:
        self.metrics.failed.labels(look).inc(int((~fits).sum()))

    async def _asked(self, view: Any, z: Tensor, labels: Tensor | None, rows: Tensor) -> Reply:
        """What comes back for some of these latents; whose it is, is told by their places among all of them."""
        question = Question(z[rows], None if labels is None else labels[rows])
        reply: Reply = await asyncio.wrap_future(self.batcher.submit(view, question))
        return replace(reply, owner=rows[reply.owner])

    async def _imagined(self, client: Client, z: Tensor, labels: Tensor | None, fits: Tensor | None = None) -> Done:
        """Images for those latents that may be answered, and what became of each query."""
        rows = torch.arange(len(z)) if fits is None else fits.nonzero().flatten()
        failed = HELD if self.policy.latents.otherwise == "hold" else BLOCKED
        status = torch.full((len(z),), failed, dtype=torch.long)
        images, owner = torch.empty(0, *self.model.shape), torch.empty(0, dtype=torch.long)
        if len(rows):
            reply = await self._asked(self._view(client.id), z, labels, rows)
            images, owner, status[rows] = reply.images, reply.owner, reply.status
        held = (status == HELD).nonzero().flatten()
        hold = await self._held(client, z, labels, held, set(rows.tolist())) if len(held) else None
        outcomes = Counter(STATUS[k] for k in status.tolist())
        return Done(wire.answered(Reply(images, owner, status)), outcomes, hold)

    async def _held(
        self, client: Client, z: Tensor, labels: Tensor | None, held: Tensor, fitting: set[int]
    ) -> Callable[[Connection], str]:
        """What puts the images of these queries before a person: as they are before any guard."""
        plain = await self._asked(self._whole, z, labels, held)
        why = [
            f"held by {self._holders}" if k in fitting else "the latent is none of an honest draw"
            for k in held.tolist()
        ]
        return lambda connection: self.reviews.hold(connection, client.id, plain.images.split(1), why)

    def _view(self, client: int) -> Any:
        """The model behind its guards: one for all, or where guards remember what was asked, one for each client."""
        number = client if self._remembers else 0
        if number not in self._views:
            self._views[number] = self._stood()
        self._views.move_to_end(number)
        while len(self._views) > STACKS:
            self._views.popitem(last=False)
        return self._views[number]

    def _stood(self) -> Any:
        view = self._plain()
        for place, one in enumerate(self._guards):
            seed = int.from_bytes(self._derived("guard", str(place), one.guard.name()))
            view = one.guard(view, one.given, Rng(seed, one.guard.name()))
            view = Holding(view) if one.otherwise == "hold" else view
        return view

    def _plain(self) -> Any:
        """The model before any guard."""
        if isinstance(self.model, Generator):
            return self.model.seen_as(Queries)
        return self.model.seen_as(Scores, self.policy.answers.kind, self.policy.answers.k)

    def _generator(self) -> Generator:
        if not isinstance(self.model, Generator):
            raise Problem(404, "this service holds no generator")
        return self.model

    def _derived(self, *purpose: str) -> bytes:
        """32 bytes that follow from the service's secret: the same on every machine that holds it."""
        return hmac.digest(self._secret, "\0".join(purpose).encode(), "sha256")

    def _counted(self, receipt: Receipt, n: int, outcomes: Mapping[str, int]) -> None:
        self.metrics.charged.inc(0 if receipt.replayed else n)
        for outcome, count in outcomes.items():
            self.metrics.queries.labels(outcome).inc(count)

    def _keep(self, name: tuple[int, str], done: Done) -> None:
        before = self._kept.pop(name, None)
        self._kept_bytes += len(done.body) - (len(before.body) if before else 0)
        self._kept[name] = done
        while self._kept_bytes > KEPT:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1].body)


class Holding(Between):
    """What the guard behind it blocks, a person decides."""

    def _passed(self, z: Tensor, labels: Tensor | None) -> Reply:
        reply = self.inner.ask(z, labels)
        return Reply(reply.images, reply.owner, reply.status.where(reply.status != BLOCKED, HELD))


def _both(remember: Remember, hold: Callable[[Connection], str] | None) -> Callable[[Connection], str]:
    """What stands with one charge: the traces of its latents, and the images that are held."""

    def stands(connection: Connection) -> str:
        remember(connection)
        return hold(connection) if hold else ""

    return stands


def _charge(client: Client, path: str, n: int, body: bytes, key: str | None) -> Charge:
    """What this request costs; its own key, or a random one, tells it from others."""
    named = hashlib.sha256(key.encode()).hexdigest() if key else secrets.token_hex(32)
    request = hashlib.sha256(path.encode() + b"\0" + body).hexdigest()
    row = {"kind": "answer", "client": client.name, "path": path, "asked": n, "request": request}
    return Charge(client.id, n, named, request, row)
