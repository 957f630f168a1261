"""What chains keep of a target's answers, before anybody learns from it: is it nearer to the real data at all?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

import torch
from pydantic import Field

from genvet.attacks.extraction.accuracy_mh import AccuracyMH
from genvet.attacks.extraction.refining import Insider
from genvet.core.queries import Queries
from genvet.core.report import Claim
from genvet.core.rng import Rng
from genvet.core.technique import Technique
from genvet.maths.quality import STATISTICS
from genvet.nets.random_features import random_features
from genvet.reproduce.cells import Cell, Done, Numbers, Place, Step
from genvet.reproduce.experiment import Line, Scale, below, median, values
from genvet.reproduce.stealing.pictures import CHAIN, DATA, REAL, SEEDS, target
from genvet.reproduce.stealing.telling import chance
from genvet.reproduce.stealing.thefts import Target

CHAINS: dict[Scale, int] = {"smoke": 24, "small": 500, "paper": 5000}
LONGER = 5
"""Times the length that thefts take, to tell whether that is too short."""


class Refined(Cell):
    """Chains on a target, and the distance to real data of what they kept, beside as many of its plain answers."""

    target: Target
    chain: Annotated[int, Field(ge=1)]
    """Draws for each."""
    chains: Annotated[int, Field(ge=2)]
    real: Annotated[int, Field(ge=20)]
    """Real samples that the attacker has; what is measured against are others."""

    @property
    def name(self) -> str:
        return f"{self.target.name}-refined-{self.chain}-{self.chains}-real{self.real}"

    def needs(self) -> tuple[Step, ...]:
        return (self.target,)

    def techniques(self) -> tuple[type[Technique], ...]:
        return type(self.target.trains), AccuracyMH

    def where(self) -> Mapping[str, object]:
        return {"data": self.target.data, "chain": self.chain, "seed": self.target.seed}

    def __call__(self, place: Place) -> Numbers:
        attack, rng = AccuracyMH(refined=self.chains, chain=self.chain), Rng(self.target.seed)
        generator, images = self.target.generator(place), self.target.images(place)
        given = Insider(critic=self.target.critic(place), real=images.take(torch.arange(self.real)))
        view: Queries = generator.seen_as(Queries)  # type: ignore[assignment]
        asking = attack.asking(view, given, rng)
        loot = attack.refine(attack.calibrated(given, asking, rng.fork("calibration")), asking, rng)
        others = len(images) - self.real
        n = min(len(loot.x), others // 2)
        rows = self.real + torch.randperm(others, generator=rng.fork("real").block())
        real, other = (random_features(images.x[some]) for some in (rows[:n], rows[n : 2 * n]))
        kept, plain = random_features(loot.x[:n]), random_features(generator.sample(n, rng.fork("plain")))
        told: dict[str, float | None] = {m.name: m.value for m in loot.told} | {"kept": float(n)}
        for name in ("frechet", "kernel"):
            statistic = STATISTICS[name]
            told |= {f"kept.{name}": statistic(real, kept), f"plain.{name}": statistic(real, plain)}
            told[f"{name}.null"] = statistic(real, other)
        return told


def refinements(scale: Scale, data: int) -> tuple[Refined, ...]:
    """Of all seeds, with chains as long as thefts take and longer ones; 0 and 1 are the two data sets."""
    return tuple(
        Refined(target=target(scale, "pggan", seed, data), chain=chain, chains=CHAINS[scale], real=REAL[scale])
        for seed in range(1, SEEDS[scale] + 1)
        for chain in (CHAIN[scale], LONGER * CHAIN[scale])
    )


def kept(scale: Scale, done: Done) -> Iterator[Line]:
    """Both sides' distances to real data, and how the chains moved."""
    words = {"kept": "what chains kept", "plain": "as many plain answers"}
    for data in DATA[scale]:
        for chain in (CHAIN[scale], LONGER * CHAIN[scale]):
            of, where = (data, f"{chain} draws"), {"data": data, "chain": chain}
            for kind in ("frechet", "kernel"):
                note = chance(median(values(done, f"{kind}.null", Refined, **where)))
                for side, said in words.items():
                    ours = median(values(done, f"{side}.{kind}", Refined, **where))
                    yield Line((*of, f"{said}: {kind} distance to real data"), None, ours, note)
            for name in ("acceptance", "stuck"):
                yield Line((*of, name), None, median(values(done, name, Refined, **where)))


def nearer(scale: Scale, done: Done) -> Iterator[Claim]:
    """That chains come nearer to the real data: it holds where they do for every seed, and is open where seeds differ.

    By the kernel distance, which needs no correction for how few samples there are.
    """
    for i, data in enumerate(DATA[scale], 1):
        for name, chain in (("chains", CHAIN[scale]), ("longer-chains", LONGER * CHAIN[scale])):
            found = median(
                (told["kept.kernel"] or 0) - (told["plain.kernel"] or 0)
                for cell, told in done
                if isinstance(cell, Refined) and (cell.target.data, cell.chain) == (data, chain)
            )
            said = f"what {chain} draws kept less plain answers: difference of the kernel distance to {data}"
            yield below(f"stealing.js.{name}-come-nearer-{i}", found, 0, said)
