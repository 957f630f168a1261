"""Prune: how much of a generator can go before its images change, by which measure, and what that gains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from genvet.core.classifier import Classifier
from genvet.core.data import Critic, Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.report import Figure, Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Picture, Probe, Result
from genvet.maths.averages import normal_within
from genvet.maths.quality import Estimate
from genvet.nets.pruning import Region, Weight, began, below, kinship, sparsity, untrained, weights
from genvet.nets.upkeep import Bytes, Took
from genvet.studies import pruning_figures as figures
from genvet.studies.cutting import By, Cut, Cutter
from genvet.studies.measuring import Look, Yardstick

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
        yard, start = Yardstick(target, *told), self._start(target, given)
        cutter = Cutter(target, known, yard, start, rng, whole=self.layers == "all")
        by_threshold = tuple(cutter.by_threshold(self.thresholds))
        by_share = tuple(cutter.by_share(self.criteria, self.sparsities))
        fresh = self._untrained(target, rng, cutter.missing)
        raw = torch.cat([w.raw.flatten().double() for w in known.values()])
        sizes, times = cutter.upkeep(self.share, self.repeats)
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
            missing=cutter.missing,
            sizes=sizes,
            times=times,
            shown=min(8, self.latents),
            sheet=tuple(self._nearest(by_share, by) for by in dict.fromkeys(c.by for c in by_share)),
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

    def _nearest(self, cuts: tuple[Cut, ...], by: str) -> Cut:
        """Of one measure, the twin whose sparsity is nearest to the one that is shown."""
        return min((c for c in cuts if c.by == by), key=lambda c: abs(c.sparsity - self.share))

    def _untrained(self, target: Generator, rng: Rng, missing: dict[str, str]) -> dict[str, Weight] | None:
        try:
            return weights(untrained(target, rng.fork("untrained")), self.layers)
        except Unsupported as error:
            missing["untrained"] = error.message
            return None

    def _below(self, known: Mapping[str, Weight]) -> dict[float, float]:
        return {t: sparsity(below(known, t)) for t in self.thresholds}


def _measure(name: str, found: Estimate, n: int) -> Measure:
    return Measure(name=name, value=found.value, low=found.low, high=found.high, n=n)
