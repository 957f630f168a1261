"""Reconstruction: training records by way of the latent space, guided by what an attacker may know of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.membership.reconstructed import Reconstructed, reconstructed
from genvet.attacks.membership.records import Exposing, Records
from genvet.core.classifier import Classifier
from genvet.core.data import Critic, Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.progress import track
from genvet.core.rng import Rng
from genvet.core.technique import Probe
from genvet.nets import random_features
from genvet.nets.first_guesses import first_guesses, shown
from genvet.nets.inverting import Ended, Pace, invert
from genvet.nets.judging import scores_of
from genvet.nets.latent_spaces import LatentSpace
from genvet.nets.style_space import numbers

Judge = Callable[[Tensor], Tensor]
"""Images (n, *shape) -> how well each fits every goal (n, goals), with gradients; the higher, the better."""
DENSE = 5
"""The k-th nearest other sample tells how densely samples lie."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Given(Records):
    """What it is given. The records tell what came of it; the attacker has none of them."""

    similar: Images | None = None
    """Images that resemble training records, such as others of the same persons: one reconstruction for each."""
    classifier: Classifier | None = None
    """Tells attributes: what is known of a record, such as glasses. Trained on other data."""
    critic: Critic | None = None
    """Ranks samples by membership; without one, those are taken where samples lie most densely."""


class Reconstruction(Exposing, Probe):
    """Looks for training records in the latent space, guided by similar images, attributes or membership.

    It succeeds where what is found is nearer to training records than to as many held-out ones, more often than the
    generator's ordinary samples and the guiding images themselves are.
    """

    source: ClassVar[str] = (
        "Deep analysis: training data leakage (model inversion) in StyleGAN, sec. 2.1; Chen et al. 2020 (ranking)"
    )
    smoke: ClassVar[dict[str, Any]] = {"guide": "membership", "samples": 64, "keep": 4}

    guide: Literal["similar", "attributes", "membership"] = "similar"
    """A similar image, attributes that a classifier tells, or no search: samples are ranked by membership."""
    space: Literal["z", "w", "both"] = "z"
    """Where the search goes; both begins in z and goes on in w. Only style generators have w."""
    attributes: Annotated[str, Field(max_length=10_000)] = ""
    """Classes of the classifier, by number, such as 0-9,12: one goal each; all of them unless given."""
    restarts: Annotated[int, Field(ge=1, le=1000)] = 4
    """Searches for each goal, from the samples that fit it best."""
    steps: Annotated[int, Field(ge=1, le=100_000)] = 200
    """Of each search, and in each space."""
    rate: Annotated[float, Field(gt=0, le=10)] = 0.05
    """Step size of Adam."""
    features: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Weight of the squared distance in random convolutions beside that of pixels, for similar images."""
    samples: Annotated[int, Field(ge=4, le=1_000_000)] = 2000
    """Samples that are looked at first; membership ranks them."""
    keep: Annotated[int, Field(ge=1, le=100_000)] = 50
    """Samples that membership keeps."""
    batch: Annotated[int, Field(ge=1, le=4096)] = 32
    """Searches at once; the result does not depend on it."""

    def __call__(self, target: Generator, given: Given, rng: Rng) -> Reconstructed:
        cohort = self.cohort(given, target.shape)
        ordinary = target.sample(self.samples, rng.fork("ordinary"))
        if self.guide == "membership":
            x, names = self._ranked(target, given, rng)
            return reconstructed(self.guide, cohort, x, names, ordinary, rng, asked=2 * self.samples)
        judge, names = self._judge(target, given)
        LatentSpace(generator=target, name="z" if self.space == "z" else "w")  # raises where there is no w
        x, passes = self._searched(target, judge, len(names), rng)
        control = given.similar.x if self.guide == "similar" and given.similar is not None else None
        asked, named = 2 * self.samples + passes, f"{self.guide} in {'z and w' if self.space == 'both' else self.space}"
        return reconstructed(named, cohort, x, names, ordinary, rng, asked=asked, guiding=control)

    def _judge(self, target: Generator, given: Given) -> tuple[Judge, tuple[str, ...]]:
        """How well images fit each goal, and what the goals are called."""
        if self.guide == "attributes":
            classifier = given.classifier
            if classifier is None:
                raise Unsupported("nothing tells attributes", hint="give a classifier of them by --classifier")
            named = classifier.classes
            chosen = numbers(self.attributes, len(named), "class") if self.attributes else range(len(named))
            goals = torch.tensor(list(chosen))

            def told(x: Tensor) -> Tensor:
                return classifier.logits(shown(x, classifier.shape)).double().log_softmax(1)[:, goals]

            return told, tuple(named[int(k)] for k in goals)
        if given.similar is None:
            raise Unsupported("there is nothing to be guided by", hint="give similar images by --similar")
        wanted = given.similar.fitting(target.shape).float().to(target.device)
        return self._likeness(wanted), given.similar.names

    def _likeness(self, wanted: Tensor) -> Judge:
        goal = random_features.features(wanted) if self.features else None

        def judge(x: Tensor) -> Tensor:
            off = torch.cdist(x.flatten(1).double(), wanted.flatten(1).double()).square()
            if goal is not None:
                own = random_features.features(x.float()).double()
                off = off + self.features * torch.cdist(own, goal.double()).square()
            return -off / wanted[0].numel()

        return judge

    def _searched(self, target: Generator, judge: Judge, goals: int, rng: Rng) -> tuple[Tensor, int]:
        """The best image for each goal, and how many images that took."""
        n, count = max(self.samples, self.restarts), torch.arange(goals)
        guesses = first_guesses(target, judge, count, self.restarts, n, rng.fork("guesses"))
        u, passes = guesses.z.flatten(0, 1).to(target.device)[:, None], 0
        for name in ("z", "w") if self.space == "both" else (self.space,):
            space = LatentSpace(generator=target, name=name)
            begin = space.start(u[:, 0])
            ended = self._ended(target, space, judge, begin)
            u, passes = ended.u, passes + ended.passes
        best = ended.loss.view(goals, -1).argmin(1).cpu()
        chosen = u.view(goals, self.restarts, *u.shape[1:])[count, best]
        return space.rendered(chosen), passes

    def _ended(self, target: Generator, space: LatentSpace, judge: Judge, begin: Tensor) -> Ended:
        goal = torch.arange(len(begin), device=begin.device) // self.restarts

        def loss(u: Tensor, row: Tensor, step: Tensor) -> Tensor:
            return -judge(space.images(u)).gather(1, goal[row][:, None])[:, 0]

        def look(u: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
            value = loss(u, row, row)
            return value, torch.zeros_like(value)

        def kept(u: Tensor) -> Tensor:
            return target.latent.project(u[:, 0])[:, None] if space.name == "z" else u

        return invert(begin, loss, look, kept, Pace(steps=self.steps, rate=self.rate, batch=self.batch))

    @torch.no_grad()
    def _ranked(self, target: Generator, given: Given, rng: Rng) -> tuple[Tensor, tuple[str, ...]]:
        """Of many samples, those that look most like members."""
        if self.keep >= self.samples:
            raise BadInput("all samples would be kept", expected=f"--keep below {self.samples}", got=str(self.keep))
        x = target.sample(self.samples, rng.fork("ranked"))
        if given.critic is not None:
            score = scores_of(given.critic, x, self.batch)
        else:
            score = -_crowding(x)
        top = score.argsort(descending=True, stable=True)[: self.keep]
        return x[top], tuple(f"sample {int(i)}" for i in top)


def _crowding(x: Tensor) -> Tensor:
    """How far each sample is from its fifth nearest fellow: what was learned by heart comes again and again."""
    rows = x.flatten(1).double()
    found = []
    for some in track(rows.split(512), -(-len(rows) // 512), "samples compared"):
        found.append(torch.cdist(some, rows).kthvalue(min(DENSE + 1, len(rows)), 1).values)
    return torch.cat(found)
