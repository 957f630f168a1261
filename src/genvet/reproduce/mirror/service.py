"""A classifier behind a wall: eight identities, scores alone, every query counted, over the protocol of a service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from genvet.core.scores import Scores
from genvet.core.technique import Probe
from genvet.remote import in_process
from genvet.reproduce.cells import Cell, Done, Place
from genvet.reproduce.experiment import Experiment, Line, Scale, Told, mean, table, values
from genvet.reproduce.mirror import SOURCE
from genvet.reproduce.mirror.black_box import EVOLVED, variants
from genvet.reproduce.mirror.comparing import NULL, RANDOM, REAL, Asked, Variant, Way, tables, ways
from genvet.reproduce.mirror.protocol import AS_MANY, BLOCKS, BRED, PUBLIC, RANDOM_SAMPLE, claims, differs

IDENTITIES: dict[Scale, int] = {"smoke": 3, "small": 8, "paper": 8}
"""As many as the paper had a face service recognise."""
PAPER = {(BRED, "target"): 1.0, (BRED, "judges"): 0.375, (BRED, "judges5"): 0.5}
"""Azure's eight persons: all on the target; on another service, three, and four among the likeliest five."""
CHOSEN = (BRED, EVOLVED, AS_MANY, f"{NULL}, black box", PUBLIC)
OWN: tuple[Asked, ...] = (
    ("mirror.service", "nearer than the best sample", BRED, AS_MANY, "nearest", "smaller"),
    ("mirror.service.cma", "CMA-ES is nearer still", EVOLVED, BRED, "nearest", "smaller"),
    ("mirror.service.judges", "others recognise more than by chance", BRED, f"{NULL}, black box", "judges", "greater"),
)


class Served(Way):
    """A search whose target answers over the protocol of a service."""

    def where(self) -> Mapping[str, object]:
        return {**super().where(), "over": "http"}

    def seen(self, probe: Probe, place: Place) -> Any:
        return in_process(self.target.classifier(place).seen_as(Scores))


def chosen(scale: Scale) -> list[Variant]:
    """The searches of the black box that are asked here, and controls that ask nobody."""
    there = [one for one in variants(scale) if one[0] in CHOSEN]
    return [*there, (RANDOM_SAMPLE, RANDOM, {}), (REAL, REAL, {})]


class Service(Experiment):
    """Inversion of a classifier that is served."""

    title: ClassVar[str] = "Eight identities behind a service"
    source: ClassVar[str] = f"{SOURCE}, sec. V-F"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(ways(scale, chosen(scale), IDENTITIES[scale], BLOCKS[scale], kind=Served))

    def told(self, scale: Scale, done: Done) -> Told:
        names = [name for name, *_ in chosen(scale)]
        counted = [
            Line((name, "images that the service was asked about, eight labels together"), None, ours)
            for name in names
            if (ours := mean(values(done, "asked", variant=name)))
        ]
        paper = (
            "The paper asked two face services: 8 of 8 on the target; elsewhere 3 of 8, and 4 or 7 of 8 among five. "
            "Eight labels decide little: an interval of 3 of 8 reaches from 0.09 to 0.76."
        )
        return Told(
            (*tables(self.title, done, names, PAPER), table(f"{self.title}: queries", ("search", "measure"), counted)),
            claims(done, (), OWN),
            (),
            (*differs(scale, done), paper),
        )
