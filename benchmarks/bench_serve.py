"""A served generator beside the bare one: images a second at 64 an answer, and the time to one image.

By the clock, the service is `genvet serve` in a process of its own, with its SQLite database and its audit log. By
processor time, which other work on the same cores disturbs least, it runs in this process. The client is
`RemoteQueries`, whose cost is in both. Bare and served take turns, and the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import torch

from genvet.cli.options import Opening
from genvet.cli.serve import built
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.files.convert import save
from genvet.nets.build import fresh
from genvet.remote import KEY, RemoteQueries
from genvet.serve import keys, logs
from genvet.serve.app import build
from genvet.serve.home import Home
from genvet.serve.running import running

Ask = Callable[[torch.Tensor], torch.Tensor]
Rates = tuple[float, float]
AT_ONCE = 64
"""Images in an answer."""
CONNECTIONS = 32
POLICY = """
[clients]
budget = 1_000_000_000
[latents]
source = "client"
"""
MODELS = {
    "dcgan 64 px, capacity 64": ("dcgan", {"size": 64, "channels": 3, "capacity": 64, "latent": 128}),
    "dcgan 32 px, capacity 16": ("dcgan", {"size": 32, "channels": 1, "capacity": 16, "latent": 64}),
}


@contextmanager
def home(generator: Generator) -> Iterator[Path]:
    """A folder with the model, a policy, and a client whose key is in the environment."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(generator, folder / "m.safetensors", {})
        (folder / "policy.toml").write_text(POLICY)
        store = Home(folder / "home").store()
        os.environ[KEY] = keys.added(store, "bench", budget=10**9)
        store.engine.dispose()
        yield folder


@contextmanager
def apart(folder: Path, workers: int) -> Iterator[tuple[str, int]]:
    """`genvet serve` in a process group of its own: its address, and the group's number."""
    words = [sys.executable, "-m", "genvet", "serve", str(folder / "m.safetensors"), "--out", str(folder / "home")]
    words += ["--policy", str(folder / "policy.toml"), "--port", "0", "--workers", str(workers)]
    quiet: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "start_new_session": True}
    quiet["env"] = os.environ | {"TMPDIR": str(folder)}  # what a killed one leaves goes with the folder
    with subprocess.Popen(words, text=True, **quiet) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip(), server.pid
        finally:
            server.terminate()


@contextmanager
def within(folder: Path) -> Iterator[str]:
    """The same service in this process, whose processor time then is that of model, service and client together."""
    logs.configured(logging.CRITICAL)
    service, close = built(folder / "m.safetensors", folder / "policy.toml", Home(folder / "home"), Opening())
    with running(build(service, close)) as url:
        yield url


def rate(ask: Ask, z: torch.Tensor, seconds: float, threads: int) -> tuple[float, float]:
    """Images a second, and a processor second of this process, by threads that each wait for their answers."""

    def one(_: int) -> int:
        done = 0
        while time.perf_counter() < until:
            done += len(ask(z))
        return done

    began, before = time.perf_counter(), time.process_time()
    until = began + seconds
    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(one, range(threads)))
    return done / (time.perf_counter() - began), done / (time.process_time() - before)


def beside(generator: Generator, url: str, z: torch.Tensor, how: argparse.Namespace) -> list[tuple[Rates, Rates]]:
    """Rounds of the bare model and the served one, in turn."""
    views = [RemoteQueries(url, timeout=120) for _ in range(how.threads)]
    turn = count()
    generator(z), views[0](z)
    return [
        (
            rate(generator, z, how.seconds, 1),
            rate(lambda z: views[next(turn) % how.threads](z), z, how.seconds, how.threads),
        )
        for _ in range(how.rounds)
    ]


def crowd(clients: int, workers: int) -> None:
    """So many clients with 3 queries each ask 4 times, by 32 connections: what was paid for, and how fast."""
    kind, config = MODELS["dcgan 32 px, capacity 16"]
    generator = fresh(kind, config)
    with home(generator) as folder, apart(folder, workers) as (url, _):
        store = Home(folder / "home").store()
        secrets = [keys.added(store, f"c{i}", budget=3) for i in range(clients)]

        def ask(connection: int) -> list[int]:
            told = []
            # One that threads share may close a connection that another thread has just taken.
            with httpx.Client(timeout=120) as client:
                for i in range(connection, 4 * clients, CONNECTIONS):
                    headers = {"Authorization": f"Bearer {secrets[i % clients]}"}
                    told.append(client.post(f"{url}/v1/sample", json={"n": 1}, headers=headers).status_code)
            return told

        began = time.perf_counter()
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            told = [status for part in pool.map(ask, range(CONNECTIONS)) for status in part]
        took = time.perf_counter() - began
        used = {row.used for row in store.clients() if row.name.startswith("c")}
        store.engine.dispose()
    assert used == {3}, used
    paid, refused = told.count(200), told.count(402)
    print(f"{clients} clients: {paid} paid for, {refused} refused, {len(told) / took:.0f} requests/s")


def latencies(ask: Ask, z: torch.Tensor, times: int) -> list[float]:
    """Milliseconds to each of so many answers of one image, the shortest first."""
    took = []
    for i in range(times):
        began = time.perf_counter()
        ask(z[i % len(z)][None])
        took.append(1000 * (time.perf_counter() - began))
    return sorted(took)


def measured(name: str, how: argparse.Namespace) -> None:
    """One model's lines."""
    kind, config = MODELS[name]
    generator = fresh(kind, config)
    generator.module.eval().requires_grad_(False)
    z = generator.latent.sample(0, AT_ONCE, Rng(0))
    with home(generator) as folder:
        with within(folder) as url:
            told(name, "processor second", [(bare[1], behind[1]) for bare, behind in beside(generator, url, z, how)])
        with apart(folder, how.workers) as (url, _):
            told(name, "second", [(bare[0], behind[0]) for bare, behind in beside(generator, url, z, how)])
            one, own = latencies(RemoteQueries(url), z, 200), latencies(generator, z, 200)
    at = {p: one[int(p / 100 * len(one))] for p in (50, 99)}
    print(f"  one image: p50 {at[50]:.1f} ms, p99 {at[99]:.1f} ms; bare p50 {own[len(own) // 2]:.1f} ms", flush=True)


def told(name: str, of: str, pairs: list[Rates]) -> None:
    """Medians of both, and of their ratio."""
    bare, behind = (statistics.median(pair[k] for pair in pairs) for k in (0, 1))
    shares = [pair[1] / pair[0] for pair in pairs]
    print(f"{name}: images a {of}: bare {bare:.0f}, served {behind:.0f}", end="; ")
    print(f"share {statistics.median(shares):.2f} ({', '.join(f'{share:.2f}' for share in shares)})", flush=True)


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--seconds", type=float, default=8)
    parse.add_argument("--threads", type=int, default=2)
    parse.add_argument("--workers", type=int, default=1)
    parse.add_argument("--clients", type=int, default=0, help="budgets of so many clients, and nothing else")
    how = parse.parse_args()
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} before, {torch.get_num_threads()} threads, {how.workers} workers")
    if how.clients:
        crowd(how.clients, how.workers)
        return
    for name in MODELS:
        measured(name, how)


if __name__ == "__main__":
    main()
