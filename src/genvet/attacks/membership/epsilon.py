"""An audit of epsilon: a lower bound from what guesses about canaries prove, beside the upper bound that is claimed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.membership.records import Exposing, Records
from genvet.core.data import Critic
from genvet.core.errors import BadInput
from genvet.core.queries import Samples
from genvet.core.report import Figure, Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Probe, Result
from genvet.maths.epsilon_audit import LEVEL, Guesses, guesses
from genvet.nets.judging import scores_of
from genvet.nets.nearest_samples import nearest_samples
from genvet.nets.spaces import pixels

FEW = 1000
"""Canaries below which little can be shown."""
CRITIC, NEAREST = "the critic's score", "the nearest sample"


@dataclass(frozen=True, eq=False, kw_only=True)
class Given(Records):
    """Canaries that took part as members, those that did not as non-members."""

    critic: Critic | None = None
    """The generator's own: a private training releases it too, and it tells most."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Audited(Result):
    """Every way to guess, by its name and number of guesses; all bounds hold at once."""

    ways: dict[str, list[Guesses]]
    members: int
    canaries: int
    delta: float
    claimed: float | None
    asked: int

    @property
    def best(self) -> Guesses:
        return max((g for way in self.ways.values() for g in way), key=lambda g: (g.epsilon, g.ceiling))

    @property
    def ceiling(self) -> float:
        return max(g.ceiling for way in self.ways.values() for g in way)

    @property
    def contradicted(self) -> bool:
        return self.claimed is not None and self.best.epsilon > self.claimed

    def summary(self) -> str:
        best = self.best
        told = [
            f"Epsilon is at least {best.epsilon:.3g} at delta {self.delta:g} (95 %): {best.right} of {best.guessed} "
            f"guesses about {self.canaries} canaries are right. They could show no more than {self.ceiling:.3g}"
        ]
        if self.claimed is not None:
            said = "contradicts" if self.contradicted else "does not contradict"
            told.append(f"this {said} the claim of {self.claimed:.3g}")
        if self.claimed is not None and self.ceiling <= self.claimed:
            told.append("no outcome could have: the claim is beyond what so many canaries can test")
        if self.canaries < FEW:
            told.append(f"fewer than {FEW} canaries show little")
        return "; ".join(told) + ". A bound from below is no proof that there is no more."

    def measures(self) -> tuple[Measure, ...]:
        best, at = self.best, f"at delta {self.delta:g}; 95 %, with all ways to guess at once"
        made = [
            Measure(name="epsilon-least", value=best.epsilon, note=f"lower bound {at}", n=self.canaries),
            Measure(name="epsilon-ceiling", value=self.ceiling, note="were all guesses right", n=self.canaries),
            Measure(name="right", value=best.right / best.guessed, n=best.guessed, chance=0.5, note="share of guesses"),
        ]
        if self.claimed is not None:
            made.append(Measure(name="epsilon-claimed", value=self.claimed, note="the accountant's, from above"))
            made.append(
                Measure(name="contradicted", value=float(self.contradicted), note="1: the claim cannot be true")
            )
        for name, way in self.ways.items():
            most = max(way, key=lambda g: g.epsilon)
            key = name.removeprefix("the ").replace("'s ", "-").replace(", ", "-").replace(" ", "-")
            made.append(Measure(name=f"epsilon-least.{key}", value=most.epsilon, note=f"by {name}", n=most.guessed))
        return tuple(made)

    def figures(self) -> tuple[Figure, ...]:
        bars = {} if self.claimed is None else {"claimed, at most": self.claimed}
        for name, way in self.ways.items():
            bars[f"shown by {name}, at least"] = max(g.epsilon for g in way)
        bars["could be shown, at most"] = self.ceiling
        data = {"labels": list(bars), "values": list(bars.values()), "x": f"epsilon at delta {self.delta:g}"}
        return (Figure(kind="bars", title="What is claimed of epsilon, and what is shown", data=data),)

    def tables(self) -> tuple[Table, ...]:
        rows = tuple((name, g.guessed, g.right, g.epsilon, g.ceiling) for name, way in self.ways.items() for g in way)
        columns = ("score", "guesses", "right", "epsilon, at least", "were all right")
        return (Table(title="Every way to guess", columns=columns, rows=rows),)

    @property
    def queries(self) -> int:
        return self.asked


class Epsilon(Probe):
    """Bounds epsilon from below, by guesses which canaries took part in a single training.

    The canaries have to be made before the training, at least 1,000 of them, and each to take part by the toss of a
    fair coin. White box by the critic's score, black box by the nearest of many samples.
    """

    source: ClassVar[str] = (
        "Steinke, Nasr, Jagielski: Privacy auditing with one (1) training run, NeurIPS 2023, theorem 5.2"
    )
    smoke: ClassVar[dict[str, Any]] = {"samples": 32, "claimed": 3.0}

    claimed: Annotated[float, Field(ge=0, le=1e6)] | None = None
    """Epsilon as its accountant tells it."""
    delta: Annotated[float, Field(ge=0, lt=1)] = 1e-5
    """That of the claim."""
    samples: Annotated[int, Field(ge=0, le=100_000_000)] = 10_000
    """Of the generator, to look for the nearest of; 0 leaves the black box out."""
    batch: Annotated[int, Field(ge=1, le=4096)] = 256
    """Images at once; the result does not depend on it."""
    shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.1, 0.2, 0.5)
    """Of the canaries that are guessed about, half of them as members: few sure guesses or many unsure ones."""

    def __call__(self, target: Samples, given: Given, rng: Rng) -> Audited:
        shape = None if given.critic is None else tuple(given.critic.shape)
        cohort = Exposing(near=0.0).cohort(given, shape)
        n, x = cohort.known, cohort.x[: cohort.known]
        if abs(cohort.members - n / 2) > 2 * n**0.5:
            got = f"{cohort.members} of {n}"
            raise BadInput("the canaries did not take part by a fair coin", expected="about half of them", got=got)
        scores: dict[str, Tensor] = {}
        if given.critic is not None:
            scores[CRITIC] = scores_of(given.critic, x, self.batch)
        if self.samples:
            scores[NEAREST] = -nearest_samples(target, x, pixels(), self.samples, rng.fork("samples")).distance
        if not scores or not self.shares:
            raise BadInput("nothing to guess by", expected="--critic, --samples above 0, or both; and --shares")
        return self.audited(scores, cohort.inside, rng, self.samples if NEAREST in scores else 0)

    def audited(self, scores: Mapping[str, Tensor], inside: Tensor, rng: Rng, asked: int = 0) -> Audited:
        """What guesses by these scores prove, (n,) each, of canaries that took part where `inside`, (n,)."""
        level, n = LEVEL / (len(scores) * len(self.shares)), len(inside)
        ways = {
            name: [
                guesses(torch.as_tensor(score).cpu(), inside, max(2, round(share * n)), self.delta, level, rng)
                for share in self.shares
            ]
            for name, score in scores.items()
        }
        members = int(inside.sum())
        return Audited(ways=ways, members=members, canaries=n, delta=self.delta, claimed=self.claimed, asked=asked)
