"""What all tables of this paper share: labels, blocks and steps, the controls, and the registered hypotheses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from genvet.core.report import Claim
from genvet.reproduce.cells import Done
from genvet.reproduce.experiment import Scale
from genvet.reproduce.mirror.comparing import NULL, RANDOM, REAL, Asked, Variant, hypotheses, told_of
from genvet.reproduce.mirror.identities import Domain
from genvet.reproduce.mirror.networks import SIDE

STEPS: dict[Scale, int] = {"smoke": 2, "small": 300, "paper": 20_000}
SAMPLES: dict[Scale, int] = {"smoke": 40, "small": 10_000, "paper": 100_000}
LABELS: dict[Scale, int] = {"smoke": 3, "small": 50, "paper": 60}
FEWER: dict[Scale, int] = {"smoke": 3, "small": 20, "paper": 20}
"""Labels of the tables that stand beside."""
BLOCKS: dict[Scale, int] = {"smoke": 1, "small": 3, "paper": 3}
RESTARTS: dict[Scale, int] = {"smoke": 2, "small": 8, "paper": 8}
POPULATION: dict[Scale, tuple[int, int]] = {"smoke": (4, 2), "small": (100, 20), "paper": (1000, 100)}
"""Members and generations of the search by queries."""

MIRROR, GMI, PLAIN = "mirror", "gmi", "plain GAN, mirror's search in z"
NOISE, DRAWING, AVERAGE = "deep inversion", "deep inversion, from a drawing", "deep inversion, from the average"
SAMPLE, PUBLIC, RANDOM_SAMPLE = "best sample", "best public", "random sample"
BRED, RELEASED, AMI, AS_MANY = "mirror, black box", "mirror as released", "ami", "best of as many samples"
BOX, BARE, IN_Z, TRUNCATED = "w, box", "w, none", "z, none", "w, truncation 0.72"
BOTH, DROPOUT, CONSISTENCY, NEITHER = MIRROR, "dropout alone", "consistency alone", "neither"

REGISTERED: dict[str, tuple[str, tuple[Asked, ...]]] = {
    "H1": (
        "MIRROR's images are recognised by others more than GMI's",
        (("mirror.h1", "others recognise MIRROR's images more than GMI's", MIRROR, GMI, "judges", "greater"),),
    ),
    "H2": (
        "and more than DeepInversion's",
        (("mirror.h2", "and more than DeepInversion's", MIRROR, NOISE, "judges", "greater"),),
    ),
    "H3": (
        "GMI's are recognised more than DeepInversion's",
        (("mirror.h3", "GMI's more than DeepInversion's", GMI, NOISE, "judges", "greater"),),
    ),
    "H4": (
        "MIRROR's features are nearer to real ones than GMI's, in a reference model",
        (("mirror.h4", "features in a judge are nearer than GMI's", MIRROR, GMI, "features", "smaller"),),
    ),
    "H5": (
        "In W, the box is better than none: more like public pictures, and recognised more",
        (
            ("mirror.h5-looks", "the box keeps images like public ones", BOX, BARE, "public", "smaller"),
            ("mirror.h5-judges", "and others recognise more of it", BOX, BARE, "judges", "greater"),
        ),
    ),
    "H6": (
        "W with the box differs from Z",
        (("mirror.h6", "W with the box is recognised otherwise than Z", BOX, IN_Z, "judges", "different"),),
    ),
    "H7": (
        "The box does more than plain truncation to the same length of p",
        (("mirror.h7", "the box is recognised more than truncation", BOX, TRUNCATED, "judges", "greater"),),
    ),
    "H8": (
        "Dropout in the target helps with others",
        (("mirror.h8", "dropout alone helps with others", DROPOUT, NEITHER, "judges", "greater"),),
    ),
    "H9": (
        "The choice of results that agree helps with others",
        (("mirror.h9", "consistency alone helps with others", CONSISTENCY, NEITHER, "judges", "greater"),),
    ),
    "H10": (
        "By queries alone, MIRROR's images are recognised more than AMI's, and than the best of as many samples",
        (
            ("mirror.h10-ami", "others recognise MIRROR's images more than AMI's", BRED, AMI, "judges", "greater"),
            ("mirror.h10-sample", "and more than the best of as many samples", BRED, AS_MANY, "judges", "greater"),
        ),
    ),
    "H11": (
        "Crossover that takes more of the better parent, as the paper writes it, is better than as released",
        (("mirror.h11", "to take more of the better parent helps", BRED, RELEASED, "judges", "greater"),),
    ),
}
"""Written down before any number was there: what each says, and the comparisons that decide it."""
COMPARISONS: dict[str, Asked] = {one[0]: one for _, asked in REGISTERED.values() for one in asked}


def claims(done: Done, registered: Iterable[str], more: Iterable[Asked] = ()) -> tuple[Claim, ...]:
    """Registered hypotheses by number, corrected over all of these; and a table's own, corrected over its own."""
    asked = [one for number in registered for one in REGISTERED[number][1]]
    return (*hypotheses(done, asked, len(COMPARISONS)), *hypotheses(done, more))


def searched(scale: Scale, restarts: int = 0, **more: Any) -> dict[str, Any]:
    """MIRROR's settings at this scale."""
    usual = {
        "samples": SAMPLES[scale],
        "steps": STEPS[scale],
        "restarts": min(restarts or RESTARTS[scale], RESTARTS[scale]),
        "moments": 500 if scale == "smoke" else 20_000,
        "trust_p": True,
    }
    return {**usual, **more}


def controls(scale: Scale, restarts: int = 0) -> list[Variant]:
    """What stands in every table: a target that knows nobody, and images that took no search."""
    return [
        (NULL, "mirror", searched(scale, restarts)),
        (RANDOM_SAMPLE, RANDOM, {}),
        (SAMPLE, "best_sample", {"samples": SAMPLES[scale]}),
        (PUBLIC, "nearest_public", {}),
        (REAL, REAL, {}),
    ]


IDENTITIES: dict[Domain, str] = {
    "characters": "Characters are the identities: drawings of Omniglot at {side} pixels. Private alphabets are no "
    "public ones; 14 drawings of a character are learned, 6 by other hands are what images are held against.",
    "faces": "Persons of ORL and of the Extended Yale B at {side} pixels, 20 of them private; three pictures in five "
    "are learned, the others are what images are held against.",
    "digits": "The classes 0 to 4 of MNIST and of Fashion-MNIST at {side} pixels are private, 5 to 9 public.",
    "garments": "",
}


def differs(scale: Scale, done: Done, domain: Domain = "characters", restarts: int = 0) -> tuple[str, ...]:
    """What is not as in the paper, in all tables of it."""
    few = min(restarts or RESTARTS[scale], RESTARTS[scale])
    return (
        IDENTITIES[domain].format(side=SIDE[scale]),
        *told_of(done),
        "The paper's distances are bare numbers between logits; ours are in units of what real pictures have, and "
        "those of logits stand in rows of their own.",
        f"{STEPS[scale]:,} steps of {few} searches a label, from the best of {SAMPLES[scale]:,} samples (paper: 20,000 "
        "of 8, of 100,000). The border is kept however normal P of the prior is; observations tell how normal.",
        "A judge is of another family than the target, and was trained on the same pictures from other weights. "
        "A witness is of a third family, and learned to tell public identities apart: it shares no picture with the "
        "target, nor do random convolutions.",
        f"'{NULL}': the same attack on a target that learned labels dealt out at random, so that it knows nobody.",
        "NIQE is refitted to public pictures in patches of half a side: it compares within this table alone, and with "
        "no number of the paper.",
    )
