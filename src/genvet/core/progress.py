"""Where long work says how far it is. Silent, unless somebody listens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Listener = Callable[[str, int, int], None]
"""Called with a label, the steps done, and the steps in all."""

_listener: ContextVar[Listener | None] = ContextVar("progress", default=None)
T = TypeVar("T")


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Send the progress of everything inside the block to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def track(steps: Iterable[T], total: int, label: str, start: int = 0) -> Iterator[T]:
    """Pass `steps` through, telling the listener after each; `start` of the total were done before.

    >>> list(track("ab", 2, "letters"))
    ['a', 'b']
    """
    listener = _listener.get()
    for done, step in enumerate(steps, start + 1):
        yield step
        if listener:
            listener(label, done, total)
