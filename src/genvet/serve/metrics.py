"""What Prometheus reads: counters and times, and nothing of any one client."""

from __future__ import annotations

import os
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable of the folder in which the workers of one service add up."""
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Of one service."""

    def __init__(self) -> None:
        self._own = CollectorRegistry()
        kept: Any = {"registry": self._own}
        self.requests = Counter("genvet_requests", "Requests by path and status.", ["path", "status"], **kept)
        self.queries = Counter("genvet_queries", "Queries by what became of them.", ["outcome"], **kept)
        self.charged = Counter("genvet_charged", "Queries that were charged.", **kept)
        self.failed = Counter("genvet_latents_failed", "Latents that failed a look.", ["look"], **kept)
        self.seconds = Histogram("genvet_seconds", "Seconds to an answer.", ["path"], buckets=SECONDS, **kept)
        self.rows = Histogram("genvet_batch_rows", "Rows in one batch of the model.", buckets=ROWS, **kept)
        self.model = Counter("genvet_model_seconds", "Seconds that the model worked.", **kept)
        self.waiting = Gauge("genvet_waiting", "Requests in work.", multiprocess_mode="livesum", **kept)

    def batch(self, rows: int, seconds: float) -> None:
        """The model answered a batch."""
        self.rows.observe(rows)
        self.model.inc(seconds)

    def text(self) -> bytes:
        """In Prometheus' own format: of all workers, where there are several."""
        if not os.environ.get(SHARED):
            return generate_latest(self._own)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
