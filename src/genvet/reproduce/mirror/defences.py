"""Section V-E: targets that were trained to give little away, attacked as ever and by somebody who knows of it."""

from __future__ import annotations

from typing import Any, ClassVar

from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Scale, Told, table
from genvet.reproduce.mirror import SOURCE
from genvet.reproduce.mirror.comparing import Variant, hypotheses, lines, ways
from genvet.reproduce.mirror.white_box import BLOCKS, LABELS, differs, searched

NAMES = {
    "none": "no defence",
    "smoothing": "negative label smoothing",
    "mid": "information bottleneck",
    "bido": "bilateral dependency",
    "robust": "adversarial training",
}
REAL, KNOWING = "real drawings", "knowing"


def variants(scale: Scale) -> list[Variant]:
    """Of each defence: real drawings, which tell its price; the usual attack; and one by another loss."""
    made: list[Variant] = []
    for name in NAMES.values():
        made += [
            (f"{name}, {REAL}", "real", {}),
            (name, "mirror", searched(scale)),
            # Cross-entropy fades where a defence has made scores sure or flat: a margin does not.
            (f"{name}, {KNOWING}", "mirror", searched(scale, loss="margin")),
        ]
    return made


def against(variant: str) -> dict[str, Any]:
    """How the target of a variant was trained."""
    named = variant.partition(", ")[0]
    return {"defence": next(key for key, name in NAMES.items() if name == named)}


class Defences(Experiment):
    """What each defence costs, and what it leaves of the attack."""

    title: ClassVar[str] = "Section V-E: defences"
    source: ClassVar[str] = f"{SOURCE}, sec. V-E"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(ways(scale, variants(scale), LABELS[scale], BLOCKS[scale], against=against))

    def told(self, scale: Scale, done: Done) -> Told:
        plain, asked = NAMES["none"], []
        for key, name in NAMES.items():
            if key != "none":
                less, worth = f"{name} leaves less of the attack", f"{name}: who knows of it gets more"
                asked += [
                    (f"mirror.defence.{key}", less, name, plain, "judges", "smaller"),
                    (f"mirror.defence.{key}-knowing", worth, f"{name}, {KNOWING}", name, "judges", "greater"),
                ]
        names = [name for name, *_ in variants(scale)]
        more = (
            "The price of a defence is what its target makes of real drawings: the first measure of those rows.",
            "DP-SGD, which the paper attacks as well, comes with private training.",
        )
        claims = hypotheses(done, asked)  # type: ignore[arg-type]
        lined = table(self.title, ("target", "measure"), lines(done, names))
        return Told((lined,), claims, (), (*differs(scale), *more))
