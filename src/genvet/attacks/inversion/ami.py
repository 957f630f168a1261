"""AMI: a network that is trained on public images to undo the target, and is then asked for each label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import mse_loss

from genvet.attacks.inversion.inverted import Beside, Found, Inverted, Inverting, told
from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.progress import track
from genvet.core.rng import Rng
from genvet.core.scores import Scores
from genvet.core.technique import Probe
from genvet.nets import dcgan
from genvet.nets.first_guesses import shown

LEAST = 1e-6
"""Probabilities below it are taken for it: the network sees logarithms."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Given(Beside):
    """What it is given."""

    public: Images
    """Real images that the attacker has: what the network is trained with."""


class AMI(Inverting, Probe):
    """Inverts a classifier by a network that learned on public images what gives such scores.

    Each public image is shown to the target once; the network learns to give it back from its scores. A label's image
    is what it makes of the scores of somebody whom the target is sure of.
    """

    source: ClassVar[str] = "Yang et al.: Neural network inversion in adversarial setting, CCS 2019, sec. 4"
    smoke: ClassVar[dict[str, Any]] = {"steps": 3, "capacity": 2, "update": 4}

    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 3000
    """Updates of the network."""
    update: Annotated[int, Field(ge=2, le=4096)] = 64
    """Images in one update."""
    capacity: Annotated[int, Field(ge=1, le=1024)] = 16
    """Width of the network."""
    rate: Annotated[float, Field(gt=0)] = 1e-3
    """Of Adam."""
    best: Annotated[int, Field(ge=0)] = 0
    """Of the scores, so many of the largest are kept and the others taken for nothing; all of them where this is 0."""
    alike: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Public images whose scores are taken for those of the label: those that the target takes most for it."""
    sure: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """The probability that the label has in them at least; what it has more, the other classes lose."""

    def __call__(self, target: Scores, given: Given, rng: Rng) -> Inverted:
        labels, before = self.chosen(target.classes), target.used
        side, x = target.shape[-1], shown(given.public.x, target.shape)
        if len(target.shape) != 3 or target.shape[1] != side:
            raise BadInput("this network makes square images", expected="(c, s, s)", got=str(target.shape))
        scores = torch.cat([target(some) for some in x.split(self.batch)])
        asked = target.used - before
        with rng.fork("weights").seeded():
            inverse = dcgan.build(len(target.classes), self.capacity, side, channels=target.shape[0])
        self._trained(inverse.module, self._seen(scores), x, rng)
        wanted = torch.stack([self._wanted(scores, int(k)) for k in labels])
        with torch.no_grad():
            found = inverse(self._seen(wanted))
        return told("ami", target, given, Found(labels=labels, x=found, u=wanted, asked=asked))

    def _wanted(self, scores: Tensor, label: int) -> Tensor:
        """The scores (classes,) that the network is asked to undo."""
        # Unlike the paper: it has a victim's own scores. An even rest beside the label would be like no scores at all.
        best = scores[:, label].topk(min(self.alike, len(scores))).indices
        mean = scores[best].clamp_min(LEAST).log().mean(0).softmax(0)
        own = mean[label].clamp_min(self.sure)
        rest = mean.index_fill(0, torch.tensor([label]), 0.0)
        return (rest / rest.sum().clamp_min(1e-12) * (1 - own)).index_fill(0, torch.tensor([label]), float(own))

    def _seen(self, scores: Tensor) -> Tensor:
        """What the network is told of scores (n, classes): their logarithms, about 0."""
        if self.best:
            least = scores.topk(min(self.best, scores.shape[1]), 1).values[:, -1:]
            scores = torch.where(scores >= least, scores, 0.0)
        logs = scores.clamp_min(LEAST).log()
        return (logs - logs.mean(1, keepdim=True)) / 10

    def _trained(self, network: Any, seen: Tensor, x: Tensor, rng: Rng) -> None:
        network.train().requires_grad_(True)
        optimiser, drawn = torch.optim.Adam(network.parameters(), self.rate), rng.fork("rows").block()
        for _ in track(range(self.steps), self.steps, "learning to undo"):
            rows = torch.randint(len(x), (min(self.update, len(x)),), generator=drawn)
            loss = mse_loss(network(seen[rows]), x[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        network.eval().requires_grad_(False)
