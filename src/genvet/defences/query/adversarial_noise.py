"""Adversarial noise on every image: small changes that move it far in the features of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.queries import Queries
from genvet.core.rng import Rng
from genvet.core.technique import Guard
from genvet.nets.between import Asked, Between, Draws, Outgoing
from genvet.nets.random_features import features
from genvet.nets.undoing import Knowing, denoised


@dataclass(frozen=True)
class Given:
    """The network whose features are to be misled: convolutions drawn by the guard's own key unless given."""

    classifier: Classifier | None = None


class AdversarialNoise(Guard):
    """Adds a small noise to every image that moves it far in the features of a network.

    No pixel changes by more than epsilon. The noise begins at random, by the latent and a key or anew for each answer,
    and follows the sign of the gradient: one step is FGSM, more are PGD. Which the paper took, its appendix leaves out.
    """

    source: ClassVar[str] = (
        "Hu, Pang: Stealing Machine Learning Models: Attacks and Countermeasures for Generative Adversarial Networks, "
        "ACSAC 2021, A.5; Goodfellow et al. 2015, sec. 4; Madry et al. 2018, sec. 2.1"
    )
    smoke: ClassVar[dict[str, Any]] = {"epsilon": 0.05, "steps": 2}

    epsilon: Annotated[float, Field(gt=0, le=1)] = 0.05
    """The largest change of a value, in images from -1 to 1."""
    steps: Annotated[int, Field(ge=1, le=100)] = 1
    """Along the sign of the gradient, together 2.5 epsilon long; the only step of FGSM is epsilon long."""
    fresh: bool = False
    """Begin elsewhere for each answer; otherwise, the same latent always gets the same noise."""

    def __call__(self, view: Queries, given: Given, rng: Rng) -> Between:
        if given.classifier:
            given.classifier.fitting(view.shape)
        draws = Draws(rng.fork("start"), self.fresh)
        embed = given.classifier.features if given.classifier else lambda x: features(x, rng.fork("features"))

        def change(x: Tensor, asked: Asked) -> Tensor:
            start = self.epsilon * draws(x, asked).clamp(-1, 1)
            return self._away(x, start, embed)

        return Outgoing(view, change)

    def _away(self, x: Tensor, start: Tensor, embed: Callable[[Tensor], Tensor]) -> Tensor:
        """Images near x (n, *shape) whose features are far from its own."""
        length = self.epsilon * (1.0 if self.steps == 1 else 2.5 / self.steps)
        with torch.inference_mode(False), torch.enable_grad():
            x, noise = x.clone().float(), start.clone().float()
            aim = embed(x).detach()
            for _ in range(self.steps):
                noise.requires_grad_()
                (slope,) = torch.autograd.grad((embed(x + noise) - aim).square().sum(), noise)
                noise = (noise.detach() + length * slope.sign()).clamp(-self.epsilon, self.epsilon)
        return (x + noise).detach().clamp(-1, 1)

    def known(self) -> Mapping[str, Callable[[Queries], Queries]]:
        """What an attacker who knows it does: denoise each image; average the part that is drawn anew."""
        times = 16 if self.fresh else 1
        what = f"averages {times} answers and denoises" if self.fresh else "denoises"
        return {what: lambda view: Knowing(view, lambda x: denoised(x, self.epsilon), times=times)}
