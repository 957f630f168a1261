"""What a piece of work costs this process."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable


def took(work: Callable[[], object]) -> float:
    """Seconds of the processor."""
    began = time.process_time()
    work()
    return time.process_time() - began


def most() -> int:
    """MiB that the process held at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
