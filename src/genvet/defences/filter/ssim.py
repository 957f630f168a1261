"""Blocks outputs that look like a protected image, by structural similarity at the best of some shifts."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from genvet.core.queries import Queries
from genvet.core.rng import Rng
from genvet.core.technique import Guard
from genvet.defences.filter.protecting import Given, Protecting
from genvet.nets.between import pictured
from genvet.nets.filtered import Filtered
from genvet.nets.protected import Index, Structural


class Ssim(Protecting, Guard):
    """Holds back outputs whose structure is a protected image's, shifted by a few pixels or not.

    All protected images are compared coarsely by one product, and those that correlate best by SSIM itself. Nothing
    less than the images will do for that, so that the index holds them.
    """

    source: ClassVar[str] = (
        "Wang et al.: Image Quality Assessment: From Error Visibility to Structural Similarity, 2004, eq. 13; "
        "Deep analysis of the threat: training data leakage, sec. 2.4.3"
    )
    smoke: ClassVar[dict[str, Any]] = {"rate": 0.1}

    shift: Annotated[int, Field(ge=0, le=16)] = 2
    """Pixels in each direction by which an output may be moved."""
    candidates: Annotated[int, Field(ge=1, le=4096)] = 16
    """Protected images that SSIM is computed for, of each output."""

    def __call__(self, view: Queries, given: Given, rng: Rng) -> Filtered:
        return self.stood(pictured(view, "SSIM"), given, rng)

    def index(self, x: Tensor, given: Given) -> Index:
        # Shifts take their border off the image: a window of 3 pixels is the least that is left.
        reach = min(self.shift, (min(x.shape[2:]) - 3) // 2)
        return Structural(x, max(0, reach), self.candidates)
