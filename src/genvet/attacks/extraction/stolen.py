"""What thefts have in common: the attacker's network, what it learns from, and what came of it beside its target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from genvet.attacks.extraction.asking import Asking, Prior
from genvet.attacks.extraction.measuring import FEWEST, Beside, Likeness, Sides, sides
from genvet.core.data import Images
from genvet.core.errors import BadInput, BudgetSpent
from genvet.core.generator import Generator
from genvet.core.queries import Queries
from genvet.core.report import Figure, Measure
from genvet.core.rng import Rng
from genvet.core.technique import Picture, Recipe, Result, Technique, TrainedGenerator
from genvet.training import shadows
from genvet.training.starting import Start, begun_from

SHOWN = 32
"""Images in a picture; of points, so many times as many."""
POINT = (1, 1, 2)


@dataclass(frozen=True, eq=False, kw_only=True)
class Loot:
    """What an attacker learns from, and what it took to get it."""

    x: Tensor
    """(n, *shape)."""
    asked: int
    """Queries that the target was sent, measuring apart."""
    notes: tuple[str, ...] = ()
    told: tuple[Measure, ...] = ()
    """What else there is to tell of how it was come by."""
    refined: Tensor | None = None
    """What refinement kept of the target's answers, where there was any."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Stolen(Result):
    """A stolen generator with its critic, beside its target and real data."""

    stolen: Generator
    critic: nn.Module | None
    losses: dict[str, Tensor]
    loot: Loot
    sides: Sides
    measured: int
    """Queries that measuring took."""
    fidelity: Likeness
    accuracy: Likeness | None
    target: Likeness | None
    """The target itself against real data: what a perfect copy has."""
    refined: Likeness | None
    """What refinement kept against real data, before anybody learned from it."""
    rows: Tensor
    """Features of the stolen generator's samples."""
    x: Tensor
    """Samples of it."""

    def summary(self) -> str:
        taken = f"A {self.stolen.name} that learned from {len(self.loot.x)} images of {self.loot.asked} queries"
        told = [f"fidelity {_told(self.fidelity)}"]
        if self.accuracy and self.target:
            told.append(f"accuracy {_told(self.accuracy)} where the target has {self.target.frechet.value:.3g}")
        end = " ".join((f"Frechet distances in {self.sides.space}.", *self.loot.notes, *self._astray()))
        return f"{taken}: {', '.join(told)}. {end}"

    def measures(self) -> tuple[Measure, ...]:
        k = self.sides.clusters
        found = [*self.fidelity.measures("fidelity", f"stolen against target, in {self.sides.space}", k)]
        several = (("accuracy", self.accuracy, "stolen"), ("target", self.target, "target"))
        for name, likeness, of in (*several, ("refined", self.refined, "refined answers")):
            if likeness is not None:
                found += likeness.measures(name, f"{of} against real samples, in {self.sides.space}", k)
        if self.accuracy is None:
            found.append(Measure(name="accuracy.frechet", value=None, note="needs real samples as a reference"))
        counts = {
            "queries": (self.loot.asked, "to learn from"),
            "queries.measuring": (self.measured, "of the target, for the numbers here; none of the undefended one"),
            "learned-from": (len(self.loot.x), "samples"),
        }
        told = [Measure(name=name, value=value, note=note) for name, (value, note) in counts.items()]
        return (*found, *told, *self.loot.told)

    def figures(self) -> tuple[Figure | Picture, ...]:
        return (*_looks(self.sides.raw, self.x), self._shares(), self._course())

    def _astray(self) -> tuple[str, ...]:
        """A warning where refinement led away from the real data, by the distance that does not depend on n."""
        if not (self.refined and self.target) or self.refined.kernel.low <= self.target.kernel.high:
            return ()
        far, near = self.refined.kernel.value, self.target.kernel.value
        return (
            f"What the critic kept is farther from real data than plain answers: kernel {far:.2g}, not {near:.2g}.",
        )

    def _shares(self) -> Figure:
        """The paper's Figures 9 and 10: the share of every cluster, those of the target in falling order."""
        shares = {"target": self.sides.shares(self.sides.target[0]), "stolen": self.sides.shares(self.rows)}
        if self.sides.real is not None:
            shares["real"] = self.sides.shares(self.sides.real[0])
        order = shares.get("real", shares["target"]).argsort(descending=True)
        series = {name: [[*range(len(order))], share[order].tolist()] for name, share in shares.items()}
        fitted = "real samples" if self.sides.real is not None else "the target's samples"
        return Figure(
            kind="curve",
            title="Share of the samples in each cluster",
            caption=f"k-means on {fitted}, in {self.sides.space}",
            data={"series": series, "x": "cluster", "y": "share", "log": False},
        )

    def _course(self) -> Figure:
        series = {name: [[*range(1, len(loss) + 1)], loss.tolist()] for name, loss in self.losses.items()}
        return Figure(
            kind="curve",
            title="Losses of the attacker's training",
            data={"series": series, "x": "step", "y": "", "log": False},
        )

    @property
    def queries(self) -> int:
        return self.loot.asked + self.measured


class Stealing(Technique):
    """The knobs of every theft."""

    attacker: Annotated[str, Field(min_length=1, max_length=1000)] = "adversarial"
    """The recipe that the attacker trains by, with its fields: adversarial:capacity=16,steps=4000, sngan, pggan ..."""
    prior: Prior = "declared"
    """What latents are drawn from: what the target says, normal or uniform where it is a guess, or the target's own
    samples, as a gallery gives them."""
    batch: Annotated[int, Field(ge=1, le=65_536)] = 256
    """Queries at once; the result does not depend on it."""
    samples: Annotated[int, Field(ge=FEWEST, le=1_000_000)] = 2000
    """Samples on either side of every distance."""
    clusters: Annotated[int, Field(ge=2, le=1000)] = 30
    """Whose shares are compared; 30 are the paper's."""

    def recipe(self, shape: tuple[int, ...]) -> Recipe:
        """What trains the attacker's network; raises BadInput where there is no such recipe."""
        found = shadows.recipe(self.attacker)
        wanted = shape[-1] if "size" in type(found).model_fields and "size" not in found.model_fields_set else None
        return found if wanted is None else found.model_copy(update={"size": wanted})

    def asking(self, target: Queries, beside: Beside, rng: Rng) -> Asking:
        """The target, as long as its budget leaves enough to measure by; raises BadInput where it never would."""
        left = target.left
        keep = 0 if beside.undefended is not None or left is None else min(2 * self.samples, left // 2)
        if left and keep and keep < 2 * FEWEST:
            what = "the budget does not reach for a theft and its measures"
            raise BadInput(what, expected=f"{4 * FEWEST} queries or more", got=str(left), hint="raise the budget")
        return Asking(target, self.prior, self.batch, rng.fork("queries"), keep)

    def stolen(self, target: Queries, loot: Loot, beside: Beside, rng: Rng, critic: nn.Module | None = None) -> Stolen:
        """Train on the loot, from `critic` where there is one, and measure what came of it."""
        if len(loot.x) < 2:
            raise BudgetSpent(loot.asked, loot.asked, partial=loot)
        recipe, begun = self.recipe(tuple(target.shape)), Start(beside.start, critic)
        here = loot.x if beside.undefended is None else loot.x.to(beside.undefended.device)
        with begun_from(begun):
            trained = recipe(recipe.gift()(Images(here, ("",) * len(here))), rng.fork("training"))
        assert isinstance(trained, TrainedGenerator)
        before = target.used
        against = sides(target, beside, self.samples, self.clusters, rng.fork("measuring"))
        x = trained.generator.sample(against.n, rng.fork("stolen"))
        rows = against.space_of(x)
        kept = loot.refined if loot.refined is not None and len(loot.refined) >= FEWEST else None
        return Stolen(
            stolen=trained.generator,
            critic=trained.critic,
            losses=dict(trained.losses),
            loot=loot,
            sides=against,
            measured=target.used - before,
            fidelity=against.fidelity(rows, rng.fork("fidelity")),
            accuracy=against.accuracy(rows, rng.fork("accuracy")),
            target=against.accuracy(against.target[0], rng.fork("target")),
            refined=None if kept is None else against.accuracy(against.space_of(kept), rng.fork("refined")),
            rows=rows,
            x=x,
        )


def _told(likeness: Likeness) -> str:
    return f"{likeness.frechet.value:.3g} (chance {likeness.null['frechet']:.3g})"


def _looks(target: Tensor, stolen: Tensor) -> tuple[Figure | Picture, ...]:
    """Samples of both: points in the plane as a scatter, all else as pictures or sounds."""
    if tuple(target.shape[1:]) == POINT:
        points = {name: x[: 50 * SHOWN].flatten(1).T.tolist() for name, x in (("target", target), ("stolen", stolen))}
        data: dict[str, Any] = {"series": points, "x": "", "y": "", "log": False}
        return (Figure(kind="scatter", title="Samples", data=data),)
    shown = {"The target's samples": target, "The stolen generator's samples": stolen}
    return tuple(Picture(title, torch.clamp(x[:SHOWN], -1, 1)) for title, x in shown.items())
