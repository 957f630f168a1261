"""One thread works for all requests on one model: what waits together is answered together."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Generic, TypeVar

import torch
from torch import Tensor

from genvet.core.queries import Queries, Reply
from genvet.core.scores import Scores

Answer = TypeVar("Answer")


@dataclass(frozen=True, eq=False)
class Question:
    """Rows (n, ...) for a view: latents and their labels, or images."""

    rows: Tensor
    labels: Tensor | None = None


@dataclass(eq=False)
class Waiting(Generic[Answer]):
    """A question, whom to ask it, and where the answer is waited for."""

    view: object
    question: Question
    answer: Future[Answer] = field(default_factory=Future)


Ask = Callable[[object, Question], Answer]
Split = Callable[[Answer, Sequence[int]], list[Answer]]


class Batcher(Generic[Answer]):
    """Joins what waits, up to `most` rows; waits up to `join` seconds where others are known to be on their way."""

    def __init__(self, ask: Ask[Answer], split: Split[Answer], most: int, join: float) -> None:
        self._ask, self._split, self._most, self._join = ask, split, most, join
        self._queue: deque[Waiting[Answer]] = deque()
        self._changed, self._closed = Condition(), False
        self.coming = 0
        """Requests that were taken in, and have not yet asked."""
        self.on_batch: Callable[[int, float], None] = lambda rows, seconds: None
        self._thread = Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    def submit(self, view: object, question: Question) -> Future[Answer]:
        """The answer, once it is there; whoever no longer wants it calls the future off."""
        waiting = Waiting[Answer](view, question)
        with self._changed:
            if self._closed:
                raise RuntimeError("the model is no longer asked")
            self._queue.append(waiting)
            self._changed.notify()
        return waiting.answer

    def close(self) -> None:
        """Answer what waits, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._taken():
            began = time.perf_counter()
            self._answered(batch)
            self.on_batch(sum(len(one.question.rows) for one in batch), time.perf_counter() - began)

    def _taken(self) -> list[Waiting[Answer]]:
        """What is to be asked together next; nothing, at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            if not self._queue:
                return []
            until = time.monotonic() + self._join
            while self.coming > 0 and self._rows() < self._most and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            first = self._queue.popleft()
            batch, rest, rows = [first], deque[Waiting[Answer]](), len(first.question.rows)
            for one in self._queue:
                fits = one.view is first.view and rows + len(one.question.rows) <= self._most
                (batch if fits else rest).append(one)
                rows += len(one.question.rows) * fits
            self._queue = rest
        return [one for one in batch if one.answer.set_running_or_notify_cancel()] or self._taken()

    def _rows(self) -> int:
        return sum(len(one.question.rows) for one in self._queue)

    def _answered(self, batch: Sequence[Waiting[Answer]]) -> None:
        """Together; where that fails, each alone, so that one question spoils no other."""
        try:
            joined = Question(torch.cat([one.question.rows for one in batch]), _labels(batch))
            with torch.no_grad():
                parts = self._split(self._ask(batch[0].view, joined), [len(one.question.rows) for one in batch])
        except BaseException as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
                return
            for one in batch:
                self._answered([one])
            return
        for one, part in zip(batch, parts, strict=True):
            one.answer.set_result(part)


def _labels(batch: Sequence[Waiting[Answer]]) -> Tensor | None:
    found = [one.question.labels for one in batch if one.question.labels is not None]
    return torch.cat(found) if found else None


def asked(view: Queries, question: Question) -> Reply:
    """Whatever comes back for latents."""
    return view.ask(question.rows, question.labels)


def scored(view: Scores, question: Question) -> Tensor:
    """Scores of images."""
    return view(question.rows)


def split_reply(reply: Reply, counts: Sequence[int]) -> list[Reply]:
    """A reply's part for each of several askers, whose rows were joined in this order."""
    starts = torch.tensor([0, *counts]).cumsum(0)
    owner = reply.owner.cpu()
    cuts = torch.searchsorted(owner.contiguous(), starts).tolist()
    return [
        Reply(reply.images[a:b], owner[a:b] - int(start), status)
        for a, b, start, status in zip(cuts, cuts[1:], starts, reply.status.cpu().split(list(counts)), strict=False)
    ]


def split_scores(scores: Tensor, counts: Sequence[int]) -> list[Tensor]:
    return list(scores.split(list(counts)))
