"""Plug-and-play attacks: few steps through any style generator, and results that survive cropping."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.inversion.course import Course
from genvet.attacks.inversion.inverted import Against, Found, Inverted, Sampling, told
from genvet.core.classifier import Classifier
from genvet.core.rng import Rng
from genvet.core.technique import Probe
from genvet.maths.counted import uniform
from genvet.maths.crops import cropped
from genvet.maths.identity_losses import poincare
from genvet.nets.first_guesses import first_guesses, shown
from genvet.nets.inverting import Pace, invert
from genvet.nets.latent_spaces import LatentSpace


class PlugAndPlay(Sampling, Probe):
    """Inverts a classifier in W without a border: images that are recognised though cropped.

    From the best samples a search of few small steps goes on under random crops; of its results, those are kept that
    the target recognises in most of many crops.
    """

    source: ClassVar[str] = "Struppek et al.: Plug & play attacks, ICML 2022, sec. 3"
    smoke: ClassVar[dict[str, Any]] = {"samples": 32, "candidates": 2, "steps": 2, "crops": 3}

    samples: Annotated[int, Field(ge=1, le=10_000_000)] = 2000
    """Images of the prior that the target is shown first, once for all labels."""
    candidates: Annotated[int, Field(ge=1, le=1000)] = 20
    """Searches for each label; the paper has 200."""
    steps: Annotated[int, Field(ge=0, le=100_000)] = 70
    """Of each search."""
    rate: Annotated[float, Field(gt=0)] = 0.005
    """Step size of Adam, whose betas are 0.1."""
    truncation: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Of the samples that the search begins with."""
    least: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Smallest share of the image that a crop shows while it searches."""
    crops: Annotated[int, Field(ge=1, le=10_000)] = 100
    """By which the results are judged, half of the image and more."""

    def __call__(self, target: Classifier, given: Against, rng: Rng) -> Inverted:
        labels, prior = self.chosen(target.classes), given.prior
        space, seed = LatentSpace(generator=prior, name="w"), rng.fork("crops").block().initial_seed() >> 1
        n = max(self.samples, self.candidates)
        begin, start = self._begin(target, given, labels, n, rng)
        own = labels.repeat_interleave(self.candidates).to(prior.device)

        def seen(u: Tensor) -> Tensor:
            return shown(space.images(u), target.shape)

        def loss(u: Tensor, row: Tensor, step: Tensor) -> Tensor:
            return poincare(target.logits(cropped(seen(u), self.least, uniform(seed, row, step, 3))), own[row])

        def look(u: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
            logits = target.logits(seen(u)).double()
            return poincare(logits, own[row]), logits.softmax(1).gather(1, own[row][:, None])[:, 0]

        pace = Pace(steps=self.steps, rate=self.rate, betas=(0.1, 0.1), warm=0, fall=0, batch=self.batch)
        ended = invert(begin, loss, look, lambda u: u, pace)
        kept = self._robust(target, seen, ended.u, own, seed).view(len(labels), -1)
        u = ended.u.view(len(labels), self.candidates, *ended.u.shape[1:])[torch.arange(len(labels)), kept.argmax(1)]
        x = space.rendered(u)
        asked = n + ended.passes + len(own) * self.crops
        course = Course.of_steps(ended, len(labels))
        found = Found(labels=labels, x=x, u=u.cpu(), asked=asked, start=start, course=course)
        return told("plug-and-play", target, given, found)

    @torch.no_grad()
    def _begin(self, target: Classifier, given: Against, labels: Tensor, n: int, rng: Rng) -> tuple[Tensor, Tensor]:
        """The w of the best samples under truncation, (rows, 1, w_dim), and the image of the very best."""
        prior, drawn = given.prior, rng.fork("samples")
        pulled = LatentSpace(generator=prior, name="w", truncation=self.truncation)

        def scores(x: Tensor) -> Tensor:
            return target.logits(shown(x, target.shape)).double().log_softmax(1)

        guesses = first_guesses(prior, scores, labels, self.candidates, n, drawn, pulled)
        u = pulled.start(guesses.z.flatten(0, 1).to(prior.device))
        average: Any = prior.module.mapping.w_avg  # type: ignore[union-attr]
        first = u.view(len(labels), self.candidates, 1, -1)[:, 0]
        start = pulled.rendered(first)
        return average + self.truncation * (u - average), start

    @torch.no_grad()
    def _robust(self, target: Classifier, seen: Any, u: Tensor, own: Tensor, seed: int) -> Tensor:
        """The mean probability of the label over many crops, (rows,)."""
        found = []
        for rows in torch.arange(len(u), device=u.device).split(self.batch):
            x, total = seen(u[rows]), torch.zeros(len(rows), dtype=torch.float64, device=u.device)
            for number in range(self.crops):
                p = target(cropped(x, 0.5, uniform(seed + 1, rows, number, 3)))
                total += p.gather(1, own[rows][:, None])[:, 0]
            found.append(total / self.crops)
        return torch.cat(found).cpu()
