"""Excise: cut out the units that keep to themselves, as static.blocks finds them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Repair
from genvet.nets.chain import narrowed
from genvet.nets.partition import partition


class Excise(Repair):
    """Cuts out the part of the network that hardly exchanges weights with the rest: what ReX adds."""

    source: ClassVar[str] = "Rawat, Levacher, Sinn: The Devil is in the GAN, ESORICS 2022, sec. IV-B, turned round"
    smoke: ClassVar[dict[str, Any]] = {"separation": 0.0, "response": 1e9}

    separation: Annotated[float, Field(ge=0, le=1)] = 0.5
    """How separate the part must be: 0 as in any network, 1 with no weight between it and the rest."""
    response: Annotated[float, Field(ge=0)] = 0.05
    """How much of the variance of ordinary outputs may go with it: no attacker adds what shows all the time."""

    def __call__(self, target: Generator, given: Nothing, rng: Rng) -> Generator:
        found = partition(target)
        if found.separation < self.separation or found.response > self.response:
            what = (
                f"the most separate part is {found.separation:.2g} so, and makes {found.response:.2g} of the variance"
            )
            raise Unsupported(f"no part of this network keeps to itself: {what}", hint="prune or distil it")
        return narrowed(target, {name: ~units for name, units in found.suspect.items()})
