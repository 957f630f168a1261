"""Quality: how near the samples are to real ones, beside how near real ones are to each other; and the class score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.data import Images
from genvet.core.errors import Unsupported
from genvet.core.queries import Samples
from genvet.core.report import Measure
from genvet.core.rng import Rng
from genvet.core.technique import Probe, Result
from genvet.maths.quality import STATISTICS, Estimate, class_score, estimate, estimate_one
from genvet.nets.random_features import NAME, random_features

SCORE = "class-score"
FEWEST = 20
"""Real samples on either side: the jackknife leaves a tenth of them out."""


@dataclass(frozen=True)
class Given:
    """Real samples, and a classifier: its last hidden layer is the feature space, and it gives the class score."""

    reference: Images
    classifier: Classifier | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Nearness(Result):
    """Each statistic of generated against real samples, and of real against other real ones; and both class scores."""

    space: str
    n: int
    fake: dict[str, Estimate]
    real: dict[str, Estimate]

    def summary(self) -> str:
        told = [f"{name} {self.fake[name].value:.3g} (real ones: {self.real[name].value:.3g})" for name in self.fake]
        return f"{self.n} samples against {self.n} real ones in {self.space}: {', '.join(told)}."

    def measures(self) -> tuple[Measure, ...]:
        made = []
        for name in self.fake:
            for kind, (value, low, high) in ((name, self.fake[name]), (f"{name}.real", self.real[name])):
                told = "real samples" if name == SCORE else "real samples against other real ones"
                note = f"{told}, in {self.space}" if kind != name else self.space
                made.append(Measure(name=kind, value=value, low=low, high=high, n=self.n, note=note))
        return tuple(made)

    @property
    def queries(self) -> int:
        return self.n


class Quality(Probe):
    """Frechet and kernel distance, precision and recall against real samples, in a named feature space."""

    source: ClassVar[str] = "Heusel 2017, eq. 6; Binkowski 2018, eq. 4; Kynkaanniemi 2019, eq. 1; Salimans 2016, sec. 4"
    version: ClassVar[int] = 2
    smoke: ClassVar[dict[str, Any]] = {"samples": 24}

    samples: int = Field(default=2000, ge=FEWEST, le=50_000)
    """Samples on either side; half as many as there are real ones, where those are fewer."""
    groups: int = Field(default=10, ge=4, le=100)
    """Groups of the jackknife behind the intervals."""

    def __call__(self, target: Samples, given: Given, rng: Rng) -> Nearness:
        x = given.reference.x
        n = min(self.samples, len(x) // 2)
        if n < FEWEST:
            raise Unsupported(f"{len(x)} real samples are too few", hint=f"give {2 * FEWEST} or more")
        chosen = torch.randperm(len(x), generator=rng.fork("reference").block())[: 2 * n].to(x.device)
        ones, others, made = x[chosen[:n]], x[chosen[n:]], target.sample(n, rng.fork("samples"))
        real, other, fake = (self._features(some, given) for some in (ones, others, made))
        of_made = {name: estimate(s, real, fake, self.groups) for name, s in STATISTICS.items()}
        of_real = {name: estimate(s, real, other, self.groups) for name, s in STATISTICS.items()}
        if given.classifier:
            told = (given.classifier.probabilities(some) for some in (made, ones))
            of_made[SCORE], of_real[SCORE] = (estimate_one(class_score, p, self.groups) for p in told)
        space = NAME if given.classifier is None else f"the last hidden layer of {given.classifier}"
        return Nearness(space=space, n=n, fake=of_made, real=of_real)

    @torch.inference_mode()
    def _features(self, x: Tensor, given: Given) -> Tensor:
        if given.classifier is None:
            return random_features(x)
        return given.classifier.embedded(x)
