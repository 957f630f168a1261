"""Noise on the scores that a classifier answers with: the same for the same image, or another one each time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.rng import Rng
from genvet.core.scores import Scores
from genvet.core.technique import Guard, Nothing
from genvet.defences.query.altered import Altered, normalised
from genvet.nets.looking_again import LOOKS, OWN, LookingAgain

GREYS = 255
"""Images that are equal in so many steps of grey are one image: what 8 bits cannot hold does not buy another draw."""


class ScoreNoise(Guard):
    """Adds noise to the scores that a classifier answers with, and lets them sum to 1 again.

    Noise that is drawn for each query averages away over repeated queries; noise that follows from the image by a
    secret key does not, but averages away over neighbours of the image. Scores that are not told stay untold.
    """

    source: ClassVar[str] = "Jia et al.: MemGuard, CCS 2019, sec. 4: noisy scores, drawn once for the same image"
    smoke: ClassVar[dict[str, Any]] = {"deviation": 0.1}

    deviation: Annotated[float, Field(gt=0, le=100)] = 0.1
    """Standard deviation of the noise (normal)."""
    on: Literal["scores", "logarithms"] = "scores"
    """What it is added to: scores, which are then kept from falling below 0; or their logarithms, where a small score
    is moved by as large a share of itself as a large one."""
    fresh: bool = False
    """Draw anew for every query; otherwise, the same image always has the same noise."""
    label_kept: bool = True
    """The class that was the likeliest stays it: whoever asks for labels alone loses nothing."""

    def __call__(self, view: Scores, given: Nothing, rng: Rng) -> Altered:
        return Altered(view, Noise(self, rng))

    def known(self) -> Mapping[str, Callable[[Scores], LookingAgain]]:
        """What an attacker who knows it does: average over repeats, or over images that hardly differ."""
        if self.fresh:
            return {f"averages {LOOKS} answers": lambda view: LookingAgain(view, LOOKS, 0.0, OWN)}
        return {f"averages {LOOKS} images that hardly differ": lambda view: LookingAgain(view, LOOKS, 0.05, OWN)}


class Noise:
    """The noise of one service: its key, and how many images it was asked for."""

    def __init__(self, how: ScoreNoise, rng: Rng) -> None:
        self.how, self.rng, self.asked = how, rng, 0

    def __call__(self, x: Tensor, scores: Tensor) -> Tensor:
        own = scores.argmax(1, keepdim=True)
        noise = self.how.deviation * self._drawn(x, scores.shape[1]).to(scores)
        moved = scores * noise.exp() if self.how.on == "logarithms" else (scores + noise).clamp_min(0)
        moved = torch.where(scores > 0, moved, 0.0)
        # Where noise leaves nothing at all, the likeliest class is told alone.
        noisy = normalised(moved.scatter_add(1, own, (moved.sum(1, keepdim=True) == 0).to(moved)))
        if not self.how.label_kept:
            return noisy
        # Swapped with the largest, not raised above it: a raised score would tell that it was.
        largest = noisy.max(1, keepdim=True)
        mine = noisy.gather(1, own)
        return noisy.scatter(1, largest.indices, mine).scatter(1, own, largest.values)

    def _drawn(self, x: Tensor, classes: int) -> Tensor:
        """Standard normal numbers, (n, classes): by the number of the query, or by what the image shows."""
        first, self.asked = self.asked, self.asked + len(x)
        names = [str(first + i) for i in range(len(x))] if self.how.fresh else [_name(row) for row in x]
        return torch.stack([torch.randn(classes, generator=self.rng.fork(name).block()) for name in names])


def _name(image: Tensor) -> str:
    """What tells an image from others: a hash of its greys."""
    greys = ((image.detach().float().cpu().clamp(-1, 1) + 1) / 2 * GREYS).round().to(torch.uint8)
    return hashlib.sha256(greys.contiguous().numpy().tobytes()).hexdigest()
