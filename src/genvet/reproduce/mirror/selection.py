"""Dropout in the target, and the choice of results that agree: each alone, which the paper never separates."""

from __future__ import annotations

from typing import ClassVar

from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Scale, Told, table
from genvet.reproduce.mirror import SOURCE
from genvet.reproduce.mirror.comparing import Variant, hypotheses, lines, ways
from genvet.reproduce.mirror.white_box import BLOCKS, LABELS, MIRROR, differs, searched

NEITHER, DROPOUT, CONSISTENCY = "neither", "no consistency", "no dropout"


def variants(scale: Scale) -> list[Variant]:
    """All four."""
    return [
        (MIRROR, "mirror", searched(scale)),
        (DROPOUT, "mirror", searched(scale, consistency=0)),
        (CONSISTENCY, "mirror", searched(scale, dropout=False)),
        (NEITHER, "mirror", searched(scale, dropout=False, consistency=0)),
    ]


class Selection(Experiment):
    """With and without each of the two."""

    title: ClassVar[str] = "Dropout and consistency, each with and without the other"
    source: ClassVar[str] = f"{SOURCE}, sec. V-D"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(ways(scale, variants(scale), LABELS[scale], BLOCKS[scale]))

    def told(self, scale: Scale, done: Done) -> Told:
        claims = hypotheses(
            done,
            [
                ("mirror.h8-alone", "dropout alone helps with others", DROPOUT, NEITHER, "judges", "greater"),
                ("mirror.h8-nearest", "and brings images nearer", DROPOUT, NEITHER, "nearest", "smaller"),
                ("mirror.h9-alone", "consistency alone helps with others", CONSISTENCY, NEITHER, "judges", "greater"),
                ("mirror.both", "both together bring images nearer", MIRROR, NEITHER, "nearest", "smaller"),
            ],
        )
        names = [name for name, *_ in variants(scale)]
        paper = "The paper gives one number for both: distances of 98.12 / 55.90 with them, 107.12 / 65.08 without."
        return Told(
            (table(self.title, ("search", "measure"), lines(done, names)),), claims, (), (*differs(scale), paper)
        )
