"""A prior of a related domain, and of one that has nothing to do with it: what an attacker without public data has."""

from __future__ import annotations

from typing import Any, ClassVar

from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Line, Scale, Told, median, table, values
from genvet.reproduce.mirror import SOURCE
from genvet.reproduce.mirror.comparing import NULL, Asked, Variant, bars, tables, ways
from genvet.reproduce.mirror.networks import BRIEFLY, PRIVATE
from genvet.reproduce.mirror.protocol import BLOCKS, FEWER, claims, controls, differs, searched

RESTARTS = 4
OWN_DOMAIN, DIGITS, GARMENTS = "prior of characters", "prior of digits", "prior of garments"
DOMAINS = {OWN_DOMAIN: "characters", DIGITS: "digits", GARMENTS: "garments"}
OWN: tuple[Asked, ...] = (
    ("mirror.domain.digits", "digits lead less near than characters", DIGITS, OWN_DOMAIN, "nearest", "greater"),
    ("mirror.domain.garments", "garments less than digits", GARMENTS, DIGITS, "nearest", "greater"),
    ("mirror.domain.judges", "others recognise less of it", GARMENTS, OWN_DOMAIN, "judges", "smaller"),
    ("mirror.domain.null", "but more than of a target that knows nobody", GARMENTS, NULL, "judges", "greater"),
)


def variants(scale: Scale) -> list[Variant]:
    """The same search through three priors."""
    made = [(name, "mirror", searched(scale, RESTARTS)) for name in DOMAINS]
    return [*made, *controls(scale, RESTARTS)]


def through(variant: str) -> dict[str, Any]:
    """What the prior of a variant has learned from; all three for about a quarter of the usual time."""
    if variant not in DOMAINS:
        return {}
    own = {"domain": DOMAINS[variant]}
    return {**own, "steps": BRIEFLY}


class OtherDomain(Experiment):
    """The same search through priors that are ever farther away."""

    title: ClassVar[str] = "A prior of another domain"
    source: ClassVar[str] = f"{SOURCE}, sec. V-D (a prior of FFHQ) and V-G (cats and cars)"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(ways(scale, variants(scale), FEWER[scale], BLOCKS[scale], through=through))

    def told(self, scale: Scale, done: Done) -> Told:
        names = [name for name, *_ in variants(scale)]
        far = [
            Line((name, words), None, median(values(done, measure, variant=name)), note)
            for name in DOMAINS
            for measure, words, note in (
                ("gap", "how far the prior is from private drawings", "Frechet distance in random-conv-1"),
                ("gap.floor", "and halves of these from each other", "the same"),
            )
        ]
        more = (
            f"Digits and garments are the classes {PRIVATE['digits']} to 9 of MNIST and of Fashion-MNIST.",
            "Three priors are trained for about a quarter of the usual steps, so that they compare with each other.",
        )
        return Told(
            (*tables(self.title, done, names), table(f"{self.title}: the gap", ("prior", "measure"), far)),
            claims(done, (), OWN),
            tuple(bars("Recognised by other classifiers", done, names, "judges")),
            (*differs(scale, done, restarts=RESTARTS), *more),
        )
