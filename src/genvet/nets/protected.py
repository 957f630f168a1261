"""Protected images as an index: how near the nearest of them is to each output, in memory that does not grow with them.

Each output is held against all of them by one product a chunk; the few that come nearest are computed again exactly.
What an index holds is said in words, for whoever gets hold of it has that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from genvet.maths.distances import squared_distances
from genvet.maths.hashes import BITS, hashed, packed, unpacked
from genvet.maths.shifted_ssim import shifted_ssim
from genvet.nets.perceptual import Perceptual
from genvet.nets.spaces import Space

ROWS = 4096
"""Protected images at once."""
BATCH = 64
"""Outputs at once."""
COARSE = 14
"""Pixels a side by which the few are found that SSIM is computed for."""


@dataclass(frozen=True, eq=False)
class Near:
    """Of each output, the nearest protected image."""

    distance: Tensor
    """(n,); NaN where the output is no picture."""
    which: Tensor
    """Its place among the protected images, (n,)."""


class Index(ABC):
    """Protected images, in whatever form it takes to compare with them."""

    unit: str
    """What a distance is."""
    exposes: str
    """What somebody has who gets hold of it."""
    size: int
    """Protected images."""
    pictures: bool = False
    """Whether it holds the images themselves."""
    scale: Tensor
    """How near ordinary images come to each of the protected ones, (m,): 1 where that is not told."""

    def scaled(self, scale: Tensor) -> Index:
        """The same, with distances as shares of what is usual around each protected image."""
        self.scale = scale.float()
        self.unit = f"{self.unit}, over what is usual around that image"
        return self

    def nearest(self, x: Tensor) -> Near:
        """The nearest of them to each of the images x (n, *shape), on the CPU."""
        found = [self._nearest(some.float().cpu().clamp(-1, 1)) for some in x.split(BATCH)]
        if not found:
            return Near(torch.empty(0), torch.empty(0, dtype=torch.long))
        return Near(torch.cat([near.distance for near in found]), torch.cat([near.which for near in found]))

    @abstractmethod
    def _nearest(self, x: Tensor) -> Near: ...

    @abstractmethod
    def held(self) -> tuple[Tensor, ...]:
        """All that it keeps of the protected images."""

    def rows(self) -> Tensor:
        """What it keeps as numbers (m, d): what somebody would begin with who wants the images back."""
        return self.held()[0].flatten(1).float()

    @property
    def bytes_each(self) -> float:
        """Of memory, for each protected image."""
        return sum(t.numel() * t.element_size() for t in (*self.held(), self.scale)) / self.size


class Whole(Index):
    """The images themselves in eight bits: a slow distance, to the few that are nearest as small pictures."""

    exposes, pictures = "the protected images themselves, in eight bits", True

    def __init__(self, x: Tensor, candidates: int, reach: int = 0) -> None:
        self._x, self._reach = octets(x), reach
        self._candidates, self.size = min(candidates, len(x)), len(x)
        self.scale = torch.ones(len(x))
        self._rows = torch.cat([_coarse(part).mul(127).round().to(torch.int8) for part in x.split(ROWS)])

    def held(self) -> tuple[Tensor, ...]:
        return self._x, self._rows

    @abstractmethod
    def _apart(self, x: Tensor, few: Tensor) -> Tensor:
        """From each of the outputs x (n, *shape) to its own few images (n, k, *shape): (n, k)."""

    def _nearest(self, x: Tensor) -> Near:
        likely = self._likely(x)
        few = pictures(self._x[likely.flatten()]).unflatten(0, tuple(likely.shape))
        best = (self._apart(x, few) / self.scale[likely]).min(1)
        return Near(best.values, likely.gather(1, best.indices[:, None])[:, 0])

    def _likely(self, x: Tensor) -> Tensor:
        """The few (n, k) that correlate best with the outputs, coarsely and at the best of nine shifts, if any."""
        places = [-self._reach, 0, self._reach] if self._reach else [0]
        moved = torch.cat([_coarse(shifted(x, i, j)) for i in places for j in places])
        best = _Best(len(x), self._candidates)
        for start, rows in _chunks(self._rows):
            alike = (moved @ rows.float().T).view(-1, len(x), len(rows)).amax(0) / 127
            best.offer((1 - alike) / self.scale[start : start + ROWS], start)
        return best.which


class Structural(Whole):
    """Compared by SSIM whatever shift of a few pixels lies between."""

    unit = "1 - SSIM"
    exposes = f"{Whole.exposes}: SSIM cannot be computed from less"

    def __init__(self, x: Tensor, reach: int, candidates: int) -> None:
        super().__init__(x, candidates, reach)

    def _apart(self, x: Tensor, few: Tensor) -> Tensor:
        n, k = few.shape[:2]
        return 1 - shifted_ssim(x.repeat_interleave(k, 0), few.flatten(0, 1), self._reach).view(n, k)


class Felt(Whole):
    """Compared by a network: its features of all images would be a hundred times as large as these."""

    def __init__(self, x: Tensor, distance: Perceptual, candidates: int) -> None:
        super().__init__(x, candidates)
        self._distance, self.unit = distance, distance.name

    def _apart(self, x: Tensor, few: Tensor) -> Tensor:
        return self._distance.fan(x, few)


class Hashes(Index):
    """Sixteen bytes an image, from which no picture can be told but roughly; distances are bits that differ."""

    unit = "bits of 128 that differ"
    exposes = "128 bits an image: whether a picture at hand is among them, and a rough idea of its light and shade"

    def __init__(self, x: Tensor) -> None:
        self._rows = torch.cat([packed(hashed(part)) for part in x.split(ROWS)])
        self.size = len(x)
        self.scale = torch.ones(len(x))

    def held(self) -> tuple[Tensor, ...]:
        return (self._rows,)

    def rows(self) -> Tensor:
        return unpacked(self._rows)

    def _nearest(self, x: Tensor) -> Near:
        bits, best = hashed(x).float(), _Best(len(x))
        for start, rows in _chunks(self._rows):
            best.offer((BITS - bits @ unpacked(rows).T) / 2 / self.scale[start : start + ROWS], start)
        return best.near(x)


class Embedded(Index):
    """Rows of a named space, eight bits a number unless kept whole; the nearest few are computed again in float64."""

    def __init__(self, x: Tensor, space: Space, whole: bool) -> None:
        rows = torch.cat([space(part) for part in x.split(ROWS)]).float()
        self._space, self.size = space, len(x)
        self.scale = torch.ones(len(x))
        self.unit = f"Euclidean distance in {space.name}"
        precision = "in full" if whole else "in eight bits"
        self.exposes = f"{rows.shape[1]} numbers an image, {precision}, of {space.name}"
        self._low = rows.amin(0)
        self._step = torch.zeros(0) if whole else ((rows.amax(0) - self._low) / 255).clamp_min(1e-12)
        self._rows = rows if whole else ((rows - self._low) / self._step).round().to(torch.uint8)

    def held(self) -> tuple[Tensor, ...]:
        return (self._rows,)

    def rows(self) -> Tensor:
        return self._told(self._rows)

    def _told(self, rows: Tensor) -> Tensor:
        return rows if rows.is_floating_point() else rows * self._step + self._low

    def _nearest(self, x: Tensor) -> Near:
        own, best = self._space(x).float(), _Best(len(x), 4)
        # From the middle of all, so that the product of large numbers does not drown small distances.
        middle = self._low
        for start, rows in _chunks(self._rows):
            far = squared_distances(own - middle, self._told(rows) - middle)
            best.offer(far / self.scale[start : start + ROWS].square(), start)
        few = self._told(self._rows[best.which.flatten()]).view(*best.which.shape, -1)
        exact = (own.double()[:, None] - few.double()).square().sum(2).sqrt()
        nearest = (exact / self.scale[best.which]).min(1)
        return Near(nearest.values.float(), best.which.gather(1, nearest.indices[:, None])[:, 0])


class Mirrored(Index):
    """Outputs and their mirror images: whichever is nearer counts."""

    def __init__(self, index: Index) -> None:
        self._index, self.unit, self.exposes, self.size = index, index.unit, index.exposes, index.size
        self.pictures, self.scale = index.pictures, index.scale

    def held(self) -> tuple[Tensor, ...]:
        return self._index.held()

    def rows(self) -> Tensor:
        return self._index.rows()

    def _nearest(self, x: Tensor) -> Near:
        one, other = self._index.nearest(x), self._index.nearest(x.flip(-1))
        # NaN stays NaN: what is no picture has no distance.
        distance = torch.minimum(one.distance, other.distance)
        return Near(distance, torch.where(other.distance < one.distance, other.which, one.which))


class _Best:
    """The k smallest of what is offered, for each of n outputs."""

    def __init__(self, n: int, k: int = 1) -> None:
        self._k = k
        self.value, self.which = torch.empty(n, 0), torch.empty(n, 0, dtype=torch.long)

    def offer(self, value: Tensor, start: int) -> None:
        """Distances (n, m) to the protected images numbered from `start`."""
        top = value.topk(min(self._k, value.shape[1]), dim=1, largest=False)
        value, which = torch.cat([self.value, top.values], 1), torch.cat([self.which, top.indices + start], 1)
        kept = value.topk(min(self._k, value.shape[1]), dim=1, largest=False)
        self.value, self.which = kept.values, which.gather(1, kept.indices)

    def near(self, x: Tensor) -> Near:
        """The first of each; hashes of what is no picture mean nothing."""
        broken = ~x.flatten(1).isfinite().all(1)
        return Near(self.value[:, 0].masked_fill(broken, torch.nan), self.which[:, 0])


def _chunks(rows: Tensor) -> Iterator[tuple[int, Tensor]]:
    yield from ((start, rows[start : start + ROWS]) for start in range(0, len(rows), ROWS))


def _coarse(x: Tensor) -> Tensor:
    """Small pictures as rows of mean 0 and length 1: products of them are correlations."""
    size = [min(COARSE, side) for side in x.shape[2:]]
    rows = F.adaptive_avg_pool2d(x.float(), size).flatten(1)
    rows = rows - rows.mean(1, keepdim=True)
    return rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-6)


def shifted(x: Tensor, down: int, across: int) -> Tensor:
    """Images moved by so many pixels; what comes in at the border is a copy of it.

    >>> shifted(torch.arange(4.0).view(1, 1, 1, 4), 0, 1).flatten().tolist()
    [0.0, 0.0, 1.0, 2.0]
    """
    h, w = x.shape[2:]
    rows = (torch.arange(h) - down).clamp(0, h - 1)
    columns = (torch.arange(w) - across).clamp(0, w - 1)
    return x[..., rows, :][..., columns]


def octets(x: Tensor) -> Tensor:
    """Images in [-1, 1] in eight bits."""
    return x.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).cpu()


def pictures(bytes_: Tensor) -> Tensor:
    """And back."""
    return bytes_.float().div(127.5).sub(1)


Distance = Callable[[Tensor], Tensor]
"""Images (n, *shape) -> how far each is from what is protected, (n,)."""
