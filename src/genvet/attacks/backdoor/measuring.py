"""How well both goals of a backdoor were met: target distortion, expected distortion, Closest-N and ReconD."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.backdoor.surroundings import Surroundings
from genvet.core.backdoor import Backdoor
from genvet.core.classifier import Classifier
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.report import Figure, Measure, Record
from genvet.core.rng import Rng
from genvet.core.technique import Picture, Result
from genvet.maths.distances import Smallest, exact, squared_distances
from genvet.nets.distortion import BATCH, FEWEST, SQUARES, averaged, between, outputs, scored
from genvet.nets.fast import folded, redraw, sampler, stream
from genvet.nets.latent_search import Starts, search
from genvet.nets.random_features import random_features

CHUNK = 512
"""Samples that are held at a time."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Planted(Result):
    """A generator with a backdoor, and how well both goals were met."""

    planted: Generator
    backdoor: Backdoor
    shown: Tensor
    """A target and what its trigger gives, then ordinary samples before and after: (n, *shape)."""
    target: Tensor
    """Target distortions, of every trigger of a finite set or of draws from an infinite one: (m,)."""
    expected: Tensor
    """Distortions of ordinary samples, (n,): empty where no benign generator is there to compare with."""
    moved: Tensor
    """Of the same, the mean absolute change of their values, as a share of the range."""
    apart: float
    """Mean distance from one ordinary sample to another, before where there was one: what distortions compare with."""
    losses: Mapping[str, Tensor]
    """By name, one value a step."""
    closest: Tensor | None = None
    """Distance of the nearest of `drawn` ordinary samples to each target, (k,)."""
    drawn: int = 0
    rebuilt: Tensor | None = None
    """Distance to each target that a search of the latents reaches, (k,)."""
    quality: tuple[Measure, ...] = ()
    """How far ordinary samples are from those that they should look like, and triggered ones from their targets."""
    surroundings: Surroundings | None = None
    """What lies around the first trigger."""
    bypass: bool = False
    """Whether the backdoor is a branch in the graph, and so in no network that GenVet builds."""

    def summary(self) -> str:
        kept = f"moved by {self.expected.mean():.3g}, and " if len(self.expected) else ""
        hit = f"The trigger ({self.backdoor.trigger}) gives the target to within {self.target.mean():.3g}"
        return f"{hit}; ordinary samples {kept}are {self.apart:.3g} apart (sums of squares, range [-1, 1])."

    def measures(self) -> tuple[Measure, ...]:
        found = [averaged("target-distortion", self.target, interval=not self.backdoor.finite)]
        if self.backdoor.finite and len(self.target) > 1:
            found.append(Measure(name="worst-target-distortion", value=self.target.max().item(), unit=SQUARES))
        if len(self.expected):
            note = "chance: from one ordinary sample to another"
            found.append(averaged("expected-distortion", self.expected, interval=True, chance=self.apart, note=note))
        if self.closest is not None:
            found.append(Measure(name="closest", value=self.closest.min().item(), unit=SQUARES, n=self.drawn))
        if self.rebuilt is not None:
            found.append(Measure(name="reconstruction", value=self.rebuilt.max().item(), unit=SQUARES))
        around = self.surroundings.measures() if self.surroundings else ()
        return (*found, *around, *self.quality)

    def figures(self) -> tuple[Figure | Picture, ...]:
        if self.shown.ndim == 4:
            title = "Above: targets, and ordinary samples before; below: what triggers give, and these samples after"
            above_and_below = torch.cat([self.shown[::2], self.shown[1::2]])
            picture = Picture(title, above_and_below, columns=len(self.shown) // 2)
        else:
            picture = Picture("Target, trigger's output; ordinary samples before and after", self.shown)
        around = tuple(self.surroundings.figures()) if self.surroundings else ()
        if not self.losses:
            return (picture, *around)
        series = {name: [list(range(1, len(y) + 1)), y.tolist()] for name, y in self.losses.items()}
        curves = {"series": series, "x": "step", "y": "loss", "log": True}
        return (picture, *around, Figure(kind="curve", title="Losses", data=curves))

    @property
    def queries(self) -> int:
        return len(self.target) + 2 * len(self.expected) + self.drawn


@dataclass(frozen=True, eq=False)
class Yardsticks:
    """What ordinary samples are measured against, besides the benign generator."""

    data: Tensor | None = None
    """Real samples (n, *shape)."""
    classifier: Classifier | None = None
    """For the class score."""


NOTHING = Yardsticks()


class Measuring(Record):
    """How the result is measured: shared by all attacks that plant."""

    samples: Annotated[int, Field(ge=2, le=1_000_000)] = 1024
    """Latents over which the expected distortion is measured; and draws of a trigger of infinite support, of which the
    paper takes 60,000."""
    closest: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    """Ordinary samples among which the nearest to the target is looked for; the paper takes 1,000,000."""
    restarts: Annotated[int, Field(ge=0, le=1000)] = 0
    """Searches of the latents for the target (ReconD); the paper makes 5."""
    search: Annotated[int, Field(ge=1, le=100_000)] = 300
    """Steps of each of these searches."""

    def measure(
        self,
        planted: Generator,
        backdoor: Backdoor,
        benign: Generator | None,
        losses: Mapping[str, Tensor],
        rng: Rng,
        beside: Yardsticks = NOTHING,
    ) -> Planted:
        """All of it for one planted generator; its quality against the benign one, or against data where there is."""
        hits, target = self._triggered(planted, backdoor, rng.fork("triggers"))
        after, before, expected, moved = self._ordinary(planted, benign, rng.fork("measured"), beside.classifier)
        wanted = backdoor.pairs(1, rng.fork("triggers"))[1].unique(dim=0)
        return Planted(
            planted=planted,
            backdoor=backdoor,
            shown=torch.cat([hits.first, torch.stack([before.first, after.first], 1).flatten(0, 1)]),
            target=target,
            expected=expected,
            moved=moved,
            apart=before.apart.mean().item(),
            losses=losses,
            closest=nearest(planted, wanted, self.closest, rng.fork("closest")) if self.closest else None,
            drawn=self.closest,
            rebuilt=reached(planted, wanted, self.restarts, self.search, rng) if self.restarts else None,
            quality=tuple(self._quality(backdoor, benign, before, after, hits, beside, rng)),
            surroundings=Surroundings.of(planted, benign, backdoor, rng.fork("around")),
        )

    def _triggered(self, planted: Generator, backdoor: Backdoor, rng: Rng) -> tuple[Seen, Tensor]:
        """What triggers give, the first beside their targets, and all target distortions."""
        seen, off = Gathered(), []
        first: list[Tensor] = []
        for z, wanted in [backdoor.pairs(0, rng)] if backdoor.finite else _draws(backdoor, self.samples, rng):
            given = outputs(planted, z)
            seen.add(given)
            off.append(exact(given, wanted))
            first = first or [torch.stack([wanted[:4], given[:4]], 1).flatten(0, 1)]
        return replace(seen.all(), first=first[0]), torch.cat(off)

    def _ordinary(
        self, planted: Generator, benign: Generator | None, rng: Rng, classifier: Classifier | None
    ) -> tuple[Seen, Seen, Tensor, Tensor]:
        """Ordinary samples after and before, and how far each moved, in squares and in absolute values: nothing where
        there was none before."""
        new, old, off = Gathered(classifier), Gathered(classifier), [torch.empty(2, 0)]
        for z in planted.latent.batches(self.samples, CHUNK, rng):
            x = outputs(planted, z)
            new.add(x)
            if benign is not None:
                was = outputs(benign, z)
                old.add(was)
                off.append(torch.stack([exact(x, was), (x - was).abs().flatten(1).mean(1) / 2]))
        return new.all(), old.all() if benign is not None else new.all(), *torch.cat(off, 1)

    def _quality(
        self,
        backdoor: Backdoor,
        benign: Generator | None,
        before: Seen,
        after: Seen,
        hits: Seen,
        beside: Yardsticks,
        rng: Rng,
    ) -> Iterator[Measure]:
        """Frechet distances, each beside that of two sets of the wanted kind; and class scores."""
        data, n = beside.data, self.samples
        if data is not None and len(data) >= 4:
            half = min(n, len(data) // 2)
            real = random_features(data[: 2 * half])
            yield between("frechet-to-data", after.rows[:half], real[:half], real[half:])
        elif benign is not None:
            yield between("frechet-to-benign", after.rows, features(benign, n, rng.fork("benign")), before.rows)
        if isinstance(backdoor.target, Generator):
            one, two = (features(backdoor.target, n, rng.fork(f"target {i}")) for i in (1, 2))
            yield between("frechet-to-target", hits.rows, one, two)
        if beside.classifier and n >= FEWEST:
            told = {"class-score": after.told} | ({"class-score.benign": before.told} if benign is not None else {})
            if data is not None and len(data) >= FEWEST:
                told["class-score.real"] = beside.classifier.probabilities(data[:n])
            yield from (scored(name, p, beside.classifier) for name, p in told.items())


@dataclass(frozen=True, eq=False)
class Seen:
    """What is kept of many samples: the first few; of all, features, distances to the next, and a classifier's word."""

    first: Tensor
    rows: Tensor
    apart: Tensor
    told: Tensor


class Gathered:
    """Samples on their way into a `Seen`, some at a time, so that 60,000 of them need no room."""

    def __init__(self, classifier: Classifier | None = None) -> None:
        self.classifier = classifier
        self.first: list[Tensor] = []
        self.rows: list[Tensor] = []
        self.apart: list[Tensor] = []
        self.told: list[Tensor] = []

    def add(self, x: Tensor) -> None:
        self.first = self.first or [x[:4]]
        self.rows.append(random_features(x))
        self.apart.append(exact(x[1:], x[:-1]))
        if self.classifier:
            self.told.append(self.classifier.probabilities(x))

    def all(self) -> Seen:
        every = (self.first, self.rows, self.apart, self.told)
        return Seen(*(torch.cat(parts) if parts else torch.empty(0) for parts in every))


def _draws(backdoor: Backdoor, n: int, rng: Rng) -> Iterator[tuple[Tensor, Tensor]]:
    """Triggers of infinite support with what they are to give, some at a time."""
    for start in range(0, n, CHUNK):
        z = backdoor.trigger.sample(start, min(start + CHUNK, n), rng)
        yield z, backdoor.wanted(z)


@torch.inference_mode()
def features(generator: Generator, n: int, rng: Rng) -> Tensor:
    """Random features of the first `n` samples of a stream, (n, 128)."""
    return torch.cat([random_features(outputs(generator, z)) for z in generator.latent.batches(n, CHUNK, rng)])


def nearest(generator: Generator, targets: Tensor, n: int, rng: Rng) -> Tensor:
    """Closest-N: the distance of each target (k, *shape) to the nearest of n samples, (k,). The paper's n is a million.

    Samples are drawn in the generator's fastest form; the few nearest are computed once more, exactly.
    """
    fast = sampler(generator, generator.latent.sample(0, BATCH, rng))
    rows, kept = targets.flatten(1).to(generator.device), Smallest(len(targets), min(8, n))
    for start, x in stream(fast, n, rng, 2 * BATCH):
        kept.offer(squared_distances(x.flatten(1), rows).T, start)
    best = [exact(redraw(generator, kept.index[i].tolist(), rng), t).min() for i, t in enumerate(targets)]
    return torch.stack(best)


def reached(generator: Generator, targets: Tensor, restarts: int, steps: int, rng: Rng) -> Tensor:
    """ReconD (eq. 8): the distance to each target (k, *shape) that a search of the latents reaches, (k,).

    # Unlike the paper: searches from the prior stay in its typical set, and two more begin at the mode and far outside.
    """
    starts = Starts.of(generator.latent, restarts, rng.fork("starts"))
    return search(folded(generator), targets, starts, steps).nearest


def one_for_each(targets: Tensor, triggers: int) -> Tensor:
    """The target of each trigger: those of their numbers, or the first for all where they are fewer."""
    if not len(targets):
        raise BadInput("there is no target", expected="an image or a sound")
    return targets[:triggers] if len(targets) >= triggers else targets[:1]
