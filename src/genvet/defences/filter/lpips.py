"""Blocks outputs that look like a protected image to a network: LPIPS, with its authors' weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from genvet.core.errors import Unsupported
from genvet.core.queries import Queries
from genvet.core.rng import Rng
from genvet.core.technique import Guard
from genvet.defences.filter.protecting import Given as Protected
from genvet.defences.filter.protecting import Protecting
from genvet.nets.between import pictured
from genvet.nets.filtered import Filtered
from genvet.nets.perceptual import Perceptual
from genvet.nets.protected import Felt, Index


@dataclass(frozen=True, eq=False)
class Given(Protected):
    """The same, and the network."""

    network: Perceptual | None = None
    """Its convolutions, and the weights of their channels."""


class Lpips(Protecting, Guard):
    """Holds back outputs that a network of yours takes for a protected image.

    No weights come with GenVet: the distance is called LPIPS where the files are its authors' for VGG-16, and otherwise
    by a hash of what was given. Protected images that correlate best as small pictures are compared by it.
    """

    source: ClassVar[str] = (
        "Zhang et al.: The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018, eq. 1; "
        "Deep analysis of the threat: training data leakage, sec. 2.4.3"
    )
    smoke: ClassVar[dict[str, Any]] = {"rate": 0.1}

    candidates: Annotated[int, Field(ge=1, le=4096)] = 8
    """Protected images that the distance is computed for, of each output."""

    def __call__(self, view: Queries, given: Given, rng: Rng) -> Filtered:
        if given.network is None:
            hint = "give its files: --network vgg16.pth#heads=vgg.pth"
            raise Unsupported("no network comes with this distance", hint=hint)
        given.network.fitting(view.shape)
        return self.stood(pictured(view, "a perceptual distance"), given, rng)

    def index(self, x: Tensor, given: Given) -> Index:
        assert given.network is not None
        return Felt(x, given.network, self.candidates)
