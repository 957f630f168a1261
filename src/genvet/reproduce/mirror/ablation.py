"""Table VII: where the search goes, and what keeps it near ordinary latents."""

from __future__ import annotations

from typing import Any, ClassVar

from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Scale, Told, table
from genvet.reproduce.mirror import SOURCE
from genvet.reproduce.mirror.comparing import Variant, hypotheses, lines, ways
from genvet.reproduce.mirror.white_box import BLOCKS, LABELS, MIRROR, differs, searched

OTHER_DATA, OTHER_NET = "w, box, other drawings", "w, box, stylegan1"


def variants(scale: Scale) -> list[Variant]:
    """Each with the attack and its settings."""
    made = []
    for space in ("z", "w", "z+", "w+"):
        for border in ("none", "box"):
            name = MIRROR if (space, border) == ("w", "box") else f"{space}, {border}"
            made.append((name, "mirror", searched(scale, space=space, border=border)))
    more: dict[str, dict[str, Any]] = {
        "w, box of 2": {"c": 2.0},
        "w, shell": {"border": "shell"},
        "w, truncation 0.7": {"border": "none", "truncation": 0.7},
        "w, energy": {"border": "none", "energy": 0.005},
        "no dropout": {"dropout": False},
        "no consistency": {"consistency": 0},
        OTHER_DATA: {},
        OTHER_NET: {},
    }
    return [*made, *((name, "mirror", searched(scale, **knobs)) for name, knobs in more.items())]


def nets(variant: str) -> dict[str, Any]:
    """The prior that a variant goes through."""
    return {OTHER_DATA: {"part": "even"}, OTHER_NET: {"net": "stylegan1"}}.get(variant, {})


class Ablation(Experiment):
    """Spaces, borders, and what else MIRROR has that others have not."""

    title: ClassVar[str] = "Table VII: spaces, borders, dropout and consistency"
    source: ClassVar[str] = f"{SOURCE}, sec. V-D, table VII"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(ways(scale, variants(scale), LABELS[scale], BLOCKS[scale], through=nets))

    def told(self, scale: Scale, done: Done) -> Told:
        names = [name for name, *_ in variants(scale)]
        claims = hypotheses(
            done,
            [
                (
                    "mirror.h5",
                    "the box brings images nearer to private drawings",
                    MIRROR,
                    "w, none",
                    "nearest",
                    "smaller",
                ),
                ("mirror.h6", "W with the box is nearer than Z", MIRROR, "z, none", "nearest", "different"),
                ("mirror.h7", "the box does more than truncation", MIRROR, "w, truncation 0.7", "nearest", "smaller"),
                ("mirror.h8", "dropout in the target helps with others", MIRROR, "no dropout", "judges", "greater"),
                ("mirror.h9", "results that agree help with others", MIRROR, "no consistency", "judges", "greater"),
                ("mirror.shell", "the shell is nearer than the box", "w, shell", MIRROR, "nearest", "smaller"),
            ],
        )
        return Told((table(self.title, ("search", "measure"), lines(done, names)),), claims, (), differs(scale))
