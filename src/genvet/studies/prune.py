"""Prune: how much of a generator can go before its images change, by which measure, and what that gains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field

from genvet.core.classifier import Classifier
from genvet.core.data import Critic, Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator, StyleGenerator
from genvet.core.progress import track
from genvet.core.report import Figure, Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Picture, Probe, Result
from genvet.maths.averages import normal_within
from genvet.maths.quality import Estimate
from genvet.nets.channels import Score, fitting, shrunk
from genvet.nets.pruning import (
    Criterion,
    Region,
    Values,
    Weight,
    began,
    below,
    equalised,
    kinship,
    least,
    sparsity,
    untrained,
    weights,
    without,
    worth,
)
from genvet.nets.upkeep import Bytes, Took, race, size_of
from genvet.studies import pruning_figures as figures
from genvet.studies.measuring import Look, Yardstick

By = Criterion | Literal["channels", "random channels"]
WHOLE: dict[str, Score] = {"channels": "contribution", "random channels": "random"}
"""What takes whole channels out, and how they are chosen."""
DRIFTED, WORSE, DOUBTED = 0.5, 2.0, 0.5
"""Up to where a twin is borne: half-way to another image, twice the Frechet distance, half the critic's probability."""
Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class Given:
    """A critic, real samples, a classifier whose last hidden layer compares them, and the network before training."""

    critic: Critic | None = None
    reference: Images | None = None
    classifier: Classifier | None = None
    began: Generator | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Cut:
    """One pruned twin, measured."""

    by: By
    sparsity: float
    """Share of all weights that are gone."""
    kept: int
    look: Look
    threshold: float | None = None
    """Of the raw weights; None where it was cut by sparsity."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Pruned(Result):
    """Every pruned twin, by threshold and by sparsity, beside its controls."""

    count: int
    sigma: float
    """Standard deviation of the raw weights."""
    dense: Look
    yard: Yardstick
    by_threshold: tuple[Cut, ...]
    """As the founding paper cuts; each followed by random masks that take as many."""
    by_share: tuple[Cut, ...]
    below: Mapping[float, float]
    """By threshold, the share of the raw weights under it."""
    below_untrained: Mapping[float, float]
    """The same of a network that was never trained; empty where there is none."""
    correlation: float | None
    """Of the weights with those before training."""
    missing: Mapping[str, str]
    """What could not be done, and why."""
    sizes: Mapping[str, Bytes]
    times: Mapping[str, Mapping[int, Took]]
    """By network and batch size."""
    shown: int
    sheet: tuple[Cut, ...] = field(default=())
    """The twins at one sparsity."""

    def bearable(self, by: str, rule: str = "") -> float:
        """The largest sparsity up to which every twin is borne, by its quality where it is known."""
        rule, most = rule or self.rules()[0], 0.0
        for cut in sorted((c for c in self.by_share if c.by == by), key=lambda c: c.sparsity):
            if not self.borne(cut.look, rule):
                break
            most = cut.sparsity
        return most

    def rules(self) -> tuple[str, ...]:
        """What a twin can be borne by, the one that counts first."""
        critic = ("critic",) if self.dense.probability else ()
        return (("quality", "change", *critic)) if self.dense.quality else ("change", *critic)

    def borne(self, look: Look, rule: str) -> bool:
        """Whether the images are still about those of the whole network, or about as good."""
        if rule == "quality":
            return look.quality["frechet"].value <= WORSE * self.dense.quality["frechet"].value
        if rule == "critic":
            assert look.probability is not None and self.dense.probability is not None
            return look.probability.value >= DOUBTED * self.dense.probability.value
        return look.drift.value <= DRIFTED

    def criteria(self) -> list[str]:
        """What was cut by, in order."""
        return list(dict.fromkeys(c.by for c in self.by_share))

    def summary(self) -> str:
        known = {by: self.bearable(by) for by in self.criteria()}
        best = max(known, key=lambda by: known[by], default="")
        rule = f"twice its Frechet distance in {self.yard.space}" if self.dense.quality else "half-way to other images"
        told = [f"{self.count:,} weights."]
        if best:
            told.append(f"Of them {known[best]:.0%} can go by {best} before {rule}")
            told[-1] += f"; random masks bear {known['random']:.0%}." if "random" in known and best != "random" else "."
        if 1.0 in self.below:
            fresh = self.below_untrained.get(1.0)
            told.append(f"A raw threshold of 1 takes {self.below[1.0]:.1%}")
            told[-1] += f"; of a network that was never trained, {fresh:.1%}." if fresh is not None else "."
        return " ".join(told)

    def measures(self) -> tuple[Measure, ...]:
        n = len(self.yard.z)
        made = [Measure(name="weights", value=self.count), Measure(name="raw.sigma", value=self.sigma, chance=1.0)]
        for t, share in self.below.items():
            fresh = self.below_untrained.get(t, normal_within(t))
            made.append(Measure(name=f"below.{t:g}", value=share, chance=fresh, n=self.count))
        note = "with the weights before training" if self.correlation is not None else self.missing.get("movement", "")
        made.append(Measure(name="start.correlation", value=self.correlation, chance=0.0, n=self.count, note=note))
        chance = self.bearable("random") if "random" in self.criteria() else None
        for by in self.criteria():
            made.append(Measure(name=f"bearable.{by.replace(' ', '-')}", value=self.bearable(by), chance=chance, n=n))
        for cut in (c for c in self.by_threshold if c.by == "magnitude"):
            named = [("drift", cut.look.drift), ("critic", cut.look.probability)]
            made += [_measure(f"{name}@{cut.threshold:g}", e, n) for name, e in named if e is not None]
        return tuple(made)

    def figures(self) -> tuple[Figure | Picture, ...]:
        return tuple(figures.all_of(self))

    def tables(self) -> tuple[Table, ...]:
        return tuple(figures.tables_of(self))

    @property
    def queries(self) -> int:
        twins = 1 + len(self.by_threshold) + len(self.by_share)
        return twins * (len(self.yard.z) + self.yard.n)


class Prune(Probe):
    """Cuts weights and channels away by several measures, beside controls; what is borne, what is gained."""

    source: ClassVar[str] = (
        "Laubmann, Reschke: Tackling fake images in cybersecurity, 2025 (arXiv:2507.13722), sec. V-B and VI-B; "
        "Han et al. 2015; Sun et al. 2024 (Wanda)"
    )
    smoke: ClassVar[dict[str, Any]] = {
        "thresholds": (0.4, 1.0),
        "sparsities": (0.3, 0.6),
        "latents": 8,
        "samples": 24,
        "share": 0.3,
        "repeats": 1,
    }

    thresholds: tuple[Annotated[float, Field(ge=0, le=100)], ...] = tuple(i / 10 for i in range(11))
    """Raw weights nearer to 0 than this go, as in the paper."""
    sparsities: tuple[Share, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """Shares of the weights that go, the least by each measure of worth."""
    criteria: tuple[By, ...] = (
        "magnitude",
        "effective",
        "normalised",
        "movement",
        "activation",
        "random",
        "channels",
        "random channels",
    )
    """What tells a weight's worth, or a channel's; random ones are the control."""
    layers: Region = "all"
    """Which part of a style generator is cut: all, mapping or synthesis."""
    latents: Annotated[int, Field(ge=4, le=1024)] = 32
    """Fixed latents at which all twins are looked at; the paper takes 32."""
    samples: Annotated[int, Field(ge=20, le=50_000)] = 500
    """Images of each twin that are compared with real ones, where some are given."""
    share: Share = 0.5
    """The sparsity at which pictures, sizes and times are shown side by side."""
    repeats: Annotated[int, Field(ge=0, le=1000)] = 7
    """Times that each network is timed; 0 times none. Times are told in a table and differ from run to run."""

    def __call__(self, target: Generator, given: Given, rng: Rng) -> Pruned:
        known = weights(target, self.layers)
        count = sum(w.raw.numel() for w in known.values())
        told = (rng, self.latents, self.samples, given.critic, given.reference, given.classifier)
        yard, missing = Yardstick(target, *told), dict[str, str]()
        start = self._start(target, given)
        cutter = _Cutter(self, target, known, yard, start, rng, missing)
        by_threshold = tuple(cutter.by_threshold())
        by_share = tuple(cutter.by_share())
        sheet = tuple(c for c in by_share if abs(c.sparsity - self.share) == cutter.nearest(by_share, c.by))
        fresh = self._untrained(target, rng, missing)
        raw = torch.cat([w.raw.flatten().double() for w in known.values()])
        sizes, times = cutter.upkeep()
        return Pruned(
            count=count,
            sigma=float(raw.std()),
            dense=yard.look(target),
            yard=yard,
            by_threshold=by_threshold,
            by_share=by_share,
            below=self._below(known) if by_threshold else {},
            below_untrained=self._below(fresh) if fresh and by_threshold else {},
            correlation=kinship(target, start)[0] if start else None,
            missing=missing,
            sizes=sizes,
            times=times,
            shown=min(8, self.latents),
            sheet=sheet,
        )

    def _start(self, target: Generator, given: Given) -> Generator | None:
        """The network before training; raises BadInput where another one was given."""
        if given.began is None:
            return began(target)
        r, kin = kinship(target, given.began)
        if not kin:
            got = f"weights that correlate by {r:.3f}, as chance would"
            raise BadInput("this training did not begin with that network", expected="a correlation", got=got)
        return given.began

    def _untrained(self, target: Generator, rng: Rng, missing: dict[str, str]) -> dict[str, Weight] | None:
        try:
            return weights(untrained(target, rng.fork("untrained")), self.layers)
        except Unsupported as error:
            missing["untrained"] = error.message
            return None

    def _below(self, known: Mapping[str, Weight]) -> dict[float, float]:
        return {t: sparsity(below(known, t)) for t in self.thresholds}


@dataclass(frozen=True, eq=False)
class _Cutter:
    """Makes the twins, and measures each."""

    config: Prune
    target: Generator
    known: Mapping[str, Weight]
    yard: Yardstick
    start: Generator | None
    rng: Rng
    missing: dict[str, str]

    @property
    def count(self) -> int:
        return sum(w.raw.numel() for w in self.known.values())

    def by_threshold(self) -> Iterator[Cut]:
        """The paper's masks, each with random ones of the same sparsity."""
        if not equalised(self.known):
            self.missing["thresholds"] = "raw weights are on the paper's scale under an equalised learning rate alone"
            return
        chance = self._worth("random")
        for t in track(self.config.thresholds, len(self.config.thresholds), "thresholds"):
            masks = below(self.known, t)
            yield self._cut("magnitude", masks, t)
            yield self._cut("random", least(chance, sparsity(masks)), t)

    def by_share(self) -> Iterator[Cut]:
        for by in track(self.config.criteria, len(self.config.criteria), "pruning by"):
            try:
                twins = self._channels(by) if by in WHOLE else self._masked(by)  # type: ignore[arg-type]
                yield from twins
            except Unsupported as error:
                self.missing[by] = error.message

    def _masked(self, by: Criterion) -> Iterator[Cut]:
        values = self._worth(by)
        for share in self.config.sparsities:
            yield self._cut(by, least(values, share))

    def _channels(self, by: By) -> Iterator[Cut]:
        for share in self.config.sparsities:
            smaller = self._smaller(by, share)
            if smaller is not None:
                left = sum(w.raw.numel() for w in weights(smaller).values())
                yield Cut(by=by, sparsity=1 - left / self.count, kept=left, look=self.yard.look(smaller))

    def _smaller(self, by: By, share: float) -> StyleGenerator | None:
        if not isinstance(self.target, StyleGenerator) or self.config.layers != "all":
            raise Unsupported("whole channels are taken out of style generators alone, all of their layers")
        kept = fitting(self.target, share, self.rng.fork("channels"), WHOLE[by])
        return shrunk(self.target, kept) if kept else None

    def _cut(self, by: By, masks: Values, threshold: float | None = None) -> Cut:
        twin, gone = without(self.target, masks), sparsity(masks)
        kept = round((1 - gone) * self.count)
        return Cut(by=by, sparsity=gone, kept=kept, look=self.yard.look(twin), threshold=threshold)

    def _worth(self, by: Criterion) -> Values:
        return worth(by, self.target, self.known, self.rng.fork("worth"), self.start)

    def nearest(self, cuts: tuple[Cut, ...], by: str) -> float:
        """How near the sparsities of one criterion come to the one that is shown."""
        return min(abs(c.sparsity - self.config.share) for c in cuts if c.by == by)

    def upkeep(self) -> tuple[dict[str, Bytes], dict[str, dict[int, Took]]]:
        """Sizes and times of the whole network, of a masked one, and of a smaller one at the same sparsity."""
        share = f"{self.config.share:.0%}"
        twins = {"whole": self.target}
        twins[f"masked, {share} by magnitude"] = without(
            self.target, least(self._worth("magnitude"), self.config.share)
        )
        try:
            if (smaller := self._smaller("channels", self.config.share)) is not None:
                twins[f"smaller, {share} by channels"] = smaller
        except Unsupported:
            pass
        sizes = {name: size_of(twin.module) for name, twin in twins.items()}
        times: dict[str, dict[int, Took]] = {name: {} for name in twins}
        for batch in (1, 16) if self.config.repeats else ():
            for name, took in race(twins, batch, self.config.repeats).items():
                times[name][batch] = took
        return sizes, times


def _measure(name: str, found: Estimate, n: int) -> Measure:
    return Measure(name=name, value=found.value, low=found.low, high=found.high, n=n)
