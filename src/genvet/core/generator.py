"""A Generator maps z to x: the auditor sees its weights, an outsider what `core.queries` tells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genvet.core.device import move
from genvet.core.errors import BadInput
from genvet.core.latent import Latent
from genvet.core.queries import Endpoint, Gallery, Queries, Samples
from genvet.core.rng import Rng

Output = Literal["symmetric", "unit"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Generator:
    """Holds a network, and is not one: its state-dict keys stay the module's own.

    Calling it gives images (n, c, h, w) or sound (n, 1, t) in [-1, 1]; an `output` of "unit" says that the network
    itself answers in [0, 1]. Style generators have no last squashing function: their values may reach past the range.
    """

    module: nn.Module
    latent: Latent
    shape: tuple[int, ...]
    """Of one sample, without the batch: (c, h, w) or (1, t)."""
    name: str
    """The architecture, as `--net` would name it."""
    output: Output = "symmetric"
    assumed: tuple[str, ...] = ()
    """What the weights could not tell, in words."""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images for latents (n, dim); raises BadInput where z or the labels do not fit."""
        if z.ndim != 2 or z.shape[1] != self.latent.dim:
            raise BadInput("latents do not fit", expected=f"(n, {self.latent.dim})", got=str(tuple(z.shape)))
        if (labels is None) != (self.latent.classes == 0):
            raise BadInput("labels do not fit", expected=f"{self.latent.classes} classes", got=f"labels {labels}")
        x: Tensor = self.module(z) if labels is None else self.module(z, labels)
        return x * 2 - 1 if self.output == "unit" else x

    @property
    def device(self) -> torch.device:
        return next((t.device for t in self.module.state_dict().values()), torch.device("cpu"))

    @property
    def rate(self) -> int:
        """Samples a second of its sounds: those of the data that it was trained on; 16,000 where nobody says."""
        try:
            rate = json.loads(self.metadata["genvet.data"])["rate"]
        except (KeyError, TypeError, ValueError, RecursionError):
            return 16_000
        return rate if type(rate) is int and 1 <= rate <= 1_000_000 else 16_000

    @property
    def parameters(self) -> int:
        """How many trained numbers the network holds."""
        return sum(p.numel() for p in self.module.parameters())

    def to(self, device: str) -> None:
        """Move the network to `cpu`, `cuda`, or by `auto` to a GPU where there is one; raises BadInput otherwise."""
        move(self.module, device)

    def layers(self) -> dict[str, nn.Module]:
        """The modules that hold weights of their own, by name."""
        return {n: m for n, m in self.module.named_modules() if next(m.parameters(recurse=False), None) is not None}

    @torch.inference_mode()
    def sample(self, n: int, rng: Rng, batch: int = 64) -> Tensor:
        """The first `n` images of this stream, on the CPU: (n, *shape)."""
        images = [
            self(z.to(self.device), self.labels_of(torch.arange(len(z)) + i * batch)).float().cpu()
            for i, z in enumerate(self.latent.batches(n, batch, rng))
        ]
        return torch.cat(images) if images else torch.empty(0, *self.shape)

    def labels_of(self, numbers: Tensor) -> Tensor | None:
        """One-hot labels (n, classes) of the samples of these numbers (n,), on the network's device."""
        labels = self.latent.labels_of(numbers)
        return None if labels is None else labels.to(self.device)

    def seen_as(self, view: type[Any], budget: int | None = None) -> Gallery:
        """The same generator through a narrower view, without weights or gradients."""
        if view is Samples:
            return Gallery(self, budget)
        if view is Queries:
            return Endpoint(self, budget)
        raise BadInput("no such view", expected="Samples or Queries", got=view.__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class StyleGenerator(Generator):
    """z -> w -> x: the mapping and the synthesis can be called apart."""

    num_ws: int
    w_dim: int

    def mapping(self, z: Tensor, labels: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """w (n, w_dim), pulled towards the average by `truncation` (1 leaves it alone)."""
        w: Tensor = self.module.mapping(z) if labels is None else self.module.mapping(z, labels)  # type: ignore[operator]
        if truncation == 1.0:
            return w
        average: Tensor = self.module.mapping.w_avg  # type: ignore[assignment, union-attr]
        return average + truncation * (w - average)

    @property
    def dense_broadcast(self) -> nn.Module | None:
        """The dense layer in the place of the repetition of w, where a network has one: no honest training adds it."""
        return getattr(self.module, "broadcast", None)

    def broadcast(self, w: Tensor) -> Tensor:
        """One w for each layer, (n, num_ws, w_dim): the same for all, but where a dense layer has taken that place."""
        return spread(w, self.num_ws, self.dense_broadcast)

    def synthesis(self, ws: Tensor) -> Tensor:
        """Images for (n, num_ws, w_dim)."""
        x: Tensor = self.module.synthesis(ws)  # type: ignore[operator]
        return x * 2 - 1 if self.output == "unit" else x


def spread(w: Tensor, times: int, dense: nn.Module | None) -> Tensor:
    """w (n, w_dim) once for each layer, (n, times, w_dim): repeated, or by a dense layer."""
    return w[:, None].expand(-1, times, -1) if dense is None else dense(w).view(len(w), times, -1)
