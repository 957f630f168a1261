"""Several processes on one socket: each holds the model, and all share the database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from socket import socket
from types import FrameType

from genvet.serve.metrics import SHARED

SOCKET = "GENVET_SERVE_SOCKET"
"""Environment variable that hands a worker the socket of its service."""
SOON = 5.0
"""Seconds; a worker that ends sooner is not started again at once."""


def inherited() -> socket | None:
    """The socket that this process was handed; None where it is no worker."""
    number = os.environ.get(SOCKET, "")
    return socket(fileno=int(number)) if number.isdecimal() else None


def supervise(words: Sequence[str], count: int, bound: socket) -> int:
    """Run so many of `genvet words`, start anew what dies, and end all of them in order at a signal."""
    ending = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ending
        ending = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with tempfile.TemporaryDirectory(prefix="genvet-metrics-") as shared:
        environment = {**os.environ, SOCKET: str(bound.fileno()), SHARED: shared}

        def started() -> tuple[subprocess.Popen[bytes], float]:
            command = [sys.executable, "-m", "genvet", *words]
            return subprocess.Popen(command, pass_fds=[bound.fileno()], env=environment), time.monotonic()  # noqa: S603

        running = [started() for _ in range(count)]
        while not ending:
            time.sleep(0.2)
            for i, (worker, since) in enumerate(running):
                if worker.poll() is not None and not ending:
                    if time.monotonic() - since < SOON:  # it cannot start: so would the next one
                        ending = True
                        break
                    running[i] = started()
        for worker, _ in running:
            worker.terminate()
        return max(abs(worker.wait()) for worker, _ in running)
