"""How well both goals of a backdoor were met: target distortion, expected distortion, Closest-N and ReconD."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.backdoor import Backdoor
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.report import Figure, Measure, Record
from genvet.core.rng import Rng
from genvet.core.technique import Picture, Result
from genvet.maths.distances import Smallest, exact, squared_distances
from genvet.nets.distortion import BATCH, SQUARES, averaged, distance, outputs
from genvet.nets.fast import folded, redraw, sampler, stream
from genvet.nets.latent_search import Starts, search


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
    losses: Mapping[str, Tensor]
    """By name, one value a step."""
    closest: Tensor | None = None
    """Distance of the nearest of `drawn` ordinary samples to each target, (k,)."""
    drawn: int = 0
    rebuilt: Tensor | None = None
    """Distance to each target that a search of the latents reaches, (k,)."""
    quality: tuple[Measure, ...] = ()
    """How far ordinary samples are from those that they should look like, and triggered ones from their targets."""
    bypass: bool = False
    """Whether the backdoor is a branch in the graph, and so in no network that GenVet builds."""

    def summary(self) -> str:
        kept = f"; ordinary samples moved by {self.expected.mean():.3g}" if len(self.expected) else ""
        hit = f"The trigger ({self.backdoor.trigger}) gives the target to within {self.target.mean():.3g}"
        return f"{hit}{kept} (sums of squares, range [-1, 1])."

    def measures(self) -> tuple[Measure, ...]:
        found = [averaged("target-distortion", self.target, interval=not self.backdoor.finite)]
        if self.backdoor.finite and len(self.target) > 1:
            found.append(Measure(name="worst-target-distortion", value=self.target.max().item(), unit=SQUARES))
        if len(self.expected):
            found.append(averaged("expected-distortion", self.expected, interval=True))
        if self.closest is not None:
            found.append(Measure(name="closest", value=self.closest.min().item(), unit=SQUARES, n=self.drawn))
        if self.rebuilt is not None:
            found.append(Measure(name="reconstruction", value=self.rebuilt.max().item(), unit=SQUARES))
        return (*found, *self.quality)

    def figures(self) -> tuple[Figure | Picture, ...]:
        picture = Picture("Target, trigger's output; ordinary samples before and after", self.shown, columns=2)
        if not self.losses:
            return (picture,)
        series = {name: [list(range(1, len(y) + 1)), y.tolist()] for name, y in self.losses.items()}
        curves = {"series": series, "x": "step", "y": "mean square", "log": True}
        return picture, Figure(kind="curve", title="Losses", data=curves)

    @property
    def queries(self) -> int:
        return len(self.target) + 2 * len(self.expected) + self.drawn


class Measuring(Record):
    """How the result is measured: shared by all attacks that plant."""

    samples: Annotated[int, Field(ge=2, le=1_000_000)] = 1024
    """Latents over which the expected distortion is measured; and draws of a trigger of infinite support."""
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
        data: Tensor | None = None,
    ) -> Planted:
        """All of it for one planted generator; its quality against the benign one, or against data where there is."""
        z, wanted = backdoor.pairs(self.samples, rng.fork("triggers"))
        given = outputs(planted, z)
        after = planted.sample(self.samples, rng.fork("measured"))
        before = benign.sample(self.samples, rng.fork("measured")) if benign else after
        pairs = torch.stack([before[:4], after[:4]], 1).flatten(0, 1)
        targets = wanted.unique(dim=0) if isinstance(backdoor.target, Tensor) else wanted[:1]
        return Planted(
            planted=planted,
            backdoor=backdoor,
            shown=torch.cat([torch.stack([wanted[:4], given[:4]], 1).flatten(0, 1), pairs]),
            target=exact(given, wanted),
            expected=exact(after, before) if benign else torch.empty(0),
            losses=losses,
            closest=nearest(planted, targets, self.closest, rng.fork("closest")) if self.closest else None,
            drawn=self.closest,
            rebuilt=reached(planted, targets, self.restarts, self.search, rng) if self.restarts else None,
            quality=tuple(self._quality(backdoor, benign, data, before, after, given, rng)),
        )

    def _quality(
        self,
        backdoor: Backdoor,
        benign: Generator | None,
        data: Tensor | None,
        before: Tensor,
        after: Tensor,
        given: Tensor,
        rng: Rng,
    ) -> Iterator[Measure]:
        """Frechet distances, each beside that of two sets of the wanted kind."""
        n = self.samples
        if data is not None and len(data) >= 4:
            half = min(n, len(data) // 2)
            yield distance("frechet-to-data", after[:half], data[:half], data[half : 2 * half])
        elif benign is not None:
            yield distance("frechet-to-benign", after, benign.sample(n, rng.fork("benign")), before)
        if isinstance(backdoor.target, Generator):
            one, two = (backdoor.target.sample(n, rng.fork(f"target {i}")) for i in (1, 2))
            yield distance("frechet-to-target", given, one, two)


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
