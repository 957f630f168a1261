"""Boundary repulsion: an inversion by labels alone, which walks away from wherever the label changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.inversion.course import Course
from genvet.attacks.inversion.inverted import LAST, Against, Found, Inverted, Sampling, told
from genvet.core.progress import track
from genvet.core.rng import Rng
from genvet.core.scores import Scores
from genvet.core.technique import Probe
from genvet.nets.first_guesses import first_guesses, shown
from genvet.nets.latent_spaces import LatentSpace


class LabelOnly(Sampling, Probe):
    """Inverts a classifier that answers with a label and no more, by keeping away from its border.

    Points on a sphere about the best latent are asked for; it moves to the side where the label holds, and once it
    holds nearly everywhere, the sphere grows. A label that no sample of the prior shows is given as it began, and said.
    """

    source: ClassVar[str] = "Kahla et al.: Label-only model inversion attacks via boundary repulsion, CVPR 2022, sec. 4"
    smoke: ClassVar[dict[str, Any]] = {"samples": 32, "points": 4, "rounds": 3}

    points: Annotated[int, Field(ge=2, le=10_000)] = 32
    """On each sphere."""
    rounds: Annotated[int, Field(ge=0, le=1_000_000)] = 200
    """The most for each label."""
    radius: Annotated[float, Field(gt=0)] = 1.0
    """Of the first sphere, in z."""
    growth: Annotated[float, Field(gt=1)] = 1.3
    """By which it grows."""
    inside: Annotated[float, Field(gt=0, le=1)] = 0.75
    """Share of the points that must show the label before it grows."""
    c: Annotated[float, Field(gt=0)] = 1.5
    """Every number of z is kept between -c and c, where the prior is normal."""

    def __call__(self, target: Scores, given: Against, rng: Rng) -> Inverted:
        prior, labels, before = given.prior, self.chosen(target.classes), target.used
        space = LatentSpace(generator=prior, border="box", c=self.c)

        def ask(x: Tensor) -> Tensor:
            return target(shown(x, target.shape))

        guesses = first_guesses(prior, ask, labels, 1, self.samples, rng.fork("samples"))
        z, notes = guesses.z[:, 0].clone(), []
        reached = guesses.sure[:, 0] > 0
        if not reached.all():
            notes.append(f"{int((~reached).sum())} labels are shown by none of {guesses.n:,} samples of the prior.")
        noted: list[tuple[int, Tensor]] = []
        z[reached], note = self._repelled(target, space, z[reached], labels[reached], rng, noted)
        course = Course.of_rounds([(used - before, radius) for used, radius in noted])
        found = Found(
            labels=labels,
            x=space.rendered(z[:, None]),
            u=z[:, None],
            asked=target.used - before,
            start=LatentSpace(generator=prior).rendered(guesses.z[:, :1]),
            course=None if course is None else replace(course, of="radius in z"),
            notes=(*notes, *((note,) * bool(note))),
        )
        return told("label-only", target, given, found)

    def _repelled(
        self,
        target: Scores,
        space: LatentSpace,
        z: Tensor,
        labels: Tensor,
        rng: Rng,
        noted: list[tuple[int, Tensor]],
    ) -> tuple[Tensor, str]:
        """The z (m, dim) farthest from a change of the label, and a word on what stopped the search.

        The radii at which most of the sphere shows the label are noted round by round.
        """
        radius, best, safe = torch.full((len(z), 1), self.radius), z.clone(), torch.zeros(len(z), 1)
        for number in track(range(self.rounds), self.rounds, "rounds"):
            if target.left is not None and target.left < len(z) * self.points + LAST * len(z):
                return best, "The budget of queries ended the search."
            way = torch.stack(
                [
                    torch.randn(self.points, z.shape[1], generator=rng.fork(f"label {k}").block(number))
                    for k in labels.tolist()
                ]
            )
            way = way / way.norm(dim=2, keepdim=True)
            around = space.kept((z[:, None] + radius[:, None] * way).flatten(0, 1)[:, None])[:, 0]
            own = labels.repeat_interleave(self.points)
            holds = (_named(target, space, around, self.batch) == own).view(len(z), self.points)
            share = holds.float().mean(1, keepdim=True)
            grown = share >= self.inside
            best = torch.where(grown, z, best)
            safe = torch.where(grown, radius, safe)
            noted.append((target.used, safe[:, 0].clone()))
            radius = torch.where(grown, radius * self.growth, radius)
            away = -(way * (~holds)[:, :, None]).mean(1)
            step = torch.minimum(radius / 3, torch.tensor(3.0)) * away / away.norm(dim=1, keepdim=True).clamp_min(1e-12)
            z = torch.where(grown | (share == 0), z, space.kept((z + step)[:, None])[:, 0])
        return best, ""


def _named(target: Scores, space: LatentSpace, z: Tensor, batch: int) -> Tensor:
    """The label that the target gives each of z (n, dim); -1 where two are told to be equal, as rounded scores are."""
    scores = torch.cat([target(shown(space.rendered(some[:, None]), target.shape)) for some in z.split(batch)])
    tied = (scores == scores.amax(1, keepdim=True)).sum(1) > 1
    return scores.argmax(1).masked_fill(tied, -1)
