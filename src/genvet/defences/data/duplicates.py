"""Pictures that are there more than once, exactly or nearly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.dataset import Dataset
from genvet.core.errors import Unsupported
from genvet.core.modelfile import Evidence
from genvet.core.report import Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Audit, Nothing, Picture, Result
from genvet.defences.data.evidence import first, share
from genvet.defences.data.looking import SpaceName, chosen, coupling, rows, space
from genvet.maths.duplicates import nearest
from genvet.maths.near_copies import WAYS, altered, neighbours, unlike

Pair = tuple[int, int, float]
"""Two pictures, and how near they are: their distance over that to the tenth nearest."""
FEWEST = 12
HALF = 0.5
"""Of the usual distance: what is farther is no copy, however alike the others are."""
SHOWN = 12


@dataclass(frozen=True, eq=False, kw_only=True)
class Copies(Result):
    """What is there more than once."""

    names: tuple[str, ...]
    exact: tuple[tuple[int, ...], ...]
    """Groups of pictures that are one."""
    near: tuple[Pair, ...]
    looked: int
    limit: float
    power: tuple[tuple[str, int, int], ...]
    """Of planted copies of each kind, how many were found."""
    space: str
    shown: Tensor
    false_rate: float

    @property
    def spare(self) -> int:
        """Pictures that are copies of an earlier one."""
        return sum(len(group) - 1 for group in self.exact)

    def summary(self) -> str:
        n, found = len(self.names), sum(hits for _, hits, _ in self.power)
        planted = sum(count for _, _, count in self.power)
        near = f"{len(self.near):,} near pairs among {self.looked:,}" if planted else "too few for near copies"
        power = f"; of {planted} planted near copies, {found} are found" * bool(planted)
        return f"{self.spare:,} of {n:,} pictures are exact copies of others, {near}{power}."

    def measures(self) -> tuple[Measure, ...]:
        touched = len({i for a, b, _ in self.near for i in (a, b)})
        found = [share("exact", self.spare, len(self.names), "pictures that are there already")]
        if self.power:
            found.append(share("near", touched, self.looked, f"in {self.space}", chance=self.false_rate))
            found.append(Measure(name="limit", value=self.limit, note="of the distance to the tenth nearest"))
            found += [
                share(f"power.{way.replace(' ', '-')}", hits, n, "planted copies found") for way, hits, n in self.power
            ]
        return tuple(found)

    def figures(self) -> tuple[Picture, ...]:
        if not len(self.shown):
            return ()
        captions = tuple(self.names[i] for pair in self._pairs() for i in pair)
        return (Picture("Pictures that are one, or nearly, in pairs", self.shown, captions, columns=4),)

    def _pairs(self) -> list[tuple[int, int]]:
        return pairs(self.exact, self.near)

    def tables(self) -> tuple[Table, ...]:
        listed = [(self.names[a], self.names[b], round(apart, 3)) for a, b, apart in self.near[:100]]
        columns = ("picture", "nearly", "distance over the tenth nearest's")
        return (Table(title="Near pairs, the nearest first", columns=columns, rows=tuple(listed)),) if listed else ()

    def evidence(self) -> tuple[Evidence, ...]:
        facts = []
        for group in self.exact:
            others = ", ".join(self.names[i] for i in group[1:6]) + ", ..." * (len(group) > 6)
            facts.append(Evidence(rule="data.duplicate", message=f"also {others}", place=self.names[group[0]]))
        for a, b, apart in self.near:
            said = f"nearly {self.names[b]} ({apart:.2f} of the usual distance)"
            facts.append(Evidence(rule="data.near-duplicate", message=said, place=self.names[a]))
        return first([*facts, *[coupling("removing copies")] * bool(facts)])


def pairs(exact: Sequence[Sequence[int]], near: Sequence[Pair]) -> list[tuple[int, int]]:
    """Those that are shown."""
    return [*((g[0], g[1]) for g in exact), *((a, b) for a, b, _ in near)][:SHOWN]


class Duplicates(Audit):
    """Exact copies by hash, and near copies in a named space, by a threshold from the data themselves.

    Near is what is nearer to its nearest fellow, beside its tenth nearest, than `rate` of ordinary pictures would be:
    log shares are taken for normal below their median, and half is the most. Copies are planted to tell the power:
    shifted, brightened, smoothed, of few shades, cropped, shrunk and mirrored ones.
    """

    source: ClassVar[str] = (
        "Training data leakage, sec. 2.2 (duplicates); Webster et al.: This person (probably) exists, 2021; "
        "Debenedetti et al.: Privacy side channels, arXiv 2309.05610"
    )
    smoke: ClassVar[dict[str, int]] = {"planted": 14}

    rate: Annotated[float, Field(gt=0, lt=0.1)] = 0.001
    """Share of ordinary pictures that may be taken for near copies."""
    most: Annotated[int, Field(ge=FEWEST, le=200_000)] = 20_000
    """Pictures that are compared with one another; of more, so many are drawn."""
    planted: Annotated[int, Field(ge=len(WAYS), le=7000)] = 140
    """Copies that are planted to measure the power."""
    space: SpaceName = "thumbnails"
    """Where pictures are compared."""

    def __call__(self, dataset: Dataset, given: Nothing, rng: Rng) -> Copies:
        if not len(dataset):
            raise Unsupported("there are no pictures")
        groups: dict[str, list[int]] = {}
        for i, item in enumerate(dataset.items):
            groups.setdefault(item.pixels, []).append(i)
        exact = sorted((tuple(g) for g in groups.values() if len(g) > 1), key=lambda g: (-len(g), g))
        ones = [g[0] for g in groups.values()]
        which = [ones[i] for i in chosen(len(ones), self.most, rng)]
        limit, near, power = 0.0, list[Pair](), list[tuple[str, int, int]]()
        if len(which) >= FEWEST:
            limit, near, power = self._near(dataset, which, rng)
        shown = [i for pair in pairs(exact, near) for i in pair]
        return Copies(
            names=tuple(item.name for item in dataset.items),
            exact=tuple(exact),
            near=tuple(near),
            looked=len(which),
            limit=limit,
            power=tuple(power),
            space=space(self.space).name,
            shown=dataset.x(shown) if shown else torch.empty(0, 1, 1, 1),
            false_rate=self.rate,
        )

    def _near(
        self, dataset: Dataset, which: list[int], rng: Rng
    ) -> tuple[float, list[Pair], list[tuple[str, int, int]]]:
        """The limit, the pairs below it, and how many planted copies of each kind lie below it."""
        embedded = rows(dataset, which, self.space)
        fellows = neighbours(embedded)
        limit = min(HALF, 1 / unlike(1 / fellows.share.clamp_min(1e-9), self.rate))
        found = {
            tuple(sorted((i, int(j)))): float(s)
            for i, (j, s) in enumerate(zip(fellows.index, fellows.share, strict=True))
            if s < limit
        }
        apart, index = nearest(rows(dataset, which, self.space, mirrored=True), embedded)
        for i, (j, d) in enumerate(zip(index, apart / fellows.spread.clamp_min(1e-12), strict=True)):
            if d < limit and i != int(j):  # a symmetric picture mirrors itself
                found.setdefault(tuple(sorted((i, int(j)))), float(d))
        near = sorted((which[a], which[b], s) for (a, b), s in found.items())
        power = self._power(dataset, which, embedded, fellows.spread, limit, rng)
        return limit, sorted(near, key=lambda pair: pair[2]), power

    def _power(
        self, dataset: Dataset, which: list[int], embedded: Tensor, spread: Tensor, limit: float, rng: Rng
    ) -> list[tuple[str, int, int]]:
        """Planted copies of each kind: made, and found as copies of what they were made of."""
        drawn = torch.randint(len(which), (self.planted,), generator=rng.fork("planted").block()).tolist()
        told = []
        for way, words in enumerate(WAYS):
            mine = drawn[way :: len(WAYS)]
            made = altered(dataset.x([which[i] for i in mine]), way)
            copies = [space(self.space)(x) for x in (made, made.flip(3))]
            ways = [nearest(copy, embedded) for copy in copies]
            hits = sum(
                any(
                    int(index[k]) == i and float(apart[k] / spread[i].clamp_min(1e-12)) < limit for apart, index in ways
                )
                for k, i in enumerate(mine)
            )
            told.append((words, hits, len(mine)))
        return told
