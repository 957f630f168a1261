"""Section V-C, by queries alone: the genetic search beside what the same number of queries gives otherwise."""

from __future__ import annotations

from typing import Any, ClassVar

from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Scale, Told, table
from genvet.reproduce.mirror import SOURCE
from genvet.reproduce.mirror.comparing import Variant, hypotheses, lines, ways
from genvet.reproduce.mirror.white_box import BLOCKS, LABELS, SAMPLES, differs

BRED, RELEASED, EVOLVED = "mirror, black box", "mirror as released", "cma-es"
POPULATION: dict[Scale, tuple[int, int]] = {"smoke": (4, 2), "small": (100, 20), "paper": (1000, 100)}
"""Members and generations."""


def variants(scale: Scale) -> list[Variant]:
    """Each with the attack and its settings; searches of one label ask as often."""
    members, generations = POPULATION[scale]
    usual: dict[str, Any] = {"samples": SAMPLES[scale], "moments": 500 if scale == "smoke" else 20_000}
    usual |= {"trust_p": True} if scale == "smoke" else {}
    bred = {**usual, "population": members, "generations": generations}
    fewer = max(members // 4, 2)
    evolved = {**usual, "population": fewer, "generations": members * generations // fewer}
    labelled = {
        "samples": SAMPLES[scale],
        "points": min(32, members),
        "rounds": members * generations // min(32, members),
    }
    return [
        (BRED, "mirror_black_box", bred),
        (RELEASED, "mirror_black_box", {**bred, "crossover": "released"}),
        (EVOLVED, "evolution", {**evolved, **({"directions": 4} if scale == "smoke" else {})}),
        ("labels alone", "label_only", labelled),
        ("ami", "ami", {"steps": 3, "capacity": 2} if scale == "smoke" else {}),
        ("best sample", "best_sample", {"samples": SAMPLES[scale] + members * generations}),
        ("best public", "nearest_public", {}),
        ("real", "real", {}),
    ]


class BlackBox(Experiment):
    """Inversions by queries alone."""

    title: ClassVar[str] = "Section V-C: inversion by queries alone"
    source: ClassVar[str] = f"{SOURCE}, sec. V-C, figures 16 and 17, tables IV and VI"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(ways(scale, variants(scale), LABELS[scale], BLOCKS[scale]))

    def told(self, scale: Scale, done: Done) -> Told:
        names = [name for name, *_ in variants(scale)]
        members, generations = POPULATION[scale]
        claims = hypotheses(
            done,
            [
                (
                    "mirror.h10-ami",
                    "others recognise MIRROR's images more than AMI's",
                    BRED,
                    "ami",
                    "judges",
                    "greater",
                ),
                (
                    "mirror.h10-sample",
                    "and more than the best sample",
                    BRED,
                    "best sample",
                    "judges",
                    "greater",
                ),
                (
                    "mirror.h11",
                    "to take more of the better parent helps",
                    BRED,
                    RELEASED,
                    "judges",
                    "greater",
                ),
                ("mirror.cma", "CMA-ES does better with as many queries", EVOLVED, BRED, "judges", "greater"),
            ],
        )
        more = f"{members} members and {generations} generations a label (the paper's code: 1,000 and 100)."
        return Told(
            (table(self.title, ("images", "measure"), lines(done, names)),), claims, (), (*differs(scale), more)
        )
