"""A second kind of identities: persons, split into private and public ones, through a prior of few faces."""

from __future__ import annotations

from typing import Any, ClassVar

from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Scale, Told
from genvet.reproduce.mirror import SOURCE, black_box, white_box
from genvet.reproduce.mirror.comparing import NULL, Asked, Variant, bars, scatter, tables, ways
from genvet.reproduce.mirror.protocol import (
    AVERAGE,
    BLOCKS,
    BRED,
    FEWER,
    GMI,
    MIRROR,
    NOISE,
    PUBLIC,
    SAMPLE,
    claims,
    controls,
    differs,
    searched,
)

RESTARTS, STEPS = 4, 2000
"""Searches of a label, and steps of the priors."""
OWN: tuple[Asked, ...] = (
    ("mirror.faces.h1", "others recognise MIRROR's faces more than GMI's", MIRROR, GMI, "judges", "greater"),
    ("mirror.faces.h2", "and more than DeepInversion's", MIRROR, NOISE, "judges", "greater"),
    ("mirror.faces.h4", "features in a judge are nearer than GMI's", MIRROR, GMI, "features", "smaller"),
    ("mirror.faces.null", "more than of a target that knows nobody", MIRROR, NULL, "judges", "greater"),
    ("mirror.faces.neighbours", "also by a witness who has seen nobody private", MIRROR, NULL, "neighbours", "greater"),
    ("mirror.faces.public", "recognised more than the best public face", MIRROR, PUBLIC, "judges", "greater"),
    ("mirror.faces.sample", "and than the best sample", MIRROR, SAMPLE, "judges", "greater"),
    ("mirror.faces.queries", "by queries too", BRED, SAMPLE, "judges", "greater"),
)


def variants(scale: Scale) -> list[Variant]:
    """MIRROR with weights and by queries, GMI and DeepInversion; looks are mirrored, as faces may be."""
    known = {name: (method, settings) for name, method, settings in white_box.variants(scale)}
    bred = next(one for one in black_box.variants(scale) if one[0] == BRED)
    (gmi, of_gmi), (pixels, of_pixels) = known[GMI], known[NOISE]
    return [
        (MIRROR, "mirror", searched(scale, RESTARTS, mirror=True)),
        (GMI, gmi, of_gmi),
        (NOISE, pixels, {**of_pixels, "mirror": True}),
        (AVERAGE, pixels, {**of_pixels, "mirror": True}),
        bred,
        *[(n, m, {**s, "mirror": True} if m == "mirror" else s) for n, m, s in controls(scale, RESTARTS)],
    ]


def through(variant: str) -> dict[str, Any]:
    """The prior that a variant goes through."""
    return {"steps": STEPS, **white_box.nets(variant)}


class Faces(Experiment):
    """Persons in the place of characters."""

    title: ClassVar[str] = "Faces: ORL and Extended Yale B, split by person"
    source: ClassVar[str] = f"{SOURCE}, sec. V-B and V-C"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        some = variants(scale)
        labels, blocks = FEWER[scale], BLOCKS[scale]
        return tuple(ways(scale, some, labels, blocks, through=through, more=white_box.begun, domain="faces"))

    def told(self, scale: Scale, done: Done) -> Told:
        names = [name for name, *_ in variants(scale)]
        figures = (
            *bars("Recognised by other classifiers", done, names, "judges"),
            *scatter(
                "What looks like public faces, and what is recognised",
                *(
                    done,
                    (MIRROR, GMI, NOISE, BRED, SAMPLE, "real"),
                    ("public", "distance to public faces"),
                    ("judges", "recognised by judges"),
                ),
            ),
        )
        more = (
            "The prior has seen 48 persons, the paper's 10,177: it knows few ways to look, and may have learned them "
            "by heart. Pictures of one light find each other in random convolutions, whoever they show.",
        )
        return Told(
            tables(self.title, done, names),
            claims(done, (), OWN),
            figures,
            (*differs(scale, done, "faces", RESTARTS), *more),
        )
