"""Table VII: where the search goes, and what keeps it near ordinary latents."""

from __future__ import annotations

from typing import Any, ClassVar

from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Scale, Told
from genvet.reproduce.mirror import SOURCE
from genvet.reproduce.mirror.comparing import Asked, Variant, bars, scatter, tables, ways
from genvet.reproduce.mirror.networks import BRIEFLY
from genvet.reproduce.mirror.paper import table_7
from genvet.reproduce.mirror.protocol import (
    BARE,
    BLOCKS,
    BOX,
    IN_Z,
    LABELS,
    TRUNCATED,
    claims,
    controls,
    differs,
    searched,
)

RESTARTS = 2
SHORT, OTHER_DATA, OTHER_NET = "w, box, short training", "w, box, half of the drawings", "w, box, stylegan1"
ENERGY = "w, energy"
OWN: tuple[Asked, ...] = (
    ("mirror.ablation.nearest", "the box brings images nearer to private drawings", BOX, BARE, "nearest", "smaller"),
    (
        "mirror.ablation.z-plus",
        "and in Z+, where the paper's NIQE gets worse",
        "z+, box",
        "z+, none",
        "judges",
        "different",
    ),
    ("mirror.ablation.w-plus", "and in W+", "w+, box", "w+, none", "public", "smaller"),
    ("mirror.ablation.shell", "the shell is recognised otherwise than the box", "w, shell", BOX, "judges", "different"),
    (
        "mirror.ablation.energy",
        "the box keeps nearer to public pictures than the energy",
        BOX,
        ENERGY,
        "public",
        "smaller",
    ),
    ("mirror.ablation.truncation", "and than truncation to the same length", BOX, TRUNCATED, "public", "different"),
    ("mirror.ablation.data", "half of the drawings make another prior", OTHER_DATA, SHORT, "judges", "different"),
    ("mirror.ablation.net", "StyleGAN1 leads elsewhere than StyleGAN2", OTHER_NET, SHORT, "judges", "different"),
)


def variants(scale: Scale) -> list[Variant]:
    """Each with the attack and its settings."""
    knobs: dict[str, dict[str, Any]] = {
        **{
            f"{space}, {border}": {"space": space, "border": border}
            for space in ("z", "w", "z+", "w+")
            for border in ("none", "box")
        },
        "w, box of 2": {"c": 2.0},
        "w, shell": {"border": "shell"},
        TRUNCATED: {"border": "none", "truncation": 0.72},
        ENERGY: {"border": "none", "energy": 0.005},
        **{SHORT: {}, OTHER_DATA: {}, OTHER_NET: {}},
    }
    made = [(name, "mirror", searched(scale, RESTARTS, **more)) for name, more in knobs.items()]
    return [*made, *controls(scale)]


def nets(variant: str) -> dict[str, Any]:
    """The prior that a variant goes through: three are trained for a quarter of the time, to compare."""
    others = {SHORT: {}, OTHER_DATA: {"part": "even"}, OTHER_NET: {"net": "stylegan1"}}
    return {"steps": BRIEFLY, **others[variant]} if variant in others else {}


class Ablation(Experiment):
    """Spaces, borders, training sets and architectures."""

    title: ClassVar[str] = "Table VII: spaces, borders, training sets and architectures"
    source: ClassVar[str] = f"{SOURCE}, sec. V-D, table VII"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(ways(scale, variants(scale), LABELS[scale], BLOCKS[scale], through=nets))

    def told(self, scale: Scale, done: Done) -> Told:
        names = [name for name, *_ in variants(scale)]
        figures = (
            *bars("Recognised by other classifiers", done, names, "judges"),
            *scatter(
                "How far p went, and what is recognised",
                *(
                    done,
                    (BOX, BARE, IN_Z, TRUNCATED, ENERGY, "w, shell"),
                    ("length", "length of p, ordinary is 1"),
                    ("judges", "recognised by judges"),
                ),
            ),
        )
        more = (
            f"{RESTARTS} searches a label here; the controls have as many as the other tables, whose cells they are.",
            "Truncation by 0.72 makes ordinary latents as long as the box does; lengths tell what it came to.",
            "Short trainings, to compare priors in themselves: about a quarter of the steps for all three.",
        )
        return Told(
            (*tables(self.title, done, names), table_7()),
            claims(done, ("H5", "H6", "H7"), OWN),
            figures,
            (*differs(scale, done, restarts=RESTARTS), *more),
        )
