"""What a reconstruction comes to: whether its images are nearer to training records than to as many held-out ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.attacks.membership.records import Cohort
from genvet.core.printable import printable
from genvet.core.report import Figure, Measure, Scalar, Table
from genvet.core.rng import Rng
from genvet.core.technique import Picture, Result
from genvet.maths.membership import auc, auc_interval
from genvet.maths.statistics import Interval, above_chance, clopper_pearson
from genvet.nets.spaces import Space, pixels, random_convolutions

SHOWN, LISTED = 12, 20
LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class Nearer:
    """Images, each held against the nearest training and the nearest held-out record, in one space."""

    member: Tensor
    """Distance to the nearest training record, (n,)."""
    other: Tensor
    """To the nearest of as many held-out ones, (n,)."""
    which: Tensor
    """That training record, (n,): its place among those compared."""

    @property
    def hits(self) -> int:
        return int((self.member < self.other).sum())

    @property
    def share(self) -> float:
        return self.hits / len(self.member)

    @property
    def ratio(self) -> Tensor:
        """Of the two distances, as a logarithm: below 0 where a training record is nearer."""
        return (self.member.clamp_min(1e-9) / self.other.clamp_min(1e-9)).log()


@dataclass(frozen=True, eq=False, kw_only=True)
class Reconstructed(Result):
    """The images that were found, and what they are nearer to, beside samples and the images that guided the search."""

    method: str
    cohort: Cohort
    x: Tensor
    """(n, *shape)."""
    names: tuple[str, ...]
    found: dict[str, Nearer]
    """Of the reconstructions, by space."""
    ordinary: dict[str, Nearer]
    """Of the generator's own samples."""
    guiding: dict[str, Nearer]
    """Of the images that guided it; empty where none did."""
    compared: Tensor
    """The places of the training records, (m,): as many as there are held-out ones."""
    asked: int

    def summary(self) -> str:
        name, first = next(iter(self.found.items()))
        usual, n = self.ordinary[name].share, len(self.x)
        p = above_chance(first.hits, n, min(max(0.5, usual), 1.0))
        told = f"{first.share:.0%} of {n} images by {self.method} are nearer to training records than to held-out ones"
        told += f", as are {usual:.0%} of ordinary samples (chance 50%, p {p:.2g})"
        gained = self._gained(name)
        if p > LEVEL:
            return f"{told}: no training record is reconstructed."
        if gained is None:
            return f"{told}: training records are reconstructed."
        word = "they are reconstructed" if gained[1].low > 0.5 else "the guiding images were as near already"
        return f"{told}; {gained[0]:.0%} are nearer to one than their guiding images are: {word}."

    def _gained(self, name: str) -> tuple[float, Interval] | None:
        """The share of reconstructions that are nearer to a training record than the images that guided them."""
        if name not in self.guiding:
            return None
        hits, n = int((self.found[name].member < self.guiding[name].member).sum()), len(self.x)
        return hits / n, clopper_pearson(hits, n)

    def measures(self) -> tuple[Measure, ...]:
        return tuple(measure for name in self.found for measure in self._of(name, name.split(" ")[0]))

    def _of(self, name: str, key: str) -> list[Measure]:
        near, usual, n = self.found[name], self.ordinary[name], len(self.x)
        value, ends = beside(near, usual)
        rows: list[tuple[str, float, Interval | None, int, str]] = [
            (
                "nearer",
                near.share,
                clopper_pearson(near.hits, n),
                n,
                "nearer to a training record than to held-out ones",
            ),
            ("nearer.ordinary", usual.share, None, len(usual.member), "the same of the generator's own samples"),
            ("auc", value, ends, n, "how often one is relatively nearer to a training record than a sample is"),
        ]
        gained = self._gained(name)
        if gained:
            rows.append(("nearer.guiding", self.guiding[name].share, None, n, "the same of the images that guided it"))
            rows.append(("gained", *gained, n, "nearer to a training record than the guiding image is"))
        low_high = [(None, None) if ends is None else ends for _, _, ends, _, _ in rows]
        return [
            Measure(name=f"{key}.{what}", value=v, low=low, high=high, chance=0.5, n=count, note=note)
            for (what, v, _, count, note), (low, high) in zip(rows, low_high, strict=True)
        ]

    def tables(self) -> tuple[Table, ...]:
        first = next(iter(self.found.values()))
        rows: list[tuple[Scalar, ...]] = []
        for i in first.ratio.argsort(stable=True)[:LISTED].tolist():
            member = self.cohort.names[int(self.compared[int(first.which[i])])]
            distances = (round(float(first.member[i]), 4), round(float(first.other[i]), 4))
            rows.append((printable(self.names[i], 60), printable(member, 60), *distances))
        columns = ("image", "nearest training record", "distance", "to the nearest held-out one")
        return (
            Table(title="Images that are relatively nearest to a training record", columns=columns, rows=tuple(rows)),
        )

    def figures(self) -> tuple[Figure | Picture, ...]:
        first = next(iter(self.found.values()))
        top = first.ratio.argsort(stable=True)[:SHOWN]
        members = self.cohort.x[self.compared[first.which[top]]]
        names = [printable(self.names[i], 20) for i in top.tolist()]
        captions = tuple(f"{row}: {name}" for row in ("image", "nearest training record") for name in names)
        x = torch.cat([self.x[top].clamp(-1, 1), members])
        return (Picture("What was found, and the nearest training records", x, captions, "", len(top)),)

    def tensors(self) -> dict[str, Tensor]:
        return {"x": self.x}

    @property
    def queries(self) -> int:
        return self.asked


def beside(found: Nearer, usual: Nearer) -> tuple[float, Interval]:
    """The area by which reconstructions are relatively nearer to training records than samples are."""
    value = auc(-found.ratio, -usual.ratio)
    return value, auc_interval(value, len(found.ratio), len(usual.ratio))


def reconstructed(
    method: str,
    cohort: Cohort,
    x: Tensor,
    names: tuple[str, ...],
    ordinary: Tensor,
    rng: Rng,
    *,
    asked: int,
    guiding: Tensor | None = None,
) -> Reconstructed:
    """Hold images x (n, *shape) against as many training as held-out records, in pixels and random convolutions."""
    n = min(cohort.members, cohort.non_members)
    members = torch.randperm(cohort.members, generator=rng.fork("members").block())[:n].sort().values
    others = torch.randperm(cohort.non_members, generator=rng.fork("others").block())[:n] + cohort.members
    spaces = {space.name: space for space in (pixels(), random_convolutions())}

    def near(images: Tensor | None) -> dict[str, Nearer]:
        if images is None:
            return {}
        return {name: _nearer(space, images, cohort.x[members], cohort.x[others]) for name, space in spaces.items()}

    return Reconstructed(
        method=method,
        cohort=cohort,
        x=x.cpu(),
        names=names,
        found=near(x),
        ordinary=near(ordinary),
        guiding=near(guiding),
        compared=members,
        asked=asked,
    )


def _nearer(space: Space, images: Tensor, members: Tensor, others: Tensor) -> Nearer:
    rows = space(images).double()
    own = torch.cdist(rows, space(members).double()).min(1)
    return Nearer(own.values, torch.cdist(rows, space(others).double()).amin(1), own.indices)
