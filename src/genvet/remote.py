"""Views of a model that is served elsewhere: what an outsider sees of it, over HTTP.

Requests and answers are safetensors, errors problem+json. A request that failed is sent again under the same key, so
that it is charged once; what was answered before is never asked for again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as unpacked
from safetensors.torch import save as packed
from torch import Tensor

from genvet.core.errors import AccessDenied, BadInput, BudgetSpent, Refused, Unsupported
from genvet.core.printable import printable
from genvet.core.scores import Answers, Scores

if TYPE_CHECKING:
    import httpx

KEY = "GENVET_KEY"
"""Environment variable that holds the key of a service: never on a command line, which others can read."""
LEFT = "Genvet-Queries-Left"
MOST = 64
"""Images in one request."""
LARGEST_ANSWER = 64 << 20
LONGEST_WAIT = 120.0
"""Seconds that a service may ask us to wait before the next try."""
TRIES = 6
AGAIN = {408, 429, 500, 502, 503, 504}
"""Answers after which the same request may be sent again."""


class RemoteScores:
    """Scores of a classifier that is served elsewhere.

    Raises BadInput where the service is none of this kind or answers nonsense, AccessDenied where it wants a key,
    BudgetSpent where its budget or ours is used up, and Unsupported where it cannot be reached.
    """

    def __init__(
        self,
        url: str,
        *,
        budget: int | None = None,
        answered: Path | None = None,
        timeout: float = 30.0,
        transport: Any = None,
        sleep: Any = time.sleep,
    ) -> None:
        self._url, self._budget, self._sleep = url.rstrip("/"), budget, sleep
        self._client = _client(timeout, transport)
        self._known = Known(answered)
        self.used = 0
        self._left: int | None = None
        about = _about(self._asked("GET", "/v1/about"))
        self.shape: tuple[int, ...] = about["shape"]
        self.classes: tuple[str, ...] = about["classes"]
        self.answers: Answers = about["answers"]

    @property
    def left(self) -> int | None:
        """Images that will still be answered, by our budget or by the service's word; None where nobody says."""
        ours = None if self._budget is None else self._budget - self.used
        known = [n for n in (ours, self._left) if n is not None]
        return min(known, default=None)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Probabilities (n, classes) for images (n, *shape)."""
        if tuple(x.shape[1:]) != self.shape:
            raise BadInput(
                "the images do not fit the service", expected=f"{self.shape} a sample", got=str(tuple(x.shape[1:]))
            )
        return (
            torch.cat([self._some(part) for part in x.float().cpu().split(MOST)])
            if len(x)
            else torch.empty(0, len(self.classes))
        )

    def _some(self, x: Tensor) -> Tensor:
        """At most one request: images that were answered before are not sent."""
        names = [hashlib.sha256(self._url.encode() + row.contiguous().numpy().tobytes()).hexdigest() for row in x]
        have = {name: self._known.get(name, len(self.classes)) for name in names}
        fresh = {name: row for name, row in zip(names, x, strict=True) if have[name] is None}
        if fresh:
            if self._budget is not None and self.used + len(fresh) > self._budget:
                raise BudgetSpent(self.used, self._budget)
            body = packed({"x": torch.stack(list(fresh.values()))})
            answer = self._asked("POST", "/v1/scores", body, hashlib.sha256("".join(fresh).encode()).hexdigest())
            scores = _scores(answer, len(fresh), len(self.classes))
            self.used += len(fresh)
            have |= dict(zip(fresh, scores, strict=True))
            self._known.put({name: row for name, row in have.items() if name in fresh and row is not None})
        return torch.stack([row for name in names if (row := have[name]) is not None])

    def _asked(self, method: str, path: str, body: bytes | None = None, key: str = "") -> bytes:
        """The body of a good answer, after as many tries as it takes."""
        import httpx

        why = ""
        for number in range(TRIES):
            try:
                with self._sent(method, path, body, key) as response:
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
            f"{printable(self._url)} gave no answer in {TRIES} tries: {why}",
            hint="try again later: what was answered is kept",
        )

    @contextmanager
    def _sent(self, method: str, path: str, body: bytes | None, key: str) -> Iterator[httpx.Response]:
        headers = {"Content-Type": "application/octet-stream", **({"Idempotency-Key": key} if key else {})}
        if secret := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {secret}"
        with self._client.stream(method, self._url + path, content=body, headers=headers) as response:
            yield response

    def _noted(self, response: httpx.Response) -> None:
        left = response.headers.get(LEFT, "")
        self._left = int(left) if left.isdecimal() and len(left) < 12 else self._left


def in_process(view: Scores) -> RemoteScores:
    """The same protocol without a network: a service in this process, for what is to be measured behind one."""
    import httpx

    about = {"kind": "classifier", "shape": view.shape, "classes": view.classes, "answers": view.answers}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/about":
            return httpx.Response(200, content=json.dumps(about).encode())
        scores = view(unpacked(request.content)["x"])
        left = {} if view.left is None else {LEFT: str(view.left)}
        return httpx.Response(200, content=packed({"scores": scores}), headers=left)

    return RemoteScores("http://in-process", transport=httpx.MockTransport(answer))


class Known:
    """Answers by the hash of what was asked: in a file that the next run goes on from, or for this run alone."""

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._data = sqlite3.connect(path or ":memory:")
            with self._data:
                self._data.execute("create table if not exists answers (name text primary key, scores blob not null)")
        except sqlite3.DatabaseError as error:
            raise BadInput(
                f"{printable(path)} holds no answers",
                got=printable(error, 100),
                hint="remove it, or name another folder",
            ) from None

    def get(self, name: str, count: int) -> Tensor | None:
        """The scores (count,) that were answered; None where none were."""
        with closing(self._data.execute("select scores from answers where name = ?", (name,))) as found:
            row = found.fetchone()
        if row is None or not isinstance(row[0], bytes) or len(row[0]) != 4 * count:
            return None
        return torch.from_numpy(np.frombuffer(row[0], "<f4").copy())

    def put(self, answers: Mapping[str, Tensor]) -> None:
        """Keep them, all or none."""
        rows = [(name, scores.numpy().astype("<f4").tobytes()) for name, scores in answers.items()]
        with self._data:
            self._data.executemany("insert or replace into answers values (?, ?)", rows)


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


def _about(body: bytes) -> dict[str, Any]:
    """What a service says that it is; raises BadInput where it is no classifier."""
    try:
        about = json.loads(body)
        shape, classes = tuple(about["shape"]), tuple(about["classes"])
        fits = (
            about["kind"] == "classifier" and about["answers"] in ("scores", "top_k", "label") and len(shape) in (2, 3)
        )
        fits = fits and all(type(n) is int and 0 < n <= 4096 for n in shape)
        fits = fits and 1 < len(classes) <= 1_000_000 and all(isinstance(name, str) for name in classes)
    except (ValueError, KeyError, TypeError, RecursionError):
        fits = False
    if not fits:
        raise BadInput(
            "there is no classifier at this address",
            expected="/v1/about that tells shape, classes, answers",
            got=printable(body[:100]),
        )
    return {"shape": shape, "classes": classes, "answers": about["answers"]}


def _scores(body: bytes, n: int, classes: int) -> Tensor:
    """Probabilities (n, classes) out of an answer; raises BadInput where there are none."""
    try:
        found = unpacked(body)
    except (SafetensorError, ValueError, OverflowError):
        raise BadInput("the service's answer is no safetensors", got=f"{len(body)} bytes") from None
    if (x := found.get("scores")) is not None and _fits(x, (n, classes), 0.0, 1.0):
        return x.float()
    label, top = found.get("label"), found.get("top")
    if label is not None and _fits(label, (n,), 0, classes - 1):
        return torch.nn.functional.one_hot(label.long(), classes).float()
    if top is not None and (p := found.get("top_scores")) is not None and top.ndim == 2:
        if _fits(top, (n, top.shape[1]), 0, classes - 1) and _fits(p, tuple(top.shape), 0.0, 1.0):
            return torch.zeros(n, classes).scatter(1, top.long(), p.float())
    got = ", ".join(f"{printable(k, 20)} {tuple(t.shape)}" for k, t in found.items())
    raise BadInput(
        "the service's answer does not fit", expected=f"scores ({n}, {classes}) in [0, 1], label or top", got=got
    )


def _fits(x: Tensor, shape: tuple[int, ...], low: float, high: float) -> bool:
    """Whether these are finite numbers of this shape, within these bounds."""
    if tuple(x.shape) != shape or x.is_complex() or (x.is_floating_point() and not bool(x.isfinite().all())):
        return False
    return not x.numel() or (float(x.min()) >= low - 1e-4 and float(x.max()) <= high + 1e-4)
