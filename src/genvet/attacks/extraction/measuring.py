"""How near a stolen generator is to its target, and to the real data: distances, spread over clusters, and floors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.queries import Queries
from genvet.core.report import Measure
from genvet.core.rng import Rng
from genvet.maths.clusters import k_means
from genvet.maths.divergence import assigned, estimated, floor, jensen_shannon
from genvet.maths.quality import STATISTICS, Estimate, estimate
from genvet.nets.spaces import Space, penultimate, pixels, random_convolutions

DISTANCES = ("frechet", "kernel")
FEWEST = 20
"""Samples on either side: the jackknife leaves a tenth of them out."""
SMALL = 8
"""Pixels a side below which images are compared by their values: convolutions see nothing there."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Beside:
    """What a stolen generator is measured with, and what it may begin with."""

    reference: Images | None = None
    """Real samples like those that the target learned from: for accuracy, and for the clusters."""
    undefended: Generator | None = None
    """The target without its guards, for measuring alone: asked in its place, and not charged. The attacker's network
    trains where it is."""
    classifier: Classifier | None = None
    """Its last hidden layer is the space of all distances, in place of fixed random convolutions."""
    start: Generator | None = None
    """A generator that the attacker's training goes on from."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Likeness:
    """One set of samples held against another of the same size, each number beside what two of one source come to."""

    n: int
    frechet: Estimate
    kernel: Estimate
    js: Estimate
    """Of the shares in clusters, in nats."""
    null: dict[str, float]
    """The same of two samples of one source, which are all that chance gives."""

    def measures(self, name: str, of: str, clusters: int) -> tuple[Measure, ...]:
        """`of` says what was held against what."""
        expected = floor(clusters, self.n, self.n)
        notes = {
            "js": f"{of}; nats, over {clusters} clusters; {expected:.2g} expected of one distribution by the formula",
        }
        return tuple(
            Measure(
                name=f"{name}.{kind}",
                value=found.value,
                low=found.low,
                high=found.high,
                chance=self.null[kind],
                n=self.n,
                unit="nats" if kind == "js" else "",
                note=notes.get(kind, of),
            )
            for kind, found in (("frechet", self.frechet), ("kernel", self.kernel), ("js", self.js))
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Sides:
    """Features of everything that is compared: two samples each of the target and of real data, one of the thief."""

    space: str
    centres: Tensor
    target: tuple[Tensor, Tensor]
    real: tuple[Tensor, Tensor] | None
    raw: Tensor
    """Samples of the target as they came."""
    space_of: Space

    @property
    def n(self) -> int:
        return len(self.target[0])

    @property
    def clusters(self) -> int:
        return len(self.centres)

    def fidelity(self, stolen: Tensor, rng: Rng) -> Likeness:
        """Features of the stolen generator's samples against the target's."""
        return like(self.target, stolen, self.centres, rng)

    def accuracy(self, made: Tensor, rng: Rng) -> Likeness | None:
        """Features of samples against real ones; None where there are none."""
        return None if self.real is None else like(self.real, made[: len(self.real[0])], self.centres, rng)

    def shares(self, rows: Tensor) -> Tensor:
        """Of the clusters among these rows, (k,)."""
        counts = assigned(rows, self.centres).double()
        return counts / counts.sum()


def sides(target: Queries, beside: Beside, samples: int, clusters: int, rng: Rng) -> Sides:
    """The target's samples and the real ones, as features; the clusters are fitted on the real ones where there are."""
    space = space_of(tuple(target.shape), beside.classifier)
    source = beside.undefended or target
    if tuple(source.shape) != tuple(target.shape):
        raise BadInput("the undefended target is another", expected=str(target.shape), got=str(source.shape))
    left = getattr(source, "left", None)
    n = samples if left is None else min(samples, left // 2)
    reference = None if beside.reference is None else beside.reference.fitting(tuple(target.shape))
    for what, have in (("samples of the target", n), ("real samples", n if reference is None else len(reference) // 2)):
        if have < FEWEST:
            hint = "raise the budget, give more, or ask for less"
            raise BadInput(f"too few {what} to measure with", expected=f"{2 * FEWEST}", got=str(2 * have), hint=hint)
    raw = source.sample(2 * n, rng.fork("target")).float()
    one, other = space(raw).chunk(2)
    real: tuple[Tensor, Tensor] | None = None
    if reference is not None:
        order = torch.randperm(len(reference), generator=rng.fork("halves").block())
        m = min(n, len(reference) // 2)
        first, second = space(reference[order[: 2 * m]].cpu()).chunk(2)
        real = first, second
    fitted = torch.cat(real or (one, other))
    centres = k_means(fitted, clusters, rng.fork("clusters").block())
    return Sides(space=space.name, centres=centres, target=(one, other), real=real, raw=raw[:n], space_of=space)


def like(source: tuple[Tensor, Tensor], rows: Tensor, centres: Tensor, rng: Rng) -> Likeness:
    """Rows against the first sample of a source, whose second one gives the null."""
    one, other = (part[: len(rows)] for part in source)
    told = {name: estimate(STATISTICS[name], one, rows) for name in DISTANCES}
    counts = [assigned(part, centres) for part in (one, rows, other)]
    null = {name: STATISTICS[name](one, other) for name in DISTANCES}
    null["js"] = float(jensen_shannon(counts[0], counts[2]))
    return Likeness(n=len(one), js=estimated(counts[0], counts[1], rng.fork("js")), null=null, **told)


def space_of(shape: tuple[int, ...], classifier: Classifier | None) -> Space:
    """The last hidden layer of a classifier; else random convolutions, or plain values for what is too small."""
    if classifier is not None:
        return penultimate(classifier)
    return pixels() if len(shape) == 3 and min(shape[1:]) < SMALL else random_convolutions()
