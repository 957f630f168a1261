"""Dropout in the target, and the choice of results that agree: each alone, which the paper never separates."""

from __future__ import annotations

from typing import ClassVar

from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Scale, Told
from genvet.reproduce.mirror import SOURCE
from genvet.reproduce.mirror.comparing import Asked, Variant, bars, tables, ways
from genvet.reproduce.mirror.protocol import (
    BLOCKS,
    BOTH,
    CONSISTENCY,
    DROPOUT,
    LABELS,
    NEITHER,
    claims,
    controls,
    differs,
    searched,
)

OWN: tuple[Asked, ...] = (
    ("mirror.selection.dropout", "dropout alone brings images nearer", DROPOUT, NEITHER, "nearest", "smaller"),
    ("mirror.selection.consistency", "and so does consistency", CONSISTENCY, NEITHER, "nearest", "smaller"),
    ("mirror.selection.both", "both together bring features nearer", BOTH, NEITHER, "features", "smaller"),
    ("mirror.selection.both-judges", "and help with others", BOTH, NEITHER, "judges", "greater"),
)


def variants(scale: Scale) -> list[Variant]:
    """All four."""
    return [
        (BOTH, "mirror", searched(scale)),
        (DROPOUT, "mirror", searched(scale, consistency=0)),
        (CONSISTENCY, "mirror", searched(scale, dropout=False)),
        (NEITHER, "mirror", searched(scale, dropout=False, consistency=0)),
        *controls(scale),
    ]


class Selection(Experiment):
    """With and without each of the two."""

    title: ClassVar[str] = "Dropout and consistency, each with and without the other"
    source: ClassVar[str] = f"{SOURCE}, sec. V-D"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(ways(scale, variants(scale), LABELS[scale], BLOCKS[scale]))

    def told(self, scale: Scale, done: Done) -> Told:
        names = [name for name, *_ in variants(scale)]
        paper = "The paper gives one number for both: distances of 98.12 / 55.90 with them, 107.12 / 65.08 without."
        return Told(
            tables(self.title, done, names),
            claims(done, ("H8", "H9"), OWN),
            tuple(bars("Recognised by other classifiers", done, names, "judges")),
            (*differs(scale, done), paper),
        )
