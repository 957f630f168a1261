"""Table VI: what needs no search at all, which the field had neglected."""

from __future__ import annotations

from typing import ClassVar

from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Scale, Told
from genvet.reproduce.mirror import SOURCE, black_box
from genvet.reproduce.mirror.comparing import Asked, Variant, bars, tables, ways
from genvet.reproduce.mirror.paper import ORDERINGS, table_6
from genvet.reproduce.mirror.protocol import (
    BLOCKS,
    BRED,
    LABELS,
    MIRROR,
    PUBLIC,
    SAMPLE,
    claims,
    controls,
    differs,
    searched,
)


def variants(scale: Scale) -> list[Variant]:
    """Both searches and the controls, two of which are the neglected baselines: cells of the other tables."""
    bred = next(one for one in black_box.variants(scale) if one[0] == BRED)
    return [(MIRROR, "mirror", searched(scale)), bred, *controls(scale)]


def asked() -> list[Asked]:
    """Each search beside each baseline: nearer, and recognised more."""
    made: list[Asked] = []
    for search, short in ((MIRROR, "white"), (BRED, "black")):
        for other, close in ((PUBLIC, "public"), (SAMPLE, "sample")):
            named = f"mirror.baselines.{short}-{close}"
            made += [
                (named, f"{search} is nearer than the {other}", search, other, "nearest", "smaller"),
                (f"{named}-judges", f"others recognise more of {search}", search, other, "judges", "greater"),
            ]
    return made


class Baselines(Experiment):
    """Searches beside the best image that anybody has."""

    title: ClassVar[str] = "Table VI: neglected baselines"
    source: ClassVar[str] = f"{SOURCE}, sec. V-D, table VI"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(ways(scale, variants(scale), LABELS[scale], BLOCKS[scale]))

    def told(self, scale: Scale, done: Done) -> Told:
        names = [name for name, *_ in variants(scale)]
        return Told(
            (*tables(self.title, done, names), table_6()),
            claims(done, (), asked()),
            tuple(bars("Recognised by other classifiers", done, names, "judges")),
            (*differs(scale, done), ORDERINGS),
        )
