"""Table 8: who steals from whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from genvet.core.report import Claim
from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Line, Scale, Told, table
from genvet.reproduce.stealing import SOURCE
from genvet.reproduce.stealing.pictures import NETS, SEEDS, differs, target, theft
from genvet.reproduce.stealing.telling import MEASURES, NULLS, OTHER_UNITS, TARGET, fidelity_below_accuracy, less, line

PAPER = {
    ("sngan", "sngan", "fidelity.js"): 8.90e-3,
    ("sngan", "sngan", "accuracy.js"): 34.12e-3,
    ("sngan", "pggan", "fidelity.js"): 1.60e-3,
    ("sngan", "pggan", "accuracy.js"): 18.56e-3,
    ("pggan", "sngan", "fidelity.frechet"): 4.49,
    ("pggan", "sngan", "accuracy.frechet"): 9.29,
    ("pggan", "pggan", "fidelity.frechet"): 1.02,
    ("pggan", "pggan", "accuracy.frechet"): 4.93,
}
"""Target, attacker: Table 8, on CelebA (divergences), and Table 7 (FIDs, which ours are not)."""
OWN = {("sngan", "target.js"): 16.36e-3, ("pggan", "target.js"): 4.14e-3}


class Architectures(Experiment):
    """SNGAN and PGGAN, each stolen by each."""

    title: ClassVar[str] = "Table 8: the architectures of target and attacker"
    source: ClassVar[str] = f"{SOURCE}, tables 7 and 8, figure 9"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(
            theft(scale, target(scale, net, seed), attacker)
            for seed in range(1, SEEDS[scale] + 1)
            for net in NETS
            for attacker in NETS
        )

    def told(self, scale: Scale, done: Done) -> Told:
        return Told(
            (table(self.title, ("target", "attacker", "measure"), _lines(done)),),
            tuple(_claims(done)),
            (),
            (
                *differs(scale),
                OTHER_UNITS,
                "The paper's divergences are 8.9e-3 and the like, in a space it does not tell.",
                NULLS,
            ),
        )


def _lines(done: Done) -> Iterator[Line]:
    for net in NETS:
        for attacker in NETS:
            where: dict[str, object] = {"net": net, "attacker": attacker}
            for name, words in MEASURES.items():
                yield line(done, (net, attacker, words), name, where, PAPER.get((net, attacker, name)))
        own: dict[str, object] = {"net": net, "attacker": net}
        for name, words in TARGET.items():
            yield line(done, (net, "none", words), name, own, OWN.get((net, name)))


def _claims(done: Done) -> Iterator[Claim]:
    yield fidelity_below_accuracy(done, "stealing.architectures.fidelity-below-accuracy")
    for net in NETS:
        one, other = ({"net": net, "attacker": attacker} for attacker in ("pggan", "sngan"))
        name, words = (
            f"stealing.architectures.pggan-steals-{net}-better",
            f"a PGGAN's theft of a {net} against an SNGAN's",
        )
        yield less(done, name, words, "fidelity.frechet", one, other)  # type: ignore[arg-type]
