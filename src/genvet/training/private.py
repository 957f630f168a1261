"""A classifier that learns little from any one image (DP-SGD), and says how little."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from genvet.core.classifier import Classifier
from genvet.core.data import Labelled
from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedClassifier
from genvet.training.accounting import named, noise_for, spent
from genvet.training.clipping import Weights, clipped
from genvet.training.loop import average
from genvet.training.promising import ADJACENCY, by_one_process, of_so_many
from genvet.training.supervision import Given, Lessons, Pupil, Supervision


class Private(Supervision, Recipe):
    """Trains a classifier on clipped gradients with noise (DP-SGD), and states its epsilon.

    Every image takes part in a step by chance (Poisson sampling), its gradient is clipped, and noise is added to the
    sum. The statement is about one image, added or removed: not about a class or a person with many. It holds against
    whoever does not know the seed, which must not be one that can be guessed; choices made by looking at results of
    several trainings are not covered, nor are the images that were held out. Norms over a batch mix the images, so that
    only families without them can be trained.
    """

    source: ClassVar[str] = (
        "Abadi et al.: Deep learning with differential privacy, CCS 2016, Algorithm 1; accountant: Mironov et al.: "
        "Renyi differential privacy of the sampled Gaussian mechanism, 2019, as Opacus has it"
    )
    smoke: ClassVar[dict[str, Any]] = {"steps": 2, "batch": 8, "capacity": 2, "noise": 1.0}
    may_change: ClassVar[frozenset[str]] = frozenset({"rate"})
    chosen_by: ClassVar[tuple[str, ...]] = ("--epsilon", "--noise")

    epsilon: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """To be kept to at the end, at this delta: the noise follows from it. Either this or the noise."""
    noise: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Standard deviation of the noise, in units of the clipping norm: epsilon follows from it."""
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    """The chance that the statement fails: well below one over the number of images."""
    clip: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Largest norm of one image's gradient; a longer one is scaled down to it."""
    together: Annotated[int, Field(ge=1, le=4096)] = 64
    """Images whose gradients are in memory at once; the result does not depend on it beyond rounding."""

    def __call__(self, given: Given, rng: Rng) -> TrainedClassifier:
        return super().__call__(given, rng)

    def fresh(self, images: Labelled) -> Classifier:
        if self.shuffled:
            raise BadInput("labels that are dealt out at random depend on every image: epsilon would not hold")
        classifier = super().fresh(images)
        if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in classifier.module.modules()):
            expected, hint = "cnn, allconv or mixer", "a batch norm lets every image change what the others give"
            raise BadInput("this family has batch norms", expected=expected, got=self.family, hint=hint)
        return classifier

    def pupil(self, fresh: Classifier, lessons: Lessons, rng: Rng) -> Pupil:
        by_one_process()
        return Guarded(self, fresh.module, lessons, rng, self.spread(len(lessons.seen)))

    def spread(self, n: int) -> float:
        """The noise that is asked for, or that keeps `n` images within epsilon; raises BadInput without either."""
        if (self.epsilon is None) == (self.noise is None):
            raise BadInput("how private is it to be?", expected="either --epsilon (at --delta) or --noise")
        of_so_many(n, self.delta, self.batch)
        if self.noise is not None:
            return self.noise
        assert self.epsilon is not None
        return noise_for(self.epsilon, self.delta, self.batch / n, self.steps, "rdp")

    def promised(self, n: int) -> dict[str, Any]:
        """What holds for any of `n` images, with all that an epsilon means nothing without."""
        noise, rate = self.spread(n), self.batch / n
        return {
            "privacy": {
                "epsilon": spent(noise, rate, self.steps, self.delta, "rdp"),
                "delta": self.delta,
                "adjacency": ADJACENCY,
                "accountant": named("rdp"),
                "noise": noise,
                "clip": self.clip,
                "sample_rate": rate,
                "sampling": "Poisson",
                "steps": self.steps,
                "holds": "against whoever does not know the seed; the number of images is taken for known",
            }
        }


class Guarded(Pupil):
    """Learns from the sum of clipped gradients and noise."""

    recipe: Private

    def __init__(self, recipe: Private, network: nn.Module, lessons: Lessons, rng: Rng, noise: float) -> None:
        super().__init__(recipe, network, lessons, rng)
        self.noise = noise

    def step(self, number: int) -> dict[str, Tensor]:
        seen, rate = self.lessons.seen, self.recipe.batch / len(self.lessons.seen)
        drawn = torch.rand(len(seen), generator=self.rng.fork("images").block(number)) < rate
        rows = seen[drawn.to(seen.device)]
        sums, loss = self.summed(rows, number)
        for name, weight in self.network.named_parameters():
            noise = self.noise * self.recipe.clip * torch.randn_like(weight)
            # Over the batch that is expected: how many there really were is nobody's business.
            weight.grad = (sums[name] + noise) / self.recipe.batch
        self.optimisers["adam"].step()
        average(self.averaged, self.network, self.recipe.average)
        return {"classifier": loss / max(len(rows), 1)}

    def summed(self, rows: Tensor, number: int) -> tuple[dict[str, Tensor], Tensor]:
        """The sum of the clipped gradients of these images, and that of their losses; some at a time."""

        def loss(weights: Weights, x: Tensor, label: Tensor) -> Tensor:
            scores = functional_call(self.network, weights, (x[None],))
            return self.cross_entropy(scores, label[None], number)

        shown = (self.changed(self.lessons.x[rows]), self.lessons.labels[rows])
        found = clipped(self.network, loss, shown, self.recipe.clip, together=self.recipe.together)
        return found.sums, found.loss
