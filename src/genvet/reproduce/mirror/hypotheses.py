"""The hypotheses that were registered before any number was there, with a plain statement each: from other tables."""

from __future__ import annotations

from typing import ClassVar, Literal

from genvet.core.report import Claim, Scalar, Table
from genvet.maths.paired import Hypothesis
from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Scale, Told
from genvet.reproduce.mirror import SOURCE, ablation, black_box, selection, white_box
from genvet.reproduce.mirror.comparing import FEWEST, Way, compared, family, over_labels
from genvet.reproduce.mirror.protocol import COMPARISONS, REGISTERED, differs

Status = Literal["holds", "not", "undecided"]
STATEMENTS: dict[Status, str] = {"holds": "holds", "not": "does not hold", "undecided": "undecided"}


class Hypotheses(Experiment):
    """H1 to H11, of one family."""

    title: ClassVar[str] = "Hypotheses on inversion, corrected together"
    source: ClassVar[str] = f"{SOURCE}, sec. V; registered before the first run"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        """Those of other tables that the comparisons need: whoever has these has nothing to work out."""
        needed = {name for _, _, ours, theirs, *_ in COMPARISONS.values() for name in (ours, theirs)}
        others = (white_box.WhiteBox(), black_box.BlackBox(), ablation.Ablation(), selection.Selection())
        found = {c.name: c for one in others for c in one.cells(scale) if isinstance(c, Way) and c.variant in needed}
        return tuple(sorted(found.values(), key=lambda cell: cell.block))

    def told(self, scale: Scale, done: Done) -> Told:
        pairs, _ = compared(done, COMPARISONS.values())
        found = {h.id: h for h in family(pairs, len(COMPARISONS))}
        rows, claims = [], []
        for number, (words, asked) in REGISTERED.items():
            parts = [found.get(name) for name, *_ in asked]
            status = together([status_of(part) for part in parts])
            claims.append(Claim(id=f"mirror.{number.lower()}", status=status, evidence=f"{words}: {evident(parts)}"))
            for (_, says, ours, theirs, measure, _), part in zip(asked, parts, strict=True):
                rows.append((number, says, STATEMENTS[status], *numbers(done, ours, theirs, measure, part)))
        columns = ("hypothesis", "comparison", "statement", "ours", "beside", "p after Holm", "n")
        table = Table(title=self.title, columns=columns, rows=tuple(rows))
        more = (
            f"One family of {len(COMPARISONS)} comparisons with Holm's correction; the unit is the label, over "
            f"{FEWEST} paired blocks that all have to agree.",
        )
        return Told((table,), tuple(claims), (), (*differs(scale, done), *more))


def status_of(part: Hypothesis | None) -> Status:
    """Undecided too where there are fewer blocks than a claim takes."""
    return "undecided" if part is None or len(part.blocks) < FEWEST else part.status


def together(parts: list[Status]) -> Status:
    """A hypothesis holds where all of its comparisons do, and does not where one does not.

    >>> together(["holds", "holds"]), together(["holds", "not"]), together(["holds", "undecided"])
    ('holds', 'not', 'undecided')
    """
    return "not" if "not" in parts else "undecided" if "undecided" in parts else "holds"


def evident(parts: list[Hypothesis | None]) -> str:
    """The numbers of all comparisons."""
    return "; ".join("not all of it is measured" if part is None else part.evidence for part in parts)


def numbers(done: Done, ours: str, theirs: str, measure: str, part: Hypothesis | None) -> tuple[Scalar, ...]:
    """Of both sides, with p and the number of labels."""
    sides = [over_labels(done, name, measure) for name in (ours, theirs)]
    told = [
        f"{s.value:.3g} ({s.low:.3g} to {s.high:.3g}), {n}" if s else None
        for s, n in zip(sides, (ours, theirs), strict=True)
    ]
    return (*told, float(f"{part.p_holm:.2g}") if part else None, part.labels if part else None)
