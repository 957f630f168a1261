"""Which pictures an audit looks at where all would take too long, and rows of them in a named space."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from genvet.core.dataset import Dataset
from genvet.core.modelfile import Evidence
from genvet.core.rng import Rng
from genvet.nets.spaces import Space, pixels, random_convolutions, thumbnails

SpaceName = Literal["thumbnails", "random-conv-1", "pixels"]
CHUNK = 512


def chosen(n: int, most: int, rng: Rng) -> list[int]:
    """All, or so many drawn at random, in rising order."""
    if n <= most:
        return list(range(n))
    drawn = torch.randperm(n, generator=rng.fork("chosen").block())[:most]
    return sorted(int(i) for i in drawn)


def space(name: SpaceName) -> Space:
    """Where pictures are compared: thumbnails, drawn convolutions that have seen no picture, or pixels."""
    return {"thumbnails": thumbnails, "random-conv-1": random_convolutions, "pixels": pixels}[name]()


def rows(dataset: Dataset, which: list[int], name: SpaceName, mirrored: bool = False) -> Tensor:
    """The pictures there, (n, d)."""
    embed = space(name)
    parts = [which[start : start + CHUNK] for start in range(0, len(which), CHUNK)]
    found = [embed(dataset.x(part).flip(3) if mirrored else dataset.x(part)) for part in parts]
    return torch.cat(found) if found else torch.empty(0, 1)


def coupling(what: str) -> Evidence:
    """That taking these away makes records depend on one another."""
    return Evidence(rule="data.coupling", message=f"before a private training, {what} has to be done, or charged")
