"""The search for images of classes: restarts of many labels share one batch, and each row ends when it is done."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from genvet.core.progress import track

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Points u (n, ...), the numbers of their rows (n,), and the step that each is at (n,) -> one loss each, (n,)."""
Look = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Points and the numbers of their rows -> the loss by the whole target, which is never rounded to nothing where a
probability is rounded to 1; and how sure it is of each one's label: (n,) each."""

MARKS = 100
"""Steps that the trail remembers, about."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How a search goes."""

    steps: int
    rate: float
    """Step size, the largest of the schedule."""
    optimiser: Literal["adam", "descent", "momentum"] = "adam"
    """Adam; gradient descent; or with Nesterov's momentum of 0.9."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of Adam."""
    warm: float = 0.05
    """Share of the steps in which the rate rises from nothing; and in which it falls to nothing, at the end."""
    fall: float = 0.25
    batch: int = 32
    """Rows at once: what pays on two cores are 16 to 64."""
    look: int = 10
    """Steps from one look at the whole target, without dropout, to the next."""
    enough: float = 1.0
    """A row is done once the whole target is so sure of it; 1 goes on to the end."""

    def rates(self, step: Tensor) -> Tensor:
        """The step size at each step, (n,)."""
        share = step / self.steps
        down = (1 - share).div(max(self.fall, 1e-9)).clamp_max(1)
        fallen = 0.5 - 0.5 * (math.pi * down).cos() if self.fall else torch.ones_like(share)
        warmed = ((step + 1) / (self.warm * self.steps)).clamp_max(1) if self.warm else 1.0
        return self.rate * fallen * warmed


@dataclass(frozen=True, eq=False)
class Ended:
    """The best point of every row, as the whole target saw it."""

    u: Tensor
    """(rows, ...)."""
    loss: Tensor
    """(rows,)."""
    sure: Tensor
    """The probability of the label, (rows,)."""
    steps: Tensor
    """That each row took, (rows,)."""
    passes: int
    """Images that were made and shown to the target, with and without gradients."""
    marks: Tensor
    """Some of the steps at which the whole target looked, (t,), the last one among them."""
    trail: Tensor
    """The probability of the label at each mark, of the best point of every row by then: (t, rows)."""


def invert(begin: Tensor, loss: Loss, look: Look, kept: Callable[[Tensor], Tensor], pace: Pace) -> Ended:
    """Search from every row of begin (rows, ...); a row that is done makes room for the next one.

    A row depends on its own number and step alone, so that it makes no difference which rows share a batch. What a row
    is remembered by is what the whole target says, never a lucky draw of its dropout.
    """
    rows, on = len(begin), begin.device
    best, best_u = torch.full((rows,), torch.inf, dtype=torch.float64, device=on), begin.clone()
    sure = torch.zeros(rows, device=on)
    taken, passes = torch.zeros(rows, dtype=torch.long, device=on), 0
    apart = pace.look * max(1, -(-pace.steps // pace.look // MARKS))
    marks = torch.tensor([*range(0, pace.steps, apart), pace.steps], device=on)
    trail = torch.full((len(marks), rows), torch.nan, device=on)
    active = _Active.of(begin[:0], torch.arange(0, device=on))
    waiting = 0
    bar = iter(track(range(rows), rows, "inversions"))
    while True:
        room = min(pace.batch - len(active.row), rows - waiting)
        if room > 0:
            new = torch.arange(waiting, waiting + room, device=on)
            active, waiting = active.joined(_Active.of(begin[new], new)), waiting + room
        if not len(active.row):
            break
        looked = (active.step % pace.look == 0) | (active.step == pace.steps)
        if looked.any():
            with torch.no_grad():
                value, how_sure = look(active.u[looked], active.row[looked])
            passes += int(looked.sum())
            better = value <= best[active.row[looked]]
            at = active.row[looked][better]
            best[at], sure[at], best_u[at] = value[better].double(), how_sure[better].to(sure), active.u[looked][better]
            trail[(active.step[looked] + apart - 1) // apart, active.row[looked]] = sure[active.row[looked]]
        over = (active.step >= pace.steps) | (looked & (sure[active.row] >= pace.enough) & (pace.enough < 1))
        taken[active.row] = active.step
        for _ in range(int(over.sum())):
            next(bar, None)
        active = active.only(~over)
        if len(active.row):
            active.move(loss, kept, pace)
            passes += len(active.row)
    for _ in bar:
        pass
    for earlier, later in pairwise(trail):
        later.copy_(torch.where(later.isnan(), earlier, later))  # of rows that were done before
    return Ended(best_u, best, sure, taken, passes, marks, trail)


@dataclass(eq=False)
class _Active:
    """The rows of the batch: where each is, its moments and its step."""

    u: Tensor
    first: Tensor
    second: Tensor
    row: Tensor
    step: Tensor

    @classmethod
    def of(cls, u: Tensor, row: Tensor) -> _Active:
        return cls(u.clone(), torch.zeros_like(u), torch.zeros_like(u), row, torch.zeros_like(row))

    def only(self, chosen: Tensor) -> _Active:
        if bool(chosen.all()):
            return self
        return _Active(*(t[chosen] for t in (self.u, self.first, self.second, self.row, self.step)))

    def joined(self, more: _Active) -> _Active:
        names = ("u", "first", "second", "row", "step")
        return _Active(*(torch.cat([getattr(self, n), getattr(more, n)]) for n in names))

    def move(self, loss: Loss, kept: Callable[[Tensor], Tensor], pace: Pace) -> None:
        """One step of every row."""
        with torch.enable_grad():
            free = self.u.detach().requires_grad_()
            value = loss(free, self.row, self.step)
            (slope,) = torch.autograd.grad(value.sum(), free)
        slope = slope.nan_to_num(0.0, 0.0, 0.0)
        shape = (-1, *[1] * (slope.ndim - 1))
        rate = pace.rates(self.step.float()).view(shape)
        if pace.optimiser == "adam":
            slope = self._adam(slope, *pace.betas, shape)
        if pace.optimiser == "momentum":
            self.first = 0.9 * self.first + slope
            slope = slope + 0.9 * self.first
        self.u = kept(self.u - rate * slope)
        self.step = self.step + 1

    def _adam(self, slope: Tensor, b1: float, b2: float, shape: tuple[int, ...]) -> Tensor:
        self.first = b1 * self.first + (1 - b1) * slope
        self.second = b2 * self.second + (1 - b2) * slope.square()
        times = (self.step + 1).double()
        scale = ((1 - b2**times).sqrt() / (1 - b1**times)).to(slope).view(shape)
        return scale * self.first / (self.second.sqrt() + 1e-8)
