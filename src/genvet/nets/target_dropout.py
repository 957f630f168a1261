"""Dropout inside a classifier under attack, by hooks: images that please all of its thinned twins transfer better.

MIRROR (An et al., NDSS 2022, sec. IV-D) draws a few layers of a VGG at random for every step, and drops some of their
channels or units. Here any architecture has such layers: where its maps become smaller, and its hidden dense layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from genvet.core.classifier import Classifier
from genvet.core.errors import Unsupported
from genvet.maths.counted import uniform

Hook = Callable[[nn.Module, object, Tensor], Tensor]
DRAWS, NONE = 5, 6
"""Up to so many draws, with replacement, from five places and one that stands for none."""
MAPS = (0.5, 0.2, 0.2, 0.1, 0.1)
"""Share of channels dropped at each place, by how many places were drawn: the more places, the less at each."""
UNITS = (0.6, 0.5)
"""The same of hidden dense layers, of two draws from two places and one that stands for none."""


@dataclass(frozen=True, eq=False)
class Places:
    """The modules whose outputs are thinned, in the order in which they run."""

    maps: tuple[nn.Module, ...]
    """At most five, (n, c, h, w) each: channels are dropped."""
    units: tuple[nn.Module, ...]
    """At most two, (n, d) each."""


@torch.no_grad()
def places(classifier: Classifier) -> Places:
    """The last modules before maps become smaller, and hidden dense layers; raises Unsupported where there is none."""
    seen: list[tuple[nn.Module, torch.Size]] = []
    leaves = [m for m in classifier.module.modules() if next(m.children(), None) is None]

    def noted(module: nn.Module, given: object, x: Tensor) -> None:
        seen.append((module, x.shape))

    hooks = [leaf.register_forward_hook(noted) for leaf in leaves]
    try:
        classifier.logits(torch.zeros(1, *classifier.shape, device=classifier.device))
    finally:
        for hook in hooks:
            hook.remove()
    maps = [m for (m, a), (_, b) in zip(seen, [*seen[1:], (None, None)], strict=True) if len(a) == 4 and _shrinks(a, b)]
    hidden = [m for m, shape in seen[:-1] if isinstance(m, nn.Linear) and len(shape) == 2]
    if not maps and not hidden:
        raise Unsupported("no layer of this classifier can be thinned", hint="attack it with --dropout none")
    return Places(tuple(maps[-5:]), tuple(hidden[-2:]))


def _shrinks(before: torch.Size, after: torch.Size | None) -> bool:
    """Whether what follows has fewer places in the plane, or none any more."""
    return after is None or len(after) != 4 or after[2:].numel() < before[2:].numel()


@dataclass(eq=False)
class Thinned:
    """A classifier whose layers are thinned anew for every row and step; nothing of it depends on the other rows."""

    classifier: Classifier
    seed: int
    found: Places = field(init=False)

    def __post_init__(self) -> None:
        self.found = places(self.classifier)

    @contextmanager
    def at(self, rows: Tensor, step: Tensor | int) -> Iterator[None]:
        """Thin what is computed inside for rows (n,) at a step each."""
        kinds = ((self.found.maps, MAPS, DRAWS, NONE), (self.found.units, UNITS, 2, 3))
        hooks = []
        for number, (modules, shares, draws, none) in enumerate(kinds):
            rates = self._rates(len(modules), shares, draws, none, rows, step, number)
            for i, module in enumerate(modules):
                hooks.append(module.register_forward_hook(self._dropping(rates[:, i], rows, step, 7 * number + i)))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _rates(
        self, count: int, shares: tuple[float, ...], draws: int, none: int, rows: Tensor, step: Tensor | int, kind: int
    ) -> Tensor:
        """How much is dropped at each place for each row, (n, count)."""
        if not count:
            return torch.zeros(len(rows), 0)
        drawn = uniform(self.seed + 100 + kind, rows, step, draws + 1)
        times = (drawn[:, :1] * draws).floor() if draws == DRAWS else torch.full_like(drawn[:, :1], draws - 1)
        taken = torch.arange(draws, device=rows.device) <= times
        place = (drawn[:, 1:] * none).floor().long()
        hit = torch.zeros(len(rows), none, device=rows.device).scatter_add_(1, place, taken.float()) > 0
        hit = hit[:, :count]  # networks with fewer places: a draw beyond them hits nothing
        share = torch.tensor((0.0, *shares), device=rows.device)[hit.sum(1).clamp_max(len(shares))]
        return hit * share[:, None]

    def _dropping(self, rate: Tensor, rows: Tensor, step: Tensor | int, place: int) -> Hook:
        def drop(module: nn.Module, given: object, x: Tensor) -> Tensor:
            kept = uniform(self.seed + place, rows, step, x.shape[1]) >= rate[:, None]
            mask = kept.to(x) / (1 - rate[:, None]).to(x)
            return x * mask.view(*mask.shape, *[1] * (x.ndim - 2))

        return drop
