"""What a service answered: read as the claims of somebody who may lie, and kept for the next run."""

from __future__ import annotations

import json
import math
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as unpacked
from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.latent import Distribution, Latent
from genvet.core.printable import printable
from genvet.core.queries import STATUS, Reply

MOST = 64
"""Queries in one request, unless the service takes fewer."""


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

    def get(self, name: str, count: int | None = None) -> Tensor | None:
        """The numbers that were answered; None where none were, or not so many as there should be."""
        with closing(self._data.execute("select scores from answers where name = ?", (name,))) as found:
            row = found.fetchone()
        if row is None or not isinstance(row[0], bytes) or len(row[0]) != (4 * count if count else len(row[0]) & ~3):
            return None
        return torch.from_numpy(np.frombuffer(row[0], "<f4").copy())

    def run(self) -> str:
        """A random word of this file: the same for every run that goes on from it."""
        have = self.get("run", 8)
        if have is None:
            have = torch.tensor([float(secrets.randbelow(1 << 16)) for _ in range(8)])
            self.put({"run": have})
        return ".".join(f"{n:.0f}" for n in have.tolist())

    def put(self, answers: Mapping[str, Tensor]) -> None:
        """Keep them, all or none."""
        rows = [(name, scores.numpy().astype("<f4").tobytes()) for name, scores in answers.items()]
        with self._data:
            self._data.executemany("insert or replace into answers values (?, ?)", rows)


def about_classifier(body: bytes) -> dict[str, Any]:
    """What a service says that it is; raises BadInput where it is no classifier."""
    with _told("classifier", "shape, classes, answers", body):
        about = json.loads(body)
        shape, classes, answers = tuple(about["shape"]), tuple(about["classes"]), about["answers"]
        fits = about["kind"] == "classifier" and answers in ("scores", "top_k", "label") and len(shape) in (2, 3)
        fits = fits and all(_whole(n, 1, 4096) for n in shape)
        fits = fits and _whole(most := about.get("most", MOST), 1, 1 << 20)
        fits = fits and 1 < len(classes) <= 1_000_000 and all(isinstance(name, str) for name in classes)
        if not fits:
            raise ValueError
    return {"shape": shape, "classes": classes, "answers": answers, "most": min(most, MOST)}


def about_generator(body: bytes) -> dict[str, Any]:
    """What a service says that it is; raises BadInput where it is no generator."""
    with _told("generator", "shape, latent, latents, brings", body):
        about = json.loads(body)
        shape, prior, brings = tuple(about["shape"]), about["latent"], about["brings"]
        fits = about["kind"] == "generator" and len(shape) in (2, 3) and all(_whole(n, 1, 4096) for n in shape[:1])
        fits = fits and all(_whole(n, 1, 1 << 24) for n in shape) and _whole(brings, 1, 4096)
        fits = fits and _whole(prior["dim"], 1, 65_536) and _whole(prior["classes"], 0, 1_000_000)
        fits = fits and prior["distribution"] in get_args(Distribution) and about["latents"] in ("client", "server")
        fits = fits and _whole(most := about.get("most", MOST), 1, 1 << 20)
        if not fits:
            raise ValueError
        latent = Latent(prior["dim"], prior["distribution"], prior["classes"])
    return {"shape": shape, "latent": latent, "latents": about["latents"], "brings": brings, "most": min(most, MOST)}


@contextmanager
def _told(kind: str, what: str, body: bytes) -> Iterator[None]:
    """Raises BadInput where what a service says of itself cannot be read as this kind of model."""
    try:
        yield
    except (ValueError, KeyError, TypeError, RecursionError):
        other = "classifier" if kind == "generator" else "generator"
        raise BadInput(
            f"there is no {kind} at this address",
            expected=f"/v1/about that tells {what}",
            got=printable(body[:100]),
            hint=ASKED_BY[other] if other.encode() in body[:100] else "",
        ) from None


ASKED_BY = {
    "classifier": "a classifier is asked by genvet attack mirror_black_box, evolution or label_only",
    "generator": "a generator is asked by genvet guard-test, and genvet attack fidelity or nearest",
}


def _whole(n: object, low: int, high: int) -> bool:
    return type(n) is int and low <= n <= high


def scores(body: bytes, n: int, classes: int) -> Tensor:
    """Probabilities (n, classes) out of an answer; raises BadInput where there are none."""
    found = _tensors(body)
    if (x := found.get("scores")) is not None and _fits(x, (n, classes), 0.0, 1.0):
        return x.float()
    label, top = found.get("label"), found.get("top")
    if label is not None and _fits(label, (n,), 0, classes - 1):
        return torch.nn.functional.one_hot(label.long(), classes).float()
    if top is not None and (p := found.get("top_scores")) is not None and top.ndim == 2:
        if _fits(top, (n, top.shape[1]), 0, classes - 1) and _fits(p, tuple(top.shape), 0.0, 1.0):
            return torch.zeros(n, classes).scatter(1, top.long(), p.float())
    raise _misfit(found, f"scores ({n}, {classes}) in [0, 1], label or top")


def reply(body: bytes, n: int, shape: tuple[int, ...]) -> Reply:
    """What came back for n queries, out of an answer; raises BadInput where it does not fit."""
    found = _tensors(body)
    x, owner, status = (found.get(name) for name in ("x", "owner", "status"))
    if x is not None and owner is not None and status is not None and x.ndim == 1 + len(shape):
        fits = _fits(x, (len(x), *shape), -math.inf, math.inf) and _fits(status, (n,), 0, len(STATUS) - 1)
        fits = fits and _fits(owner, (len(x),), 0, n - 1) and not any(t.is_floating_point() for t in (owner, status))
        if fits and bool((owner.diff() >= 0).all()):
            return Reply(x.float(), owner.long(), status.long())
    raise _misfit(found, f"x (m, {', '.join(map(str, shape))}), owner (m,) in order, status ({n},)")


def each(whole: Reply) -> list[Reply]:
    """A reply to each query alone."""
    cuts = torch.searchsorted(whole.owner, torch.arange(len(whole.status) + 1)).tolist()
    owners = torch.zeros_like(whole.owner)
    return [Reply(whole.images[a:b], owners[a:b], whole.status[i : i + 1]) for i, (a, b) in enumerate(pairwise(cuts))]


def joined(parts: Sequence[Reply], shape: tuple[int, ...]) -> Reply:
    """The reply to all queries, out of replies to some of them in turn."""
    starts = torch.tensor([0, *(len(part.status) for part in parts)]).cumsum(0)
    nothing = torch.empty(0, dtype=torch.long)
    return Reply(
        torch.cat([torch.empty(0, *shape), *(part.images for part in parts)]),
        torch.cat([nothing, *(part.owner + int(start) for part, start in zip(parts, starts, strict=False))]),
        torch.cat([nothing, *(part.status for part in parts)]),
    )


def _tensors(body: bytes) -> dict[str, Tensor]:
    try:
        return unpacked(body)
    except (SafetensorError, ValueError, OverflowError, KeyError, TypeError, RuntimeError):
        raise BadInput("the service's answer is no safetensors", got=f"{len(body)} bytes") from None


def _misfit(found: Mapping[str, Tensor], expected: str) -> BadInput:
    got = ", ".join(f"{printable(k, 20)} {tuple(t.shape)}" for k, t in found.items())
    return BadInput("the service's answer does not fit", expected=expected, got=got)


def _fits(x: Tensor, shape: tuple[int, ...], low: float, high: float) -> bool:
    """Whether these are finite numbers of this shape, within these bounds."""
    if tuple(x.shape) != shape or x.is_complex() or (x.is_floating_point() and not bool(x.isfinite().all())):
        return False
    return not x.numel() or (float(x.min()) >= low - 1e-4 and float(x.max()) <= high + 1e-4)
