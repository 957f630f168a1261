"""MIRROR with the weights of the target: images of its classes through a style generator."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.inversion.course import Course
from genvet.attacks.inversion.inverted import Against, Found, Inverted, Sampling, told
from genvet.core.classifier import Classifier
from genvet.core.rng import Rng
from genvet.core.technique import Probe
from genvet.maths.consistency import TOP, consistent, selected
from genvet.maths.counted import uniform
from genvet.maths.identity_losses import LOSSES, Kind
from genvet.nets.first_guesses import first_guesses, shown
from genvet.nets.inverting import Ended, Pace, invert
from genvet.nets.latent_spaces import Border, LatentSpace, Name
from genvet.nets.p_space import PSpace
from genvet.nets.target_dropout import Thinned


def scores(target: Classifier, x: Tensor) -> Tensor:
    """Logarithms of the target's probabilities, (n, classes), for images of the prior."""
    return target.logits(shown(x, target.shape)).double().log_softmax(1)


class Mirror(Sampling, Probe):
    """Inverts a classifier: images of its classes, found through a generator by gradients.

    Many samples of the prior are shown to the target; from the best for each label a search goes on in W, each number
    of P kept within one standard deviation, with another part of the target dropped at every step. Of several results,
    the surest among those whose likeliest labels agree is given.
    """

    source: ClassVar[str] = "An et al.: MIRROR, NDSS 2022, Algorithm 1 and sec. IV"
    smoke: ClassVar[dict[str, Any]] = {"samples": 64, "restarts": 2, "steps": 4, "moments": 512, "trust_p": True}

    space: Name = "w"
    """Where the search goes: z, w, or one of them for each layer."""
    border: Border = "box"
    """What keeps it near ordinary latents: a box about their mean, a shell where they lie, or nothing."""
    c: Annotated[float, Field(gt=0)] = 1.0
    """Half the box's side, in standard deviations."""
    energy: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the distance from ordinary latents (Mahalanobis, in P) in the loss: in place of a border."""
    truncation: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Pulls w towards its mean before the synthesis. The paper's code has 0.7 in the first 8 layers, the paper none."""
    cutoff: Annotated[int, Field(ge=1)] | None = None
    """How many of the first layers that is for; all unless given."""
    restarts: Annotated[int, Field(ge=1, le=1000)] = 8
    """Searches for each label, from its best samples."""
    steps: Annotated[int, Field(ge=0, le=1_000_000)] = 1000
    """Of each search; the paper takes up to 20,000."""
    rate: Annotated[float, Field(gt=0)] = 0.25
    """Step size; it rises over the first twentieth of the steps and falls over the last quarter."""
    optimiser: Literal["adam", "descent"] = "adam"
    """Adam as the paper's code has it, or plain gradient descent."""
    loss: Kind = "cross-entropy"
    """What is made small."""
    dropout: bool = True
    """Drop some channels and units of the target, anew for every row and step."""
    consistency: Annotated[int, Field(ge=0, le=TOP)] = 2
    """Of the results, those agree that have so many of their five likeliest labels in common; 0 takes the surest."""
    mirror: bool = False
    """Show the target every second image mirrored: for faces, not for letters."""
    enough: Annotated[float, Field(gt=0, le=1)] = 1.0
    """A search ends early once the whole target is so sure of the label."""
    moments: Annotated[int, Field(ge=2, le=10_000_000)] = 20_000
    """Latents over which mean and spread of P are taken."""
    trust_p: bool = False
    """Keep to the border though P of this generator is far from normal."""

    def __call__(self, target: Classifier, given: Against, rng: Rng) -> Inverted:
        labels = self.chosen(target.classes)
        space = self.searched(given, rng)
        n, drawn = max(self.samples, self.restarts), rng.fork("samples")
        guesses = first_guesses(given.prior, partial(scores, target), labels, self.restarts, n, drawn)
        begin = space.kept(space.start(guesses.z.flatten(0, 1).to(given.prior.device)))
        ended = self.ended(target, space, labels.repeat_interleave(self.restarts), begin, rng)
        best, notes = self.picked(target, space, ended, len(labels))
        u = ended.u.view(len(labels), self.restarts, *ended.u.shape[1:])[torch.arange(len(labels)), best]
        found = Found(
            labels=labels,
            x=space.rendered(u),
            u=u.cpu(),
            asked=guesses.n + ended.passes,
            start=LatentSpace(generator=given.prior).rendered(guesses.z[:, :1]),
            course=Course.of_steps(ended, len(labels)),
            notes=notes,
        )
        return told("mirror", target, given, found)

    def searched(self, given: Against, rng: Rng) -> LatentSpace:
        """The space of the prior that the search goes through, with its border."""
        p = None
        if self.space in ("w", "w+") and (self.border != "none" or self.energy):
            p = PSpace.of(given.prior, self.moments, rng.fork("moments"))  # type: ignore[arg-type]
            p = p if self.trust_p else p.checked()
        return LatentSpace(
            generator=given.prior,
            name=self.space,
            border=self.border,
            c=self.c,
            p=p,
            truncation=self.truncation,
            cutoff=self.cutoff,
        )

    def ended(self, target: Classifier, space: LatentSpace, labels: Tensor, begin: Tensor, rng: Rng) -> Ended:
        """The searches of all labels and restarts, in one batch as far as it pays."""
        measure, seed = LOSSES[self.loss], rng.fork("steps").block().initial_seed() >> 1
        thinned = Thinned(target, seed) if self.dropout else None
        labels = labels.to(begin.device)

        def loss(u: Tensor, row: Tensor, step: Tensor) -> Tensor:
            x = shown(space.images(u), target.shape)
            if self.mirror:
                turned = uniform(seed + 1, row, step, 1) < 0.5
                x = torch.where(turned[:, :, None, None], x.flip(3), x)
            with thinned.at(row, step) if thinned else nullcontext():
                value = measure(target.logits(x), labels[row])
            return value + self.energy * space.energy(u) if self.energy else value

        def look(u: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
            logits = target.logits(shown(space.images(u), target.shape)).double()
            return measure(logits, labels[row]), logits.softmax(1).gather(1, labels[row][:, None])[:, 0]

        pace = Pace(steps=self.steps, rate=self.rate, optimiser=self.optimiser, batch=self.batch, enough=self.enough)
        return invert(begin, loss, look, space.kept, pace)

    @torch.no_grad()
    def picked(
        self, target: Classifier, space: LatentSpace, ended: Ended, labels: int
    ) -> tuple[Tensor, tuple[str, ...]]:
        """The number of each label's result, (labels,), and how many of them agreed."""
        sure = -ended.loss.view(labels, self.restarts).cpu()
        if not self.consistency or len(target.classes) <= self.consistency:
            return sure.argmax(1), ()
        top = []
        for u in ended.u.split(self.batch):
            p = scores(target, space.images(u))
            top.append(p.topk(min(TOP, p.shape[1]), 1).indices.cpu())
        tops = torch.cat(top).view(labels, self.restarts, -1)
        best = [selected(t, s, self.consistency) for t, s in zip(tops, sure, strict=True)]
        agreed = [int(consistent(t, s, self.consistency).sum()) for t, s in zip(tops, sure, strict=True)]
        mean = sum(agreed) / max(len(agreed), 1)
        return torch.tensor(best), (f"On average {mean:.1f} of {self.restarts} searches for a label agree.",)
