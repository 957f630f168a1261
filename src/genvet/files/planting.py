"""Canaries among the data: images that no data set has, each in by the toss of a coin, for an audit that guesses."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import torch

from genvet.core.data import Images, Labelled, Split
from genvet.core.rng import Rng
from genvet.maths.epsilon_audit import canaries, chosen

Kind = TypeVar("Kind", bound=Images)


def with_canaries(images: Kind, n: int, rng: Rng) -> tuple[Kind, Split]:
    """The images, and after them those of `n` canaries that a fair coin chose; and all canaries, in and out.

    Where images have labels, canaries have some by chance.
    """
    inside = chosen(n, rng)
    every = Images(canaries(n, tuple(images.x.shape[1:]), rng), tuple(f"canary#{i}" for i in range(n)))
    split = Split(every.take(inside), every.take(~inside))
    sown = {"x": torch.cat([images.x, split.members.x.to(images.x)]), "names": (*images.names, *split.members.names)}
    if isinstance(images, Labelled):
        labels = torch.randint(len(images.classes), (len(split.members),), generator=rng.fork("labels").block())
        sown["labels"] = torch.cat([images.labels, labels.to(images.labels)])
    return replace(images, **sown), split
