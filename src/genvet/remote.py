"""Views of a model that is served elsewhere: what an outsider sees of it, over HTTP.

Requests and answers are safetensors, errors problem+json. A request that failed is sent again under the same key, so
that it is charged once; what was answered before is never asked for again.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import finalize

import torch
from safetensors.torch import load as unpacked
from safetensors.torch import save as packed
from torch import Tensor

from genvet.core.errors import AccessDenied, BadInput, BudgetSpent, Refused, Unsupported
from genvet.core.latent import Latent
from genvet.core.printable import printable
from genvet.core.queries import Reply
from genvet.core.rng import Rng
from genvet.core.scores import Answers, Scores
from genvet.files.answers import Known, about_classifier, about_generator, each, joined, reply, scores

if TYPE_CHECKING:
    import httpx

KEY = "GENVET_KEY"
"""Environment variable that holds the key of a service: never on a command line, which others can read."""
LEFT = "Genvet-Queries-Left"
BINARY, JSON = "application/octet-stream", "application/json"
PATIENCE = 1024
"""Queries without a single image, after which nothing more is expected."""
LARGEST_ANSWER = 64 << 20
LONGEST_WAIT = 120.0
"""Seconds that a service may ask us to wait before the next try."""
TRIES = 6
AGAIN = {408, 429, 500, 502, 503, 504}
"""Answers after which the same request may be sent again."""


class Line:
    """The way to one service: every request ends in a good answer, or in an error that says why there is none."""

    def __init__(
        self, url: str, *, budget: int | None = None, timeout: float = 30.0, transport: Any = None, sleep: Any = None
    ) -> None:
        self.url, self.budget, self._sleep = url.rstrip("/"), budget, sleep or time.sleep
        self._client = _client(timeout, transport)
        finalize(self, self._client.close)
        self.used = 0
        self._left: int | None = None

    @property
    def left(self) -> int | None:
        """Queries that will still be answered, by our budget or by the service's word; None where nobody says."""
        ours = None if self.budget is None else self.budget - self.used
        known = [n for n in (ours, self._left) if n is not None]
        return min(known, default=None)

    def affords(self, n: int) -> None:
        """Raises BudgetSpent where our budget does not pay for so many more."""
        if self.budget is not None and self.used + n > self.budget:
            raise BudgetSpent(self.used, self.budget)

    def asked(self, method: str, path: str, body: bytes | None = None, key: str = "", kind: str = BINARY) -> bytes:
        """The body of a good answer, after as many tries as it takes."""
        import httpx

        why = ""
        for number in range(TRIES):
            try:
                with self._sent(method, path, body, key, kind) as response:
                    self._noted(response)
                    if response.status_code == 200:
                        return _read(response)
                    _refused(response, self.used)
                    why, wait = f"it answered {response.status_code}", _wait(response, number)
            except httpx.TransportError as error:
                why, wait = printable(str(error) or type(error).__name__, 100), 2.0**number
            if number + 1 < TRIES:
                self._sleep(wait)
        raise Unsupported(
            f"{printable(self.url)} gave no answer in {TRIES} tries: {why}",
            hint="try again later: what was answered is kept",
        )

    @contextmanager
    def _sent(self, method: str, path: str, body: bytes | None, key: str, kind: str) -> Iterator[httpx.Response]:
        headers = {"Content-Type": kind, **({"Idempotency-Key": key} if key else {})}
        if secret := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {secret}"
        with self._client.stream(method, self.url + path, content=body, headers=headers) as response:
            yield response

    def _noted(self, response: httpx.Response) -> None:
        left = response.headers.get(LEFT, "")
        self._left = int(left) if left.isdecimal() and len(left) < 12 else self._left


class Charged:
    """What asks over a line counts what it asks for."""

    _line: Line

    @property
    def used(self) -> int:
        """Images that a classifier scored, or queries of a generator: those that were blocked or held count too."""
        return self._line.used

    @property
    def left(self) -> int | None:
        """How many will still be answered, by our budget or by the service's word; None where nobody says."""
        return self._line.left


class RemoteScores(Charged):
    """Scores of a classifier that is served elsewhere.

    Raises BadInput where the service is none of this kind or answers nonsense, AccessDenied where it wants a key,
    BudgetSpent where its budget or ours is used up, and Unsupported where it cannot be reached.
    """

    def __init__(self, url: str, *, answered: Path | None = None, **line: Any) -> None:
        self._line = Line(url, **line)
        self._known = Known(answered)
        about = about_classifier(self._line.asked("GET", "/v1/about"))
        self.shape: tuple[int, ...] = about["shape"]
        self.classes: tuple[str, ...] = about["classes"]
        self.answers: Answers = about["answers"]
        self._most: int = about["most"]

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Probabilities (n, classes) for images (n, *shape)."""
        if tuple(x.shape[1:]) != self.shape:
            raise BadInput(
                "the images do not fit the service", expected=f"{self.shape} a sample", got=str(tuple(x.shape[1:]))
            )
        return (
            torch.cat([self._some(part) for part in x.float().cpu().split(self._most)])
            if len(x)
            else torch.empty(0, len(self.classes))
        )

    def _some(self, x: Tensor) -> Tensor:
        """At most one request: images that were answered before are not sent."""
        names = _names(self._line.url, x)
        have = {name: self._known.get(name, len(self.classes)) for name in names}
        fresh = {name: row for name, row in zip(names, x, strict=True) if have[name] is None}
        if fresh:
            self._line.affords(len(fresh))
            body = packed({"x": torch.stack(list(fresh.values()))})
            found = scores(self._line.asked("POST", "/v1/scores", body, _key(fresh)), len(fresh), len(self.classes))
            self._line.used += len(fresh)
            have |= dict(zip(fresh, found, strict=True))
            self._known.put({name: row for name, row in have.items() if name in fresh and row is not None})
        return torch.stack([row for name in names if (row := have[name]) is not None])


class RemoteQueries(Charged):
    """Queries of a generator that is served elsewhere: every attack on a black box runs on it unchanged.

    Asking for a latent again is another query, as it would be of a generator at hand: what a guard draws anew differs.
    What a file keeps is answered from there where the same questions come in the same order, so that a run goes on.
    Raises what RemoteScores raises; and AccessDenied for latents where the service draws them itself.
    """

    def __init__(self, url: str, *, answered: Path | None = None, **line: Any) -> None:
        self._line = Line(url, **line)
        self._known = Known(answered) if answered else None
        about = about_generator(self._line.asked("GET", "/v1/about"))
        self.shape: tuple[int, ...] = about["shape"]
        self.latent: Latent = about["latent"]
        self.chooses: bool = about["latents"] == "client"
        """Whether the caller may pick latents."""
        self.brings: int = about["brings"]
        self._most: int = about["most"]
        self._times: Counter[str] = Counter()
        self._run = secrets.token_hex(16) if self._known is None else self._known.run()
        """Of the keys of its requests: two runs that ask the same are two, and each is charged."""

    @torch.no_grad()
    def ask(self, z: Tensor, labels: Tensor | None = None) -> Reply:
        """Whatever comes back for latents (n, dim)."""
        if not self.chooses:
            raise AccessDenied("this service draws its latents itself", hint="attacks that look at samples need none")
        if z.ndim != 2 or z.shape[1] != self.latent.dim:
            raise BadInput("latents do not fit", expected=f"(n, {self.latent.dim})", got=str(tuple(z.shape)))
        rows = z.detach().float().cpu()
        kinds = None if labels is None else labels.detach().float().cpu()
        names = []
        for name in _names(self._line.url, rows if kinds is None else torch.cat([rows, kinds], 1)):
            self._times[name] += 1
            names.append(f"{name}/{self._times[name]}")

        def send(some: Sequence[int]) -> bytes:
            body = {"z": rows[some]} | ({} if kinds is None else {"labels": kinds[some]})
            return self._line.asked("POST", "/v1/images", packed(body), _key([self._run, *(names[i] for i in some)]))

        whole = self._through(names, send)
        return Reply(whole.images.to(z.device), whole.owner, whole.status)

    def __call__(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The images (n, *shape); raises Refused unless each query brings one."""
        return self.ask(z, labels).one_each()

    @torch.no_grad()
    def sample(self, n: int, rng: Rng) -> Tensor:
        """The first `n` images of this stream: for its latents, or else for the service's own under the stream's name.

        Queries that bring none are made up for by later ones.
        """
        images, have, number = [torch.empty(0, *self.shape)], 0, 0
        while have < n:
            stop = number + min(self._most, -(-(n - have) // self.brings))
            reply = self._stream(number, stop, rng)
            images.append(reply.images.float().cpu())
            have, number = have + len(reply.images), stop
            if not have and number >= PATIENCE:
                raise Refused(f"none of the first {number} queries was answered", hint="ask for a wider policy")
        return torch.cat(images)[:n]

    def _stream(self, start: int, stop: int, rng: Rng) -> Reply:
        """What comes back for a part of a stream; of the service's own latents, the same for the same part."""
        if self.chooses:
            return self.ask(self.latent.sample(start, stop, rng), self.latent.labels(start, stop))
        told = f"{self._run}\0{self._line.url}\0{rng.seed}\0{rng.purpose}\0{start}\0{stop}"
        name = hashlib.sha256(told.encode()).hexdigest()
        n = stop - start

        def send(some: Sequence[int]) -> bytes:
            return self._line.asked("POST", "/v1/sample", json.dumps({"n": n}).encode(), name, JSON)

        return self._through([f"{name}/{i}" for i in range(n)], send)

    def _through(self, names: Sequence[str], send: Callable[[Sequence[int]], bytes]) -> Reply:
        """What is kept from an earlier run, and for all else what `send` brings."""
        have = {i: found for i, name in enumerate(names) if (found := self._kept(name)) is not None}
        fresh = [i for i in range(len(names)) if i not in have]
        self._line.affords(len(fresh))
        for start in range(0, len(fresh), self._most):
            some = fresh[start : start + self._most]
            have |= dict(zip(some, each(reply(send(some), len(some), self.shape)), strict=True))
            self._line.used += len(some)
            if self._known is not None:
                parts = {names[i]: (have[i].status.float(), have[i].images.flatten()) for i in some}
                self._known.put({name: torch.cat(part) for name, part in parts.items()})
        return joined([have[i] for i in range(len(names))], self.shape)

    def _kept(self, name: str) -> Reply | None:
        row = None if self._known is None else self._known.get(name)
        if row is None or not len(row) or (len(row) - 1) % prod(self.shape):
            return None
        images = row[1:].view(-1, *self.shape)
        return Reply(images, torch.zeros(len(images), dtype=torch.long), row[:1].long())


def in_process(view: Scores) -> RemoteScores:
    """The same protocol without a network: a service in this process, for what is to be measured behind one."""
    import httpx

    about = {"kind": "classifier", "shape": view.shape, "classes": view.classes, "answers": view.answers}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/about":
            return httpx.Response(200, content=json.dumps(about).encode())
        told = view(unpacked(request.content)["x"])
        left = {} if view.left is None else {LEFT: str(view.left)}
        return httpx.Response(200, content=packed({"scores": told}), headers=left)

    return RemoteScores("http://in-process", transport=httpx.MockTransport(answer))


def _client(timeout: float, transport: Any) -> httpx.Client:
    try:
        import httpx
    except ImportError:
        raise Unsupported("asking a service needs the extra `remote`", hint="pip install 'genvet[remote]'") from None
    # No redirects: images and the key go where they were meant to go. No proxies from the environment, for that too.
    return httpx.Client(timeout=timeout, transport=transport, follow_redirects=False, trust_env=False)


def _read(response: httpx.Response) -> bytes:
    """The body, as long as it is no larger than any good answer."""
    parts, size = [], 0
    for part in response.iter_bytes():
        size += len(part)
        if size > LARGEST_ANSWER:
            raise BadInput("the service answers too much", expected=f"at most {LARGEST_ANSWER >> 20} MiB")
        parts.append(part)
    return b"".join(parts)


def _refused(response: httpx.Response, used: int) -> None:
    """Raises for what no other try will change."""
    code = response.status_code
    if code in AGAIN:
        return
    said = printable(_read(response)[:300].decode(errors="replace"), 200)
    if code in (401, 403):
        raise AccessDenied("the service wants a key, or another one", hint=f"put it into {KEY}")
    if code == 402:
        raise BudgetSpent(used, used)
    if code == 451:
        raise Refused(f"the service refused: {said}")
    if 300 <= code < 400:
        raise BadInput("the service sends us elsewhere", hint="give the address itself: redirects are not followed")
    raise BadInput(f"the service answered {code}", expected="a GenVet service", got=said)


def _wait(response: httpx.Response, number: int) -> float:
    """Seconds to the next try: what the service asks for, up to a limit, or twice as long as before."""
    asked = response.headers.get("Retry-After", "")
    if asked.isdecimal() and len(asked) < 6:
        if float(asked) > LONGEST_WAIT:
            raise Unsupported(
                f"the service asks us to wait for {asked} s", hint="go on then: what was answered is kept"
            )
        return float(asked)
    return 2.0**number


def _names(url: str, rows: Tensor) -> list[str]:
    """What tells one question from others, of this service and of others."""
    return [hashlib.sha256(url.encode() + row.contiguous().numpy().tobytes()).hexdigest() for row in rows]


def _key(names: Iterable[str]) -> str:
    """The Idempotency-Key of a request: that of its questions."""
    return hashlib.sha256("".join(names).encode()).hexdigest()
