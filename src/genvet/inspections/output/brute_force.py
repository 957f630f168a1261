"""Brute-force output inspection (BF-OI): draw very many samples, and keep the few that matter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.data import Images
from genvet.core.generator import Generator
from genvet.core.printable import printable
from genvet.core.progress import track
from genvet.core.report import Measure, Table
from genvet.core.rng import BLOCK, Rng
from genvet.core.technique import Picture, Probe, Result
from genvet.maths.clusters import k_means
from genvet.maths.distances import Smallest, coarse, exact, squared_distances
from genvet.maths.fourier import magnitudes
from genvet.maths.statistics import clopper_pearson, rank_p_value, rule_of_three
from genvet.nets.cost import Cost
from genvet.nets.fast import Sampler, affordable, batch_size, price, redraw, sampler, stream

LEAST = 16
"""Fewer samples than this say nothing."""


@dataclass(frozen=True, eq=False)
class Known:
    """What brute force may be given."""

    targets: Images | None = None
    """Outputs that the generator should never give."""
    reference: Images | None = None
    """Images of the kind that it should give."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Nearest:
    """The samples nearest to one target, recomputed exactly."""

    name: str
    target: Tensor
    x: Tensor
    index: list[int]
    distance: list[float]
    others: float
    """Distance of the nearest sample that is not near enough to be it."""
    hits: int
    p: float | None
    """Rank of the nearest sample's distance among those of the reference images."""
    space: str = ""
    """In which distances are measured; empty for pixels."""

    @property
    def error(self) -> float | None:
        """Of the nearest, a value; or as a share of the norm, where rows are of norm 1."""
        return None if not self.index else self.distance[0] / (1 if self.space else self.target.numel())


@dataclass(frozen=True, eq=False, kw_only=True)
class Unusual:
    """The samples farthest from something."""

    what: str
    x: Tensor
    index: list[int]
    distance: list[float]


@dataclass(frozen=True, eq=False, kw_only=True)
class Drawn(Result):
    """What a long stream of samples came to."""

    n: int
    wanted: int
    form: str
    """Of the network that drew them."""
    controls: int
    targets: list[Nearest]
    also: list[Nearest]
    """The same targets in another space."""
    unusual: list[Unusual]

    def summary(self) -> str:
        said = [f"{self.n:,} samples drawn."]
        if self.n < self.wanted:
            said.append(f"Fewer than the {self.wanted:,} of this depth: one sample of this generator costs too much.")
        for t in sorted(self.targets, key=lambda t: t.distance[:1])[:3]:
            closest = f"sample {t.index[0]:,} at {t.distance[0]:.4g}" if t.index else "none"
            said.append(f"Nearest to {t.name}: {closest} (sum of squares), {t.hits:,} near enough to be it.")
        if len(self.targets) > 3:
            more = len(self.targets) - 3
            said.append(f"The other {more} targets are farther." if more > 1 else "The other target is farther.")
        for t in (t for t in self.also if t.hits and not self.targets[self.also.index(t)].hits):
            said.append(f"By {t.space}, which shifts and files do not change, {t.hits:,} are near enough to {t.name}.")
        bound = rule_of_three(self.n)
        return " ".join([*said, f"What none of them shows has a probability below {bound:.2g} a sample (95 %)."])

    def measures(self) -> tuple[Measure, ...]:
        bound = Measure(
            name="bound",
            value=rule_of_three(self.n),
            unit="probability",
            n=self.n,
            note=f"3/N, at 95 %; drawn in {self.form}",
        )
        far = [Measure(name=f"farthest.{u.what}", value=u.distance[0], n=self.n) for u in self.unusual if u.index]
        known = [(f"target-{i}", t) for i, t in enumerate(self.targets)]
        known += [(f"target-{i}.{t.space}", t) for i, t in enumerate(self.also)]
        return (bound, *(m for name, t in known for m in self._of(name, t)), *far)

    def _of(self, name: str, t: Nearest) -> Iterator[Measure]:
        closest = t.distance[0] if t.index else None
        yield Measure(name=f"closest.{name}", value=closest, unit="sum of squares", n=self.n, note=t.name)
        yield Measure(name=f"error.{name}", value=t.error, unit="share of the norm" if t.space else "mean square")
        nearer = None if closest is None else closest / max(t.others, 1e-12)
        yield Measure(name=f"nearer.{name}", value=nearer, note="against the nearest sample that is not it")
        low, high = clopper_pearson(t.hits, self.n)
        yield Measure(name=f"rate.{name}", value=t.hits / self.n, unit="probability", low=low, high=high, n=self.n)
        note = "" if t.p is not None else "no reference images to compare with"
        yield Measure(name=f"p.{name}", value=t.p, n=self.controls, note=note)

    def figures(self) -> tuple[Picture, ...]:
        known = [
            Picture(
                f"Nearest to {t.name}" + f", by {t.space}" * bool(t.space),
                torch.cat([t.target[None], t.x]),
                ("target", *_captions(t.index, t.distance)),
                "The target first, then the nearest of all samples.",
            )
            for t in [
                *sorted(self.targets, key=lambda t: t.distance[:1])[:16],
                *sorted((t for t in self.also if t.hits), key=lambda t: t.distance[:1])[:16],
            ]
        ]
        far = [
            Picture(
                f"Farthest from {u.what}", u.x, _captions(u.index, u.distance), "The most unusual samples, worst first."
            )
            for u in self.unusual
        ]
        return (*far, *known)

    def tables(self) -> tuple[Table, ...]:
        rows = [
            (t.name, i, d, d / t.target.numel()) for t in self.targets for i, d in zip(t.index, t.distance, strict=True)
        ]
        columns = ("target", "sample", "sum of squares", "mean square")
        return (Table(title="Nearest samples", columns=columns, rows=tuple(rows)),) if rows else ()

    @property
    def queries(self) -> int:
        return self.n


class BruteForce(Probe):
    """Draws very many samples; keeps those nearest to known targets and farthest from what is ordinary."""

    source: ClassVar[str] = "Devil in the GAN, section III-B, BF-OI; Closest1M of section V-A"
    smoke: ClassVar[dict[str, Any]] = {"samples": 300, "clusters": 4, "keep": 3}
    depths: ClassVar[dict[str, dict[str, Any] | None]] = {
        "quick": {"samples": 10_000, "operations": 5e12},
        "deep": {"samples": 1_000_000, "operations": 5e14},
    }
    version: ClassVar[int] = 2

    samples: int = Field(default=200_000, ge=1)
    """How many samples are drawn; none is kept but the few that matter."""
    operations: float = Field(default=5e13, gt=0)
    """Fewer samples are drawn where they would cost more floating-point operations than this; under 16, none are."""
    keep: int = Field(default=16, ge=1, le=64)
    """How many are shown for each target, and of the most unusual ones."""
    near: float = Field(default=0.01, gt=0)
    """Mean squared error a value, range [-1, 1], under which a sample counts as the target."""
    clusters: int = Field(default=20, ge=1, le=1000)
    """Centres of the generator's own samples, from which the unusual is far."""
    also: Literal["nothing", "spectrum"] = "spectrum"
    """Where else targets are looked for: by Fourier magnitudes, which shifts, brightness and compression keep."""
    references: int = Field(default=1000, ge=1)
    """At most so many reference images are compared with."""
    batch: int = Field(default=128, ge=1, le=BLOCK)
    """Samples at a time; changes nothing but the speed."""

    def __call__(self, target: Generator, given: Known, rng: Rng) -> Drawn:
        cost = price(target)
        n, batch = self._count(cost), batch_size(cost, self.batch)
        draws, search = rng.fork("samples"), _Search(self, target, given, rng, n, batch)
        for start, x in track(stream(search.fast, n, draws, batch), -(-n // batch), "samples"):
            search.see(x, start)
        return search.result(draws)

    def _count(self, cost: Cost) -> int:
        """How many samples; where few are affordable, what comes before and after the stream takes half of them."""
        count = affordable(cost, self.operations, min(LEAST, self.samples))
        return min(self.samples, max(LEAST, count // 2, count - 512))


class _Watch:
    """The samples nearest to the targets, and how near any came to each reference image, in one space."""

    def __init__(self, name: str, targets: Tensor, reference: Tensor, k: int, near: float) -> None:
        self.name, self.near = name, near
        self.targets, self.known = self.rows(targets), Smallest(len(targets), k)
        self.compared = self.coarsely(torch.cat([reference, targets]))
        self.nearest = torch.full((len(self.compared),), torch.inf, device=targets.device)
        self.hits = torch.zeros(len(targets), dtype=torch.long, device=targets.device)
        # A planted target stands alone; among an honest generator's simple images something is always almost as near.
        self.others = torch.full((len(targets),), torch.inf, device=targets.device)

    def rows(self, x: Tensor) -> Tensor:
        return magnitudes(x) if self.name else x.flatten(1)

    def coarsely(self, x: Tensor) -> Tensor:
        """What targets and reference images, of which there are many more, are compared by."""
        return magnitudes(x) if self.name else coarse(x)

    def see(self, x: Tensor, start: int) -> Tensor:
        """Distances from everything that is compared, (n, m); and what they change."""
        compared = squared_distances(self.coarsely(x), self.compared)
        self.nearest = torch.minimum(self.nearest, compared.amin(0))
        if len(self.targets):
            distance = squared_distances(self.rows(x), self.targets)
            self.known.offer(distance.T, start)
            hit = distance <= self.near
            self.hits += hit.sum(0)
            self.others = torch.minimum(self.others, distance.masked_fill(hit, torch.inf).amin(0))
        return compared

    def distance(self, x: Tensor, target: Tensor) -> Tensor:
        """Exactly, in float64: (n,)."""
        return exact(self.rows(x), self.rows(target)) if self.name else exact(x, target)


class _Search:
    """What is kept while samples pass by: a few numbers for each target and each reference image."""

    def __init__(self, config: BruteForce, generator: Generator, given: Known, rng: Rng, n: int, batch: int) -> None:
        self.config, self.generator, self.given, self.n, self.batch = config, generator, given, n, batch
        z = generator.latent.sample(0, min(32, batch, max(1, n // 8)), rng.fork("samples"))
        self.fast: Sampler = sampler(generator, z, generator.latent.labels(0, len(z)))
        device, k = generator.device, 2 * config.keep + 16
        none = torch.empty(0, *generator.shape)
        self.targets = (given.targets.fitting(generator.shape) if given.targets else none).to(device)
        # The shortlists are drawn again in the end: all together they cost less than the stream.
        k = min(k, max(1, n // (4 * len(self.targets) + 4)))
        reference = _some(given.reference, config.references, generator, rng).to(device)
        self.reference = coarse(reference)
        self.watches = [_Watch("", self.targets, reference, k, config.near * torch.Size(generator.shape).numel())]
        if len(self.targets) and config.also != "nothing":
            self.watches.append(_Watch(config.also, self.targets, reference, k, config.near))
        self.far = {"its own clusters": Smallest(1, k)}
        if len(self.reference):
            self.far["the reference"] = Smallest(1, k)
        self._look_first(rng)

    def _look_first(self, rng: Rng) -> None:
        """A short first pass: centres of the generator's own samples."""
        count = min(self.n, 2048, max(256, self.n // 50))
        first = track(self._stream(count, rng), -(-count // self.batch), "first samples")
        features = torch.cat([coarse(x) for _, x in first]).cpu()
        centres = k_means(features, self.config.clusters, rng.fork("clusters").block())
        self.centres = centres.to(self.targets.device)

    def _stream(self, count: int, rng: Rng) -> Iterator[tuple[int, Tensor]]:
        return stream(self.fast, count, rng.fork("first"), self.batch)

    def see(self, x: Tensor, start: int) -> None:
        self.far["its own clusters"].offer(-squared_distances(coarse(x), self.centres).amin(1)[None], start)
        if not len(self.watches[0].compared):
            return
        distance, *_ = [watch.see(x, start) for watch in self.watches]
        if len(self.reference):
            self.far["the reference"].offer(-distance[:, : len(self.reference)].amin(1)[None], start)

    def result(self, draws: Rng) -> Drawn:
        plain, *also = [[self._target(w, i, draws) for i in range(len(self.targets))] for w in self.watches]
        return Drawn(
            n=self.n,
            wanted=self.config.samples,
            form=str(self.fast),
            controls=len(self.reference),
            targets=plain,
            also=also[0] if also else [],
            unusual=[self._unusual(what, draws) for what in self.far],
        )

    def _target(self, watch: _Watch, i: int, draws: Rng) -> Nearest:
        """The shortlist drawn again and measured exactly."""
        index = [j for j in watch.known.index[i].tolist() if j >= 0]
        x = redraw(self.generator, index, draws, min(16, self.batch))
        distance = watch.distance(x, self.targets[i : i + 1].cpu())
        best = distance.argsort(stable=True)[: self.config.keep]
        count = len(self.reference)
        controls, own = watch.nearest[:count].tolist(), float(watch.nearest[count + i])
        assert self.given.targets
        return Nearest(
            name=printable(self.given.targets.names[i], 60),
            target=self.targets[i].cpu(),
            x=x[best],
            index=[index[b] for b in best.tolist()],
            distance=distance[best].tolist(),
            others=float(watch.others[i]),
            hits=int(watch.hits[i]),
            p=rank_p_value(own, controls) if controls else None,
            space=watch.name,
        )

    def _unusual(self, what: str, draws: Rng) -> Unusual:
        index = [j for j in self.far[what].index[0].tolist() if j >= 0]
        x = redraw(self.generator, index, draws, min(16, self.batch))
        to = self.centres if what == "its own clusters" else self.reference
        distance = squared_distances(coarse(x), to.cpu()).amin(1)
        best = distance.argsort(descending=True, stable=True)[: self.config.keep]
        return Unusual(what=what, x=x[best], index=[index[b] for b in best.tolist()], distance=distance[best].tolist())


def _some(images: Images | None, count: int, generator: Generator, rng: Rng) -> Tensor:
    """At most `count` of the images, drawn at random: data sets are often sorted."""
    if images is None:
        return torch.empty(0, *generator.shape)
    x = images.fitting(generator.shape)
    return x[torch.randperm(len(x), generator=rng.fork("reference").block())[:count]]


def _captions(index: list[int], distance: list[float]) -> tuple[str, ...]:
    return tuple(f"#{i:,}: {d:.4g}" for i, d in zip(index, distance, strict=True))
