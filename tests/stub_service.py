"""A classifier behind HTTP, as small as can be, which stumbles and lies where a test wants it to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

SHAPE, CLASSES = (1, 4, 4), ("a", "b", "c")
ABOUT = {"kind": "classifier", "shape": SHAPE, "classes": CLASSES, "answers": "scores"}
Reply = tuple[int, dict[str, str], bytes]


def judged(x: Tensor) -> Tensor:
    return torch.stack([x.mean((1, 2, 3)), x.std((1, 2, 3)), x.amax((1, 2, 3))], 1).softmax(1)


def good(body: bytes) -> Reply:
    return 200, {}, save({"scores": judged(load(body)["x"])})


class Service:
    """A service that gives these replies first, and good ones then; it remembers what it was asked."""

    def __init__(self) -> None:
        self.about: Any = ABOUT
        self.replies: list[Callable[[bytes], Reply]] = []
        self.asked: list[tuple[str, int]] = []
        self.keys: list[str] = []
        self.after: Callable[[bytes], Reply] = good

    def reply(self, path: str, headers: Any, body: bytes) -> Reply:
        self.keys.append(headers.get("Authorization", ""))
        if path == "/v1/about":
            return 200, {}, json.dumps(self.about).encode() if not isinstance(self.about, bytes) else self.about
        self.asked.append((headers["Idempotency-Key"], len(load(body)["x"])))
        return (self.replies.pop(0) if self.replies else self.after)(body)


@contextmanager
def serving() -> Iterator[tuple[Service, str]]:
    """A service on this machine, and its address."""
    told = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            code, headers, body = told.reply(
                self.path, self.headers, self.rfile.read(int(self.headers.get("Content-Length") or 0))
            )
            if code == 0:  # hangs up
                self.close_connection = True
                return
            self.send_response(code)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield told, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
