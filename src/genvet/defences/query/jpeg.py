"""JPEG on every image: what the format throws away is not given away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from genvet.core.queries import Queries
from genvet.core.rng import Rng
from genvet.core.technique import Guard, Nothing
from genvet.maths.delivery import jpeg
from genvet.nets.between import Between, Outgoing, pictured
from genvet.nets.undoing import Knowing, deblocked


class Jpeg(Guard):
    """Writes every image as JPEG and reads it again.

    The same latent always gets the same answer. Blocks and ringing are what is left of it, and they can be smoothed;
    what was thrown away does not come back.
    """

    source: ClassVar[str] = (
        "Hu, Pang: Stealing Machine Learning Models: Attacks and Countermeasures for Generative Adversarial Networks, "
        "ACSAC 2021, A.5"
    )
    smoke: ClassVar[dict[str, Any]] = {"quality": 30}

    quality: Annotated[int, Field(ge=1, le=95)] = 50
    """Of the JPEG, from 1 (coarse) to 95 (fine)."""

    def __call__(self, view: Queries, given: Nothing, rng: Rng) -> Between:
        return Outgoing(pictured(view, "JPEG"), lambda x, asked: jpeg(x.cpu(), self.quality).to(x))

    def known(self) -> Mapping[str, Callable[[Queries], Queries]]:
        """What an attacker who knows it does: smooth the blocks."""
        return {"smooths the blocks": lambda view: Knowing(view, lambda x: deblocked(x, self.quality))}
