"""GMI: the search of a plain GAN's latents, kept real by the GAN's own critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.inversion.course import Course
from genvet.attacks.inversion.inverted import Against, Found, Inverted, Inverting, told
from genvet.core.classifier import Classifier
from genvet.core.data import Critic
from genvet.core.rng import Rng
from genvet.core.technique import Probe
from genvet.maths.identity_losses import cross_entropy
from genvet.nets.first_guesses import shown
from genvet.nets.inverting import Pace, invert
from genvet.nets.latent_spaces import LatentSpace


@dataclass(frozen=True, eq=False, kw_only=True)
class Given(Against):
    """What it is given."""

    critic: Critic | None = None
    """That the prior was trained against; without it, images are not kept real, which is a control."""


class GMI(Inverting, Probe):
    """Inverts a classifier through a GAN's latents, with its critic in the loss."""

    source: ClassVar[str] = "Zhang et al.: The secret revealer, CVPR 2020, eq. 4 and 5"
    smoke: ClassVar[dict[str, Any]] = {"restarts": 2, "steps": 4}

    restarts: Annotated[int, Field(ge=1, le=1000)] = 5
    """Searches for each label, from latents drawn at random; the surest is given."""
    steps: Annotated[int, Field(ge=0, le=1_000_000)] = 1500
    """Of each search."""
    rate: Annotated[float, Field(gt=0)] = 0.02
    """Step size, with Nesterov's momentum of 0.9."""
    weight: Annotated[float, Field(ge=0)] = 100.0
    """The target's share of the loss, beside the critic's."""
    c: Annotated[float, Field(gt=0)] = 1.0
    """Every number of z is kept between -c and c."""

    def __call__(self, target: Classifier, given: Given, rng: Rng) -> Inverted:
        labels = self.chosen(target.classes)
        space = LatentSpace(generator=given.prior, border="box", c=self.c)
        own = labels.repeat_interleave(self.restarts).to(given.prior.device)

        def judged(u: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
            x = space.images(u)
            logits = target.logits(shown(x, target.shape)).double()
            value = self.weight * cross_entropy(logits, own[row])
            if given.critic is not None:
                value = value - given.critic(shown(x, given.critic.shape))[:, 0]
            return value, logits.softmax(1).gather(1, own[row][:, None])[:, 0]

        def loss(u: Tensor, row: Tensor, step: Tensor) -> Tensor:
            return judged(u, row)[0]

        z = given.prior.latent.sample(0, len(own), rng.fork("starts"))
        pace = Pace(steps=self.steps, rate=self.rate, optimiser="momentum", warm=0, fall=0, batch=self.batch)
        ended = invert(space.kept(space.start(z.to(given.prior.device))), loss, judged, space.kept, pace)
        best = ended.loss.view(len(labels), -1).argmin(1)
        u = ended.u.view(len(labels), self.restarts, *ended.u.shape[1:])[torch.arange(len(labels)), best]
        x = space.rendered(u)
        course = Course.of_steps(ended, len(labels))
        return told("gmi", target, given, Found(labels=labels, x=x, u=u.cpu(), asked=ended.passes, course=course))
