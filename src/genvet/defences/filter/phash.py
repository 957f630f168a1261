"""Blocks outputs whose perceptual hash is that of a protected image but for a few bits."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from genvet.core.queries import Queries
from genvet.core.rng import Rng
from genvet.core.technique import Guard
from genvet.defences.filter.protecting import Given, Protecting
from genvet.nets.between import pictured
from genvet.nets.filtered import Filtered
from genvet.nets.protected import Hashes, Index


class Phash(Protecting, Guard):
    """Holds back outputs whose 128 bits differ from those of a protected image in a few places alone.

    Half of the bits are of a cosine transform, half of differences between neighbouring places. Of a protected image,
    sixteen bytes are kept. Distances are whole numbers, so that many images may lie at the threshold itself: these are
    not blocked, and fewer are blocked falsely than was asked for.
    """

    source: ClassVar[str] = (
        "Zauner: Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, sec. 3.2.1; "
        "Krawetz: Kind of Like That, 2013"
    )
    smoke: ClassVar[dict[str, Any]] = {"rate": 0.1}

    def __call__(self, view: Queries, given: Given, rng: Rng) -> Filtered:
        return self.stood(pictured(view, "a perceptual hash"), given, rng)

    def index(self, x: Tensor, given: Given) -> Index:
        return Hashes(x)
