"""Section V-C, by queries alone: the genetic search beside what the same number of queries gives otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from genvet.core.report import Figure
from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Scale, Told
from genvet.reproduce.mirror import SOURCE
from genvet.reproduce.mirror.comparing import NULL, Asked, Variant, bars, over_labels, tables, ways
from genvet.reproduce.mirror.paper import ORDERINGS, table_4, table_5
from genvet.reproduce.mirror.protocol import (
    AMI,
    AS_MANY,
    BLOCKS,
    BRED,
    LABELS,
    POPULATION,
    RELEASED,
    SAMPLES,
    claims,
    controls,
    differs,
)

EVOLVED, LABELLED, BRED_NULL = "cma-es", "labels alone", f"{NULL}, black box"
ENDLESS, EVOLVED_ON = f"{BRED}, to the end", f"{EVOLVED}, to the end"
"""The paper ends a search at a probability of 0.95, which the best of the samples often has: these go on."""
SHARES = (4, 2)
"""The genetic search is also stopped after one in so many of its generations: how far fewer queries lead."""
OWN: tuple[Asked, ...] = (
    ("mirror.end", "to go on beyond a probability of 0.95 helps", ENDLESS, BRED, "judges", "greater"),
    ("mirror.cma-end", "and CMA-ES", EVOLVED_ON, EVOLVED, "judges", "greater"),
    ("mirror.cma", "CMA-ES does better with as many queries", EVOLVED, BRED, "judges", "greater"),
    ("mirror.labels", "scores tell more than labels alone", BRED, LABELLED, "judges", "greater"),
    ("mirror.null-queries", "more than of a target that knows nobody", BRED, BRED_NULL, "judges", "greater"),
    ("mirror.near-queries", "nearer than the best of as many samples", BRED, AS_MANY, "nearest", "smaller"),
)


def sooner(share: int) -> str:
    """The search with so many times fewer generations."""
    return f"{BRED}, 1/{share} of the generations"


def variants(scale: Scale) -> list[Variant]:
    """Each with the attack and its settings; searches of one label ask as often."""
    members, generations = POPULATION[scale]
    moments = 500 if scale == "smoke" else 20_000
    usual: dict[str, Any] = {"samples": SAMPLES[scale], "moments": moments, "trust_p": True}
    bred = {**usual, "population": members, "generations": generations}
    fewer = max(members // 2, 2)
    evolved: dict[str, Any] = {**usual, "population": fewer, "generations": members * generations // fewer}
    if scale == "smoke":
        evolved["directions"] = 4
    points = min(32, members)
    labelled = {"samples": SAMPLES[scale], "points": points, "rounds": members * generations // points}
    return [
        (BRED, "mirror_black_box", bred),
        (RELEASED, "mirror_black_box", {**bred, "crossover": "released"}),
        *((sooner(n), "mirror_black_box", {**bred, "generations": max(generations // n, 1)}) for n in SHARES),
        (ENDLESS, "mirror_black_box", {**bred, "enough": 1.0}),
        (EVOLVED, "evolution", evolved),
        (EVOLVED_ON, "evolution", {**evolved, "enough": 1.0}),
        (LABELLED, "label_only", labelled),
        (AMI, "ami", {"steps": 3, "capacity": 2} if scale == "smoke" else {}),
        (AS_MANY, "best_sample", {"samples": SAMPLES[scale] + members * generations}),
        (BRED_NULL, "mirror_black_box", bred),
        *controls(scale),
    ]


class BlackBox(Experiment):
    """Inversions by queries alone."""

    title: ClassVar[str] = "Section V-C: inversion by queries alone"
    source: ClassVar[str] = f"{SOURCE}, sec. V-C, figures 16 and 17, tables IV to VI"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(ways(scale, variants(scale), LABELS[scale], BLOCKS[scale]))

    def told(self, scale: Scale, done: Done) -> Told:
        names = [name for name, *_ in variants(scale)]
        members, generations = POPULATION[scale]
        more = f"{members} members and {generations} generations a label (the paper's code: 1,000 and 100)."
        return Told(
            (*tables(self.title, done, names), table_4(), table_5()),
            claims(done, ("H10", "H11"), OWN),
            (*bars("Recognised by other classifiers", done, names, "judges"), *curve(scale, done)),
            (*differs(scale, done), more, ORDERINGS),
        )


def curve(scale: Scale, done: Done) -> Iterator[Figure]:
    """Success over the queries that one label takes beyond those that all share."""
    members, generations = POPULATION[scale]
    points = [(members * max(generations // n, 1), sooner(n)) for n in SHARES] + [(members * generations, BRED)]
    series = {}
    for measure, words in (("judges", "judges"), ("neighbours", "a witness")):
        found = [(x, over_labels(done, name, measure)) for x, name in points]
        known = [(x, ours.value) for x, ours in found if ours]
        if known:
            series[words] = [list(column) for column in zip(*known, strict=True)]
    if series:
        data = {
            "series": series,
            "x": f"queries for each label, after {SAMPLES[scale]:,} for all",
            "y": "recognised by",
        }
        yield Figure(kind="curve", title="Queries against success", data=data)
