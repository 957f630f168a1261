"""Pictures unlike all others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.dataset import Dataset
from genvet.core.errors import Unsupported
from genvet.core.modelfile import Evidence
from genvet.core.report import Measure
from genvet.core.rng import Rng
from genvet.core.technique import Audit, Nothing, Picture, Result
from genvet.defences.data.evidence import first, share
from genvet.defences.data.looking import SpaceName, chosen, coupling, rows, space
from genvet.maths.near_copies import neighbours, unlike, whitened

FEWEST, SHOWN = 30, 24


@dataclass(frozen=True, eq=False, kw_only=True)
class Apart(Result):
    """How far each picture is from its fellows."""

    names: tuple[str, ...]
    """Of those that were looked at, the farthest first."""
    distance: Tensor
    """The same order."""
    limit: float
    rate: float
    space: str
    power: tuple[tuple[str, int, int], ...]
    shown: Tensor
    k: int

    @property
    def above(self) -> int:
        return int((self.distance > self.limit).sum())

    def summary(self) -> str:
        n = len(self.names)
        power = "; ".join(f"{hits} of {count} {words}" for words, hits, count in self.power)
        return (
            f"{self.above:,} of {n:,} pictures are unlike all others, where {n * self.rate:.1f} would be by chance "
            f"(in {self.space}). Of what was planted, it finds {power}."
        )

    def measures(self) -> tuple[Measure, ...]:
        found = [share("outliers", self.above, len(self.names), f"in {self.space}", chance=self.rate)]
        found.append(Measure(name="limit", value=self.limit, note=f"distance to the {self.k}th nearest"))
        return (
            *found,
            *(
                share(f"power.{words.replace(' ', '-')}", hits, n, "planted ones found")
                for words, hits, n in self.power
            ),
        )

    def figures(self) -> tuple[Picture, ...]:
        said = "The farthest first; whether they are above the limit stands below each."
        captions = tuple(
            f"{d / self.limit:.2f} {name}"
            for name, d in zip(self.names, self.distance[: len(self.shown)].tolist(), strict=False)
        )
        return (Picture("The pictures farthest from all others", self.shown, captions, said),)

    def evidence(self) -> tuple[Evidence, ...]:
        facts = [
            Evidence(rule="data.outlier", message=f"{d / self.limit:.2f} of the limit away", place=name)
            for name, d in zip(self.names[: self.above], self.distance.tolist(), strict=False)
        ]
        return first([*facts, *[coupling("removing outliers")] * bool(facts)])


class Outliers(Audit):
    """Pictures whose fellows are farther away, in a named space, than chance would have it.

    The space is whitened by the data themselves, so that what is unusual for all of them stands out. The limit is the
    data's own: log distances are taken for normal above their median, and `rate` of ordinary pictures would lie beyond.
    Clusters of many outliers that resemble one another are not seen.
    """

    source: ClassVar[str] = (
        "Training data leakage, sec. 2.2 (outliers); Ramaswamy et al.: Mining outliers by the k-th nearest neighbour, "
        "SIGMOD 2000; Debenedetti et al.: Privacy side channels, arXiv 2309.05610"
    )

    rate: Annotated[float, Field(gt=0, lt=0.1)] = 0.001
    """Share of ordinary pictures that may be taken for outliers."""
    neighbour: Annotated[int, Field(ge=1, le=100)] = 5
    """Which of the nearest fellows counts."""
    most: Annotated[int, Field(ge=FEWEST, le=200_000)] = 20_000
    """Pictures that are compared with one another; of more, so many are drawn."""
    planted: Annotated[int, Field(ge=1, le=1000)] = 20
    """Pictures of each kind that are planted to measure the power: noise, negatives, shuffled pieces."""
    space: SpaceName = "random-conv-1"
    """Where pictures are compared."""

    def __call__(self, dataset: Dataset, given: Nothing, rng: Rng) -> Apart:
        if len(dataset) < FEWEST:
            raise Unsupported(f"fewer than {FEWEST} pictures tell nothing of what is ordinary")
        which = chosen(len(dataset), self.most, rng)
        raw = rows(dataset, which, self.space)
        white = whitened(raw)
        embedded = white(raw)
        distance = neighbours(embedded, self.neighbour).spread
        limit = unlike(distance, self.rate)
        order = distance.argsort(descending=True, stable=True)
        far = [which[i] for i in order.tolist()]
        return Apart(
            names=tuple(dataset.items[i].name for i in far),
            distance=distance[order],
            limit=limit,
            rate=self.rate,
            space=f"{space(self.space).name}, whitened by these data",
            power=self._power(dataset, which, lambda x: torch.cdist(white(space(self.space)(x)), embedded), limit, rng),
            shown=dataset.x(far[:SHOWN]),
            k=self.neighbour,
        )

    def _power(
        self, dataset: Dataset, which: list[int], apart: Callable[[Tensor], Tensor], limit: float, rng: Rng
    ) -> tuple[tuple[str, int, int], ...]:
        """How many of what is planted lie beyond the limit, each planted alone."""
        drawn = torch.randint(len(which), (self.planted,), generator=rng.fork("planted").block()).tolist()
        x = dataset.x([which[i] for i in drawn])
        noise = torch.rand(x.shape, generator=rng.fork("noise").block()) * 2 - 1
        pieces = x.unfold(2, 16, 16).unfold(3, 16, 16).flatten(2, 3)
        order = torch.randperm(pieces.shape[2], generator=rng.fork("pieces").block())
        side = x.shape[2] // 16
        shuffled = pieces[:, :, order].unflatten(2, (side, side)).permute(0, 1, 2, 4, 3, 5).reshape(x.shape)
        told = []
        for words, made in (("noise", noise), ("negatives", -x), ("shuffled pieces", shuffled)):
            near = apart(made)
            far = near.topk(min(self.neighbour, near.shape[1]), largest=False).values[:, -1]
            told.append((words, int((far > limit).sum()), len(made)))
        return tuple(told)
