"""Section V-B, with the weights: MIRROR beside other inversions, and beside what anybody has."""

from __future__ import annotations

from typing import Any, ClassVar

from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Scale, Told, table
from genvet.reproduce.mirror import SOURCE
from genvet.reproduce.mirror.comparing import Variant, hypotheses, lines, ways

STEPS: dict[Scale, int] = {"smoke": 2, "small": 300, "paper": 20_000}
SAMPLES: dict[Scale, int] = {"smoke": 40, "small": 10_000, "paper": 100_000}
LABELS: dict[Scale, int] = {"smoke": 3, "small": 50, "paper": 60}
BLOCKS: dict[Scale, int] = {"smoke": 1, "small": 3, "paper": 3}
MIRROR = "mirror"
PLAIN = "plain GAN, mirror's search in z"


def differs(scale: Scale) -> tuple[str, ...]:
    """What is not as in the paper, in all tables of it."""
    where = {"smoke": "8", "small": "32", "paper": "64"}[scale]
    return (
        f"Characters are the identities: drawings of Omniglot at {where} pixels. Private alphabets are no public ones; "
        "14 drawings of a character are learned, 6 by other hands are what images are held against.",
        "The paper's distances are of logits to a mean of logits; ours are in a space that no training made, in units "
        "of how near real drawings of one character are to each other.",
        f"{STEPS[scale]:,} steps of 8 searches a label, from the best of {SAMPLES[scale]:,} samples (paper: 20,000, "
        "of 100,000).",
        "A judge is of another family than the target, and was trained on the same drawings from other weights.",
    )


def searched(scale: Scale, **more: Any) -> dict[str, Any]:
    """MIRROR's settings at this scale."""
    restarts = 2 if scale == "smoke" else 8
    moments = 500 if scale == "smoke" else 20_000
    usual = {"samples": SAMPLES[scale], "steps": STEPS[scale], "restarts": restarts, "moments": moments}
    return {**usual, **({"trust_p": True} if scale == "smoke" else {}), **more}


def variants(scale: Scale) -> list[Variant]:
    """Each with the attack and its settings."""
    steps, few = STEPS[scale], {"restarts": 2} if scale == "smoke" else {}
    plain = searched(scale, space="z", dropout=False, consistency=0)
    plain.pop("moments"), plain.pop("trust_p", None)
    return [
        (MIRROR, "mirror", searched(scale)),
        ("gmi", "gmi", {"steps": min(1500, 5 * steps), **few}),
        ("deep inversion", "deep_inversion", {"steps": min(2000, 5 * steps), **few}),
        (PLAIN, "mirror", plain),
        ("plug and play", "plug_and_play", {"samples": SAMPLES[scale], "candidates": 2 if scale == "smoke" else 20}),
        ("mi-face", "mi_face", {"steps": 5 * steps}),
        ("best sample", "best_sample", {"samples": SAMPLES[scale]}),
        ("best public", "nearest_public", {}),
        ("real", "real", {}),
    ]


def nets(variant: str) -> dict[str, Any]:
    """The prior that a variant goes through: a plain GAN for those that were made for one."""
    return {"net": "dcgan"} if variant in ("gmi", PLAIN) else {}


class WhiteBox(Experiment):
    """Inversions with the target's weights."""

    title: ClassVar[str] = "Section V-B: inversion with the weights"
    source: ClassVar[str] = f"{SOURCE}, sec. V-B, figures 11 and 14, tables II and VI"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(ways(scale, variants(scale), LABELS[scale], BLOCKS[scale], through=nets))

    def told(self, scale: Scale, done: Done) -> Told:
        names = [name for name, *_ in variants(scale)]
        claims = hypotheses(
            done,
            [
                (
                    "mirror.h1",
                    "others recognise MIRROR's images more than GMI's",
                    MIRROR,
                    "gmi",
                    "judges",
                    "greater",
                ),
                ("mirror.h2", "and more than DeepInversion's", MIRROR, "deep inversion", "judges", "greater"),
                ("mirror.h3", "GMI's more than DeepInversion's", "gmi", "deep inversion", "judges", "greater"),
                (
                    "mirror.h4",
                    "MIRROR's are nearer to real ones than GMI's",
                    MIRROR,
                    "gmi",
                    "nearest",
                    "smaller",
                ),
                ("mirror.sample", "nearer than the best sample", MIRROR, "best sample", "nearest", "smaller"),
                ("mirror.public", "nearer than the best public image", MIRROR, "best public", "nearest", "smaller"),
            ],
        )
        return Told((table(self.title, ("images", "measure"), lines(done, names)),), claims, (), differs(scale))
