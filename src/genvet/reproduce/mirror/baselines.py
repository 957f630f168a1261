"""Table VI: what needs no search at all, which the field had neglected."""

from __future__ import annotations

from typing import ClassVar

from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Scale, Told, table
from genvet.reproduce.mirror import SOURCE, black_box, white_box
from genvet.reproduce.mirror.black_box import BRED
from genvet.reproduce.mirror.comparing import Variant, hypotheses, lines, ways
from genvet.reproduce.mirror.white_box import BLOCKS, LABELS, MIRROR, differs

PUBLIC, SAMPLE = "best public", "best sample"


def variants(scale: Scale) -> list[Variant]:
    """Both searches, both ways without one, and real drawings: as the other tables have them."""
    known = {name: one for one in white_box.variants(scale) for name in one[:1]}
    bred = next(one for one in black_box.variants(scale) if one[0] == BRED)
    return [known[MIRROR], bred, known[SAMPLE], known[PUBLIC], known["real"]]


class Baselines(Experiment):
    """Searches beside the best image that anybody has."""

    title: ClassVar[str] = "Table VI: neglected baselines"
    source: ClassVar[str] = f"{SOURCE}, sec. V-D, table VI"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(ways(scale, variants(scale), LABELS[scale], BLOCKS[scale]))

    def told(self, scale: Scale, done: Done) -> Told:
        asked = []
        for search, short in ((MIRROR, "white"), (BRED, "black")):
            for other, near in ((PUBLIC, "public"), (SAMPLE, "sample")):
                named = f"mirror.baselines.{short}-{near}"
                asked += [
                    (named, f"{search} is nearer than the {other}", search, other, "nearest", "smaller"),
                    (f"{named}-judges", "and others recognise more of it", search, other, "judges", "greater"),
                ]
        names = [name for name, *_ in variants(scale)]
        paper = (
            "The paper's numbers are distances of logits: on the target, the best sample beats MIRROR with weights for "
            "two networks of six, the best public image for one; on other networks MIRROR is ahead for all six."
        )
        claims = hypotheses(done, asked)  # type: ignore[arg-type]
        return Told(
            (table(self.title, ("images", "measure"), lines(done, names)),), claims, (), (*differs(scale), paper)
        )
