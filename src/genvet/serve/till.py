"""Where answers are paid for: one thread charges, in one transaction, all that wait."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread

from genvet.serve.problems import Problem
from genvet.serve.store import Charge, Log, Receipt, Store

TOGETHER = 256
"""Charges in one transaction."""
Waiting = tuple[Charge, Future[Receipt]]


class Till:
    """Charges are settled in groups: a transaction costs as much for one as for many."""

    def __init__(self, store: Store, log: Log | None) -> None:
        self._store, self._log = store, log
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="till", daemon=True)
        self._thread.start()

    def submit(self, charge: Charge) -> Future[Receipt]:
        """A receipt, once the charge and its row in the audit log stand; raises Problem where they do not."""
        future = Future[Receipt]()
        future.set_running_or_notify_cancel()  # who leaves now is charged for what was worked out
        self._queue.put((charge, future))
        return future

    def close(self) -> None:
        """Settle what waits, and end."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        ended = False
        while not ended:
            batch = [self._queue.get()]
            while not self._queue.empty() and len(batch) < TOGETHER:
                batch.append(self._queue.get())
            ended = None in batch
            if waiting := [one for one in batch if one is not None]:
                self._settle(waiting)

    def _settle(self, waiting: Sequence[Waiting]) -> None:
        try:
            told = self._store.settle([charge for charge, _ in waiting], self._log)
        except BaseException as error:
            for _, future in waiting:
                future.set_exception(error)
            return
        for (_, future), one in zip(waiting, told, strict=True):
            if isinstance(one, Problem):
                future.set_exception(one)
            else:
                future.set_result(one)
