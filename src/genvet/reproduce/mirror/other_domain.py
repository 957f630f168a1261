"""A prior of a related domain, and of one that has nothing to do with it: what an attacker without public data has."""

from __future__ import annotations

from typing import Any, ClassVar

from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Line, Scale, Told, median, table, values
from genvet.reproduce.mirror import SOURCE
from genvet.reproduce.mirror.comparing import Variant, hypotheses, lines, ways
from genvet.reproduce.mirror.white_box import BLOCKS, LABELS, MIRROR, differs, searched

DIGITS, GARMENTS = "prior of digits", "prior of garments"
DOMAINS = {DIGITS: "mnist", GARMENTS: "fashion_mnist"}


def variants(scale: Scale) -> list[Variant]:
    """The same search through three priors."""
    return [(name, "mirror", searched(scale)) for name in (MIRROR, DIGITS, GARMENTS)]


def through(variant: str) -> dict[str, Any]:
    """What the prior of a variant has learned from."""
    return {"domain": DOMAINS[variant]} if variant in DOMAINS else {}


class OtherDomain(Experiment):
    """The same search through priors that are ever farther away."""

    title: ClassVar[str] = "A prior of another domain"
    source: ClassVar[str] = f"{SOURCE}, sec. V-D (a prior of FFHQ) and V-G (cats and cars)"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(ways(scale, variants(scale), LABELS[scale], BLOCKS[scale], through=through))

    def told(self, scale: Scale, done: Done) -> Told:
        names = [name for name, *_ in variants(scale)]
        far = [
            Line((name, words), None, median(values(done, measure, variant=name)), note)
            for name in names
            for measure, words, note in (
                ("gap", "how far the prior is from private drawings", "Frechet distance in random-conv-1"),
                ("gap.floor", "and halves of these from each other", "the same"),
            )
        ]
        claims = hypotheses(
            done,
            [
                ("mirror.domain.digits", "digits lead less near than characters", DIGITS, MIRROR, "nearest", "greater"),
                ("mirror.domain.garments", "garments less than digits", GARMENTS, DIGITS, "nearest", "greater"),
                ("mirror.domain.judges", "others recognise less of it", GARMENTS, MIRROR, "judges", "smaller"),
            ],
        )
        lined = table(self.title, ("prior", "measure"), [*lines(done, names), *far])
        return Told((lined,), claims, (), differs(scale))
