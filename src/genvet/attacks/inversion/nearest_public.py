"""No inversion at all: the public image that the target takes most for the label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from genvet.attacks.inversion.inverted import Beside, Found, Inverted, Inverting, told
from genvet.core.data import Images
from genvet.core.rng import Rng
from genvet.core.scores import Scores
from genvet.core.technique import Probe
from genvet.nets.first_guesses import shown


@dataclass(frozen=True, eq=False, kw_only=True)
class Given(Beside):
    """What it is given."""

    public: Images
    """Real images that the attacker has."""


class NearestPublic(Inverting, Probe):
    """Gives for each label the public image that the target takes most for it.

    A leak of the target needs more than that: whatever other classifiers make of these images, they make of people whom
    the target never saw.
    """

    source: ClassVar[str] = 'An et al.: MIRROR, NDSS 2022, the baseline "CelebA" of Table VI'

    def __call__(self, target: Scores, given: Given, rng: Rng) -> Inverted:
        labels, before = self.chosen(target.classes), target.used
        scores = torch.cat([target(shown(x, target.shape)) for x in given.public.x.split(self.batch)])
        best = scores[:, labels].argmax(0)
        found = Found(labels=labels, x=given.public.x[best], u=best[:, None].float(), asked=target.used - before)
        return told("best public", target, given, found)
