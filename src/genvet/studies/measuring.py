"""One yardstick for every changed twin of a generator: how far its images moved, and how good they still are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.data import Critic, Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.maths.averages import mean_of
from genvet.maths.quality import STATISTICS, Estimate, estimate
from genvet.nets.random_features import NAME, random_features

FEWEST = 20
"""Real samples on either side: the jackknife leaves a tenth of them out."""
QUALITY = ("frechet", "precision", "recall")
GROUPS = 10


@dataclass(frozen=True, eq=False, kw_only=True)
class Look:
    """What is seen of one network at the fixed latents, and over many."""

    drift: Estimate
    """Mean root square change of an image, in those between two images of different latents: 1 is another image."""
    probability: Estimate | None
    """Mean probability of being real, by the critic."""
    quality: dict[str, Estimate]
    """Against real samples; empty where none were given."""
    images: Tensor
    """(latents, *shape)."""


class Yardstick:
    """The fixed latents, what the whole network makes of them, the critic, and real samples."""

    def __init__(
        self,
        dense: Generator,
        rng: Rng,
        latents: int,
        samples: int,
        critic: Critic | None = None,
        reference: Images | None = None,
        classifier: Classifier | None = None,
    ) -> None:
        self.dense, self.critic, self.classifier = dense, critic, classifier
        self.z = dense.latent.sample(0, latents, rng.fork("latents"))
        self.rng, self.n = rng, 0
        self.x = self._images(dense)
        other = (self.x - self.x.roll(1, 0)).flatten(1).square().mean(1).sqrt().mean()
        if not other > 0:
            raise Unsupported("this generator gives one image for all latents", hint="give one that was trained")
        self.other = other
        if critic is not None and tuple(critic.shape) != tuple(dense.shape):
            raise BadInput("the critic looks at other images", expected=str(dense.shape), got=str(critic.shape))
        self.space = NAME if classifier is None else f"the last hidden layer of {classifier}"
        self.floor: dict[str, Estimate] = {}
        self.real: Estimate | None = None
        """The critic's mean probability of real samples."""
        if reference is not None:
            self._compare(reference, samples, latents)

    def _compare(self, reference: Images, samples: int, latents: int) -> None:
        x = reference.fitting(self.dense.shape)
        self.n = min(samples, len(x) // 2)
        if self.n < FEWEST:
            raise Unsupported(f"{len(x)} real samples are too few", hint=f"give {2 * FEWEST} or more")
        chosen = torch.randperm(len(x), generator=self.rng.fork("reference").block())[: 2 * self.n].to(x.device)
        self._features_of_real = self._features(x[chosen[: self.n]])
        self.floor = self._quality(self._features(x[chosen[self.n :]]))
        self.real = self._probability(x[chosen[:latents]])

    @torch.inference_mode()
    def look(self, generator: Generator) -> Look:
        """Measure one twin; its latents are those of every other one."""
        x = self._images(generator)
        change = (x - self.x).flatten(1).square().mean(1).sqrt() / self.other
        quality = {}
        if self.floor:
            made = generator.sample(self.n, self.rng.fork("samples"))
            quality = self._quality(self._features(made.nan_to_num(0).clamp(-1, 1)))
        return Look(drift=mean_of(change, low=0.0), probability=self._probability(x), quality=quality, images=x)

    @torch.inference_mode()
    def _images(self, generator: Generator) -> Tensor:
        labels = generator.labels_of(torch.arange(len(self.z)))
        return generator(self.z.to(generator.device), labels).float().cpu().nan_to_num(0)

    @torch.inference_mode()
    def _probability(self, x: Tensor) -> Estimate | None:
        if self.critic is None:
            return None
        score = self.critic(x.to(self.dense.device)).float().cpu()
        if score.numel() != len(x):
            raise BadInput("the critic gives no score an image", expected=f"({len(x)}, 1)", got=str(tuple(score.shape)))
        return mean_of(score.sigmoid().flatten(), 0.0, 1.0)

    def _features(self, x: Tensor) -> Tensor:
        return random_features(x) if self.classifier is None else self.classifier.embedded(x)

    def _quality(self, made: Tensor) -> dict[str, Estimate]:
        return {name: estimate(STATISTICS[name], self._features_of_real, made, GROUPS) for name in QUALITY}
