"""Table 7: thefts by who does not know the prior."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from genvet.core.report import Claim
from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Line, Scale, Told, claim, median, table, values
from genvet.reproduce.stealing import SOURCE
from genvet.reproduce.stealing.pictures import NETS, SEEDS, differs, target, theft
from genvet.reproduce.stealing.telling import (
    MEASURES,
    NULLS,
    OTHER_UNITS,
    differences,
    fidelity_below_accuracy,
    less,
    line,
)
from genvet.reproduce.stealing.thefts import Theft

PRIORS = {"normal": "declared", "uniform": "uniform"}
"""What a PGGAN declares is normal: it normalises its latents, whose lengths are nothing to it."""
PAPER: dict[tuple[str, str, str], float] = {
    ("sngan", "normal", "fidelity.frechet"): 4.49,
    ("sngan", "uniform", "fidelity.frechet"): 4.29,
    ("pggan", "normal", "fidelity.frechet"): 1.02,
    ("pggan", "uniform", "fidelity.frechet"): 0.98,
    ("sngan", "normal", "accuracy.frechet"): 9.29,
    ("sngan", "uniform", "accuracy.frechet"): 9.16,
    ("pggan", "normal", "accuracy.frechet"): 4.93,
    ("pggan", "uniform", "accuracy.frechet"): 4.85,
}
"""FIDs, on CelebA."""
ALIKE = 0.25
"""Of the normal prior's value: seeds of one prior lie as far apart."""


class Priors(Experiment):
    """A PGGAN that is asked with normal latents, its own, and with uniform ones."""

    title: ClassVar[str] = "Table 7: theft with two priors"
    source: ClassVar[str] = f"{SOURCE}, table 7 and appendix A.3"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(
            asked(scale, seed, attacker, prior)
            for seed in range(1, SEEDS[scale] + 1)
            for attacker in NETS
            for prior in PRIORS
        )

    def told(self, scale: Scale, done: Done) -> Told:
        more = (
            "A PGGAN normalises its latents, so that uniform ones differ from normal ones in direction alone: what is "
            "found here need not hold for a target that does not.",
        )
        return Told(
            (table(self.title, ("attacker", "prior", "measure"), _lines(done)),),
            tuple(_claims(done)),
            (),
            (*differs(scale), OTHER_UNITS, *more, NULLS),
        )


def asked(scale: Scale, seed: int, attacker: str, prior: str) -> Theft:
    """A theft with latents of this prior; the declared one is not named, so that other tables have that theft too."""
    named: dict[str, Any] = {} if PRIORS[prior] == "declared" else {"prior": PRIORS[prior]}
    return theft(scale, target(scale, "pggan", seed), attacker, **named)


def _lines(done: Done) -> Iterator[Line]:
    for attacker in NETS:
        for prior in PRIORS:
            where: dict[str, object] = {"attacker": attacker, "prior": PRIORS[prior]}
            for name, words in MEASURES.items():
                yield line(done, (attacker, prior, words), name, where, PAPER.get((attacker, prior, name)))


def _claims(done: Done) -> Iterator[Claim]:
    yield fidelity_below_accuracy(done, "stealing.priors.fidelity-below-accuracy")
    for attacker in NETS:
        one: dict[str, object] = {"attacker": attacker, "prior": "uniform"}
        other = one | {"prior": PRIORS["normal"]}
        found, usual = (
            differences(done, "fidelity.frechet", one, other),
            values(done, "fidelity.frechet", Theft, **other),
        )
        middle = median(usual)
        alike = found is not None and middle is not None and max(abs(found.low), abs(found.high)) < ALIKE * middle.value
        words = (
            f"uniform less normal, of all seeds within {ALIKE:.0%} of {middle.value:.3g}" if middle else "not measured"
        )
        yield claim(f"stealing.priors.alike-for-{attacker}", found, alike, words)
    pggan, sngan = ({"attacker": net, "prior": PRIORS["normal"]} for net in ("pggan", "sngan"))
    words = "a PGGAN's theft of a PGGAN against an SNGAN's"
    yield less(done, "stealing.priors.same-architecture-better", words, "fidelity.frechet", pggan, sngan)  # type: ignore[arg-type]
