"""What a technique may be given besides its target."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from genvet.core.errors import BadInput


@dataclass(frozen=True, eq=False)
class Images:
    """Images (n, c, h, w) or sounds (n, 1, t), float in [-1, 1], with where each came from."""

    x: Tensor
    names: tuple[str, ...]
    skipped: tuple[str, ...] = field(default=(), kw_only=True)
    """Pictures that were left out, each with the reason."""

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Tensor) -> Self:
        """Some of them, by numbers (m,) or by whether each is wanted (n,), with all that is known of each.

        >>> Images(torch.zeros(3, 1, 2, 2), ("a", "b", "c")).take(torch.tensor([2, 0])).names
        ('c', 'a')
        """
        rows = rows.nonzero().flatten() if rows.dtype == torch.bool else rows
        told: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        told = {name: v[rows.to(v.device)] for name, v in told.items() if isinstance(v, Tensor) and len(v) == len(self)}
        return replace(self, **told | {"names": tuple(self.names[i] for i in rows.tolist())})

    def fitting(self, shape: tuple[int, ...]) -> Tensor:
        """The tensor, where one sample has this shape; raises BadInput otherwise."""
        if tuple(self.x.shape[1:]) != tuple(shape):
            raise BadInput(
                "the images do not fit this generator",
                expected=f"{tuple(shape)} a sample",
                got=str(tuple(self.x.shape[1:])),
                hint="give images of the generator's own size and channels (a folder of images is resized for you)",
            )
        return self.x


@dataclass(frozen=True, eq=False)
class Critic:
    """A discriminator: samples of one shape -> a score each, (n, 1), larger for real ones. Given, never reached."""

    module: nn.Module
    shape: tuple[int, ...]
    """Of one sample."""

    def __call__(self, x: Tensor) -> Tensor:
        score: Tensor = self.module(x)
        return score


@dataclass(frozen=True, eq=False)
class Encoder:
    """What a VAE reads images with: samples of one shape -> mean and log-variance of their latents, (n, dim) each."""

    module: nn.Module
    shape: tuple[int, ...]
    """Of one sample."""


@dataclass(frozen=True, eq=False)
class Sounds(Images):
    """Sounds (n, 1, t), float in [-1, 1]."""

    rate: int = 16_000
    """Samples a second."""


@dataclass(frozen=True, eq=False)
class Labelled(Images):
    """Samples, each of one class: `labels` (n,) are numbers into `classes`."""

    labels: Tensor
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Split:
    """Records that a generator was trained on, and others of the same kind that it never saw."""

    members: Images
    non_members: Images
    people: tuple[Tensor, Tensor] | None = None
    """Whom each record shows, as numbers (n,) and (m,); None where nobody says."""
