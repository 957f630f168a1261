"""Whether what holds at one resolution holds at others: the paper's third next check."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, ClassVar

from genvet.core.report import Claim, Figure
from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Line, Scale, Spread, Told, claim, median, shown, table
from genvet.reproduce.stylegan import SOURCE, prune, scale, sweep
from genvet.reproduce.stylegan.looking import seeds
from genvet.reproduce.stylegan.networks import Data, parent
from genvet.reproduce.stylegan.prune import ALIKE, KEPT, PrunedParent
from genvet.reproduce.stylegan.scale import ScaledParent
from genvet.reproduce.stylegan.sweep import RARE, SweptParent
from genvet.studies.scale import INVISIBLE

SIZES: dict[Scale, tuple[int, ...]] = {"smoke": (8, 16), "small": (32, 64, 128), "paper": (128, 256, 512)}
STEPS = 500
"""Of the networks at small, which are trained for this table alone."""
Kind = type[PrunedParent] | type[ScaledParent] | type[SweptParent]
MEASURES: dict[tuple[Kind, str], str] = {
    (PrunedParent, "gone@t1"): "share of the weights below a threshold of 1",
    (PrunedParent, "untrained@t1"): "the same of a network that was never trained",
    (PrunedParent, "frechet@whole"): "Frechet distance to the data in random-conv-1",
    (PrunedParent, "frechet@real"): "the same of real images to others",
    (PrunedParent, "bearable/magnitude"): "largest share that can go by magnitude",
    (PrunedParent, "bearable/random"): "the same by random masks",
    (ScaledParent, "largest/z"): "largest change of a pixel where z is scaled, of 2",
    (ScaledParent, "largest/w"): "the same for w",
    (SweptParent, "special"): "share of dimensions that do more than any random direction",
    (SweptParent, "by-chance"): "the same by chance",
    (SweptParent, "special.p"): "how likely as many are by chance",
}
ENLARGED = (
    "Faces of ORL and Extended Yale B: the largest have 92 pixels a side, so that 128 pixels are enlarged ones, a test "
    "of the machinery. Networks are trained for 500 steps of 32 images."
)


class CrossResolution(Experiment):
    """Pruning, scaling and single dimensions, by the size of the images."""

    title: ClassVar[str] = "Across resolutions"
    source: ClassVar[str] = f"{SOURCE}, its next check 3"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(_looks(scale))

    def told(self, scale: Scale, done: Done) -> Told:
        lines = [
            Line((f"{size} px", words), None, _ours(done, size, kind, name))
            for size, ((kind, name), words) in product(SIZES[scale], MEASURES.items())
        ]
        differs = (
            "The paper has one network, of 128 pixels, and leaves other sizes open: there are no numbers of its own.",
            *((ENLARGED,) if scale == "small" else ()),
        )
        return Told(
            (table(self.title, ("size", "measure"), lines),),
            tuple(_claims(done, scale)),
            (_figure(done, scale),),
            differs,
        )


def _looks(at: Scale) -> Iterator[Cell]:
    """Seed after seed, each with every size once."""
    data: dict[Scale, Data] = {"smoke": "faces", "small": "faces", "paper": "celeba"}
    for seed, size in product(seeds(at), SIZES[at]):
        brief: dict[str, Any] = {"steps": STEPS} if at == "small" else {}
        styled = parent(at, seed, size=size, data=data[at], **brief)
        yield PrunedParent(parent=styled, study=prune.study(at))
        yield ScaledParent(parent=styled, study=scale.study(at))
        yield SweptParent(parent=styled, study=sweep.study(at))


def _ours(done: Done, size: int, kind: Kind, name: str) -> Spread | None:
    return median(n.get(name) for cell, n in done if isinstance(cell, kind) and cell.parent.size == size)


def _figure(done: Done, at: Scale) -> Figure:
    series = {}
    for name, words in (("gone@t1", "trained"), ("untrained@t1", "never trained"), ("bearable/magnitude", "bearable")):
        known = [(size, ours.value) for size in SIZES[at] if (ours := _ours(done, size, PrunedParent, name))]
        if known:
            series[words] = [list(column) for column in zip(*known, strict=True)]
    data = {"series": series, "x": "pixels a side", "y": "share of the weights", "log": "x"}
    return Figure(kind="curve", title="What a threshold of 1 takes, and what can go", data=data)


def _claims(done: Done, at: Scale) -> Iterator[Claim]:
    for size in SIZES[at]:
        near = f"stylegan.cross-resolution.{size}px"
        gone, fresh = (_ours(done, size, PrunedParent, f"{name}@t1") for name in ("gone", "untrained"))
        learned = gone and fresh and abs(gone.value - fresh.value) > ALIKE
        yield claim(f"{near}.a-threshold-of-1-takes-what-was-learned", gone, learned, f"never trained {shown(fresh)}")
        bearable = _ours(done, size, PrunedParent, "bearable/magnitude")
        beside = f"paper {1 - KEPT:.2f}; random masks {shown(_ours(done, size, PrunedParent, 'bearable/random'))}"
        yield claim(f"{near}.two-thirds-can-go", bearable, bearable and bearable.value >= 1 - KEPT - ALIKE, beside)
        z = _ours(done, size, ScaledParent, "largest/z")
        beside = f"below {INVISIBLE:.4f} nobody sees it; w {shown(_ours(done, size, ScaledParent, 'largest/w'))}"
        yield claim(f"{near}.scaling-z-changes-images", z, z and z.low >= INVISIBLE, beside)
        p, special = (_ours(done, size, SweptParent, name) for name in ("special.p", "special"))
        beside = f"how likely as many random directions lead, at most {RARE:g}; ahead are {shown(special)} of them"
        yield claim(f"{near}.single-dimensions-are-special", p, p and p.value <= RARE, beside)
