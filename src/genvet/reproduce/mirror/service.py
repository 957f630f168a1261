"""A classifier behind a wall: eight identities, scores alone, every query counted, over the protocol of a service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from genvet.core.scores import Scores
from genvet.core.technique import Probe
from genvet.remote import in_process
from genvet.reproduce.cells import Cell, Done, Place
from genvet.reproduce.experiment import Experiment, Scale, Told, table
from genvet.reproduce.mirror import SOURCE
from genvet.reproduce.mirror.black_box import BRED, EVOLVED, variants
from genvet.reproduce.mirror.comparing import Variant, Way, hypotheses, lines, ways
from genvet.reproduce.mirror.white_box import BLOCKS, differs

IDENTITIES: dict[Scale, int] = {"smoke": 3, "small": 8, "paper": 8}
"""As many as the paper had a face service recognise."""
PAPER = {(BRED, "target"): 1.0, (BRED, "judges"): 0.375}
"""Azure's eight persons: all on the target, three on another service."""
CHOSEN = (BRED, EVOLVED, "best sample")


class Asked(Way):
    """A search whose target answers over the protocol of a service."""

    def where(self) -> Mapping[str, object]:
        return {**super().where(), "over": "http"}

    def seen(self, probe: Probe, place: Place) -> Any:
        return in_process(self.target.classifier(place).seen_as(Scores))


def chosen(scale: Scale) -> list[Variant]:
    """The searches of the black box that are asked here."""
    return [one for one in variants(scale) if one[0] in CHOSEN]


class Service(Experiment):
    """Inversion of a classifier that is served."""

    title: ClassVar[str] = "Eight identities behind a service"
    source: ClassVar[str] = f"{SOURCE}, sec. V-F"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(ways(scale, chosen(scale), IDENTITIES[scale], BLOCKS[scale], kind=Asked))

    def told(self, scale: Scale, done: Done) -> Told:
        claims = hypotheses(
            done,
            [
                ("mirror.service", "nearer than the best sample", BRED, "best sample", "nearest", "smaller"),
                ("mirror.service.cma", "CMA-ES is nearer still", EVOLVED, BRED, "nearest", "smaller"),
            ],
        )
        paper = "The paper asked two face services: 8 of 8 on the target; elsewhere 3 of 8, and 4 or 7 of 8 among five."
        lined = table(self.title, ("search", "measure"), lines(done, CHOSEN, PAPER))
        return Told((lined,), claims, (), (*differs(scale), paper))
