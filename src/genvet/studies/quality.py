"""Quality: how near the samples are to real ones, beside how near real ones are to each other."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.data import Images
from genvet.core.errors import Unsupported
from genvet.core.generator import Samples
from genvet.core.report import Measure
from genvet.core.rng import Rng
from genvet.core.technique import Probe, Result
from genvet.maths.quality import STATISTICS, Estimate, estimate
from genvet.nets.random_features import NAME, random_features

FEWEST = 20
"""Real samples on either side: the jackknife leaves a tenth of them out."""


@dataclass(frozen=True)
class Given:
    """Real samples, and a classifier whose last hidden layer is the feature space."""

    reference: Images
    classifier: Classifier | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Nearness(Result):
    """Each statistic of generated against real samples, and of real against other real ones."""

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
                note = f"real samples against other real ones, in {self.space}" if kind != name else self.space
                made.append(Measure(name=kind, value=value, low=low, high=high, n=self.n, note=note))
        return tuple(made)

    @property
    def queries(self) -> int:
        return self.n


class Quality(Probe):
    """Frechet and kernel distance, precision and recall against real samples, in a named feature space."""

    source: ClassVar[str] = "Heusel 2017, eq. 6; Binkowski 2018, eq. 4; Kynkaanniemi 2019, eq. 1"
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
        real, other = self._features(x[chosen[:n]], given), self._features(x[chosen[n:]], given)
        fake = self._features(target.sample(n, rng.fork("samples")), given)
        space = NAME if given.classifier is None else f"the last hidden layer of {_named(given.classifier)}"
        return Nearness(
            space=space,
            n=n,
            fake={name: estimate(s, real, fake, self.groups) for name, s in STATISTICS.items()},
            real={name: estimate(s, real, other, self.groups) for name, s in STATISTICS.items()},
        )

    @torch.inference_mode()
    def _features(self, x: Tensor, given: Given) -> Tensor:
        if given.classifier is None:
            return random_features(x)
        return torch.cat([given.classifier.features(part) for part in x.cpu().split(500)])


def _named(classifier: Classifier) -> str:
    """The classifier by its classes and by its weights, so that no two spaces have one name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(classifier.module.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return f"the {classifier.name} {digest.hexdigest()[:12]} of {len(classifier.classes)} classes"
