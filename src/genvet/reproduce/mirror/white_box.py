"""Section V-B, with the weights: MIRROR beside other inversions, and beside what anybody has."""

from __future__ import annotations

from typing import Any, ClassVar

from genvet.core.report import Figure
from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Scale, Told
from genvet.reproduce.mirror import SOURCE
from genvet.reproduce.mirror.comparing import Asked, Variant, bars, scatter, tables, ways
from genvet.reproduce.mirror.paper import ORDERINGS, table_2, table_3
from genvet.reproduce.mirror.protocol import (
    AVERAGE,
    BLOCKS,
    DRAWING,
    GMI,
    LABELS,
    MIRROR,
    NOISE,
    PLAIN,
    PUBLIC,
    SAMPLE,
    SAMPLES,
    STEPS,
    claims,
    controls,
    differs,
    searched,
)

OWN: tuple[Asked, ...] = (
    ("mirror.sample", "nearer than the best sample", MIRROR, SAMPLE, "nearest", "smaller"),
    ("mirror.public", "nearer than the best public image", MIRROR, PUBLIC, "nearest", "smaller"),
    (
        "mirror.null",
        "recognised more than images of a target that knows nobody",
        MIRROR,
        "shuffled target",
        "judges",
        "greater",
    ),
    (
        "mirror.neighbours",
        "and by a witness who has seen nobody private",
        MIRROR,
        "shuffled target",
        "neighbours",
        "greater",
    ),
    (
        "mirror.again",
        "found again among similar people more than the best sample",
        MIRROR,
        SAMPLE,
        "similar",
        "greater",
    ),
    ("mirror.plain", "recognised more than through a plain GAN", MIRROR, PLAIN, "judges", "greater"),
    ("mirror.average", "DeepInversion gains by beginning with the average", AVERAGE, NOISE, "judges", "greater"),
)


def variants(scale: Scale) -> list[Variant]:
    """Each with the attack and its settings; DeepInversion takes as many gradients as MIRROR."""
    steps, few = STEPS[scale], {"restarts": 2} if scale == "smoke" else {}
    plain = searched(scale, space="z", dropout=False, consistency=0)
    plain.pop("moments")
    pixels: dict[str, Any] = {"steps": 2 * steps, "restarts": 2 if scale == "smoke" else 4}
    return [
        (MIRROR, "mirror", searched(scale)),
        (GMI, "gmi", {"steps": min(1500, 5 * steps), **few}),
        (NOISE, "deep_inversion", pixels),
        (DRAWING, "deep_inversion", pixels),
        (AVERAGE, "deep_inversion", pixels),
        (PLAIN, "mirror", plain),
        ("plug and play", "plug_and_play", {"samples": SAMPLES[scale], "candidates": 2 if scale == "smoke" else 20}),
        ("mi-face", "mi_face", {"steps": 5 * steps}),
        *controls(scale),
    ]


def nets(variant: str) -> dict[str, Any]:
    """The prior that a variant goes through: a plain GAN for those that were made for one."""
    return {"net": "dcgan"} if variant in (GMI, PLAIN) else {}


def begun(variant: str) -> dict[str, Any]:
    """What DeepInversion begins with."""
    return {DRAWING: {"begin": "one"}, AVERAGE: {"begin": "mean"}}.get(variant, {})


class WhiteBox(Experiment):
    """Inversions with the target's weights."""

    title: ClassVar[str] = "Section V-B: inversion with the weights"
    source: ClassVar[str] = f"{SOURCE}, sec. V-B, figures 11 and 14, tables II, III and VI"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(ways(scale, variants(scale), LABELS[scale], BLOCKS[scale], through=nets, more=begun))

    def told(self, scale: Scale, done: Done) -> Told:
        names = [name for name, *_ in variants(scale)]
        return Told(
            (*tables(self.title, done, names), table_2(), table_3()),
            claims(done, ("H1", "H2", "H3", "H4"), OWN),
            drawn(done, names),
            (*differs(scale, done), ORDERINGS),
        )


def drawn(done: Done, names: list[str]) -> tuple[Figure, ...]:
    """Who is recognised by what, and whether that goes with being near."""
    return (
        *bars("Recognised by other classifiers", done, names, "judges"),
        *bars("Recognised by neighbours in features of a witness", done, names, "neighbours"),
        *scatter(
            "What looks like public pictures, and what is recognised",
            *(
                done,
                (MIRROR, GMI, NOISE, PLAIN, SAMPLE, "real"),
                ("public", "distance to public pictures"),
                ("judges", "recognised by judges"),
            ),
        ),
    )
