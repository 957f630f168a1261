"""MIRROR by queries alone: a genetic search in P for images of a classifier's classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.inversion.course import Course
from genvet.attacks.inversion.inverted import LAST, Against, Found, Inverted, Looking, told
from genvet.core.errors import Unsupported
from genvet.core.generator import StyleGenerator
from genvet.core.progress import track
from genvet.core.rng import Rng
from genvet.core.scores import Scores
from genvet.core.technique import Probe
from genvet.nets.first_guesses import first_guesses, shown
from genvet.nets.latent_spaces import LatentSpace
from genvet.nets.p_space import PSpace, to_p, to_w


class MirrorBlackBox(Looking, Probe):
    """Inverts a classifier by queries alone: images of its classes, bred in P from the best samples.

    Every generation keeps its best; the others are children of two, drawn by their scores, number by number from the
    better one more often; some numbers move a little; and all stay in a box about the mean of P.
    """

    source: ClassVar[str] = "An et al.: MIRROR, NDSS 2022, Algorithm 2"
    smoke: ClassVar[dict[str, Any]] = {
        "samples": 32,
        "population": 6,
        "generations": 2,
        "moments": 512,
        "trust_p": True,
    }

    population: Annotated[int, Field(ge=2, le=100_000)] = 200
    """Images of each generation, for each label; the paper's code takes 1,000."""
    generations: Annotated[int, Field(ge=0, le=100_000)] = 50
    """The most for each label; the paper's code takes 100."""
    enough: Annotated[float, Field(gt=0, le=1)] = 0.95
    """A label is done once the target is so sure of its best image."""
    mutation: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the numbers that move."""
    reach: Annotated[float, Field(ge=0)] = 0.1
    """How far at most, in standard deviations of P."""
    c: Annotated[float, Field(gt=0)] = 1.0
    """Half the box's side, in standard deviations of P."""
    crossover: Literal["paper", "released"] = "paper"
    """Whom a child takes more of: the better parent; or the worse one, as in the code that the authors released, which
    weighs by logarithms of probabilities."""
    moments: Annotated[int, Field(ge=2, le=10_000_000)] = 20_000
    """Latents over which mean and spread of P are taken."""
    trust_p: bool = False
    """Search in P though it is far from normal."""

    def __call__(self, target: Scores, given: Against, rng: Rng) -> Inverted:
        if not isinstance(given.prior, StyleGenerator):
            raise Unsupported("this search goes through P, which style generators have", hint="take one as the prior")
        prior, labels, before = given.prior, self.chosen(target.classes), target.used
        p = PSpace.of(prior, self.moments, rng.fork("moments"))
        space = LatentSpace(generator=prior, name="w", border="box", c=self.c, p=p if self.trust_p else p.checked())

        def ask(x: Tensor) -> Tensor:
            return target(shown(x, target.shape))

        n = max(self.samples, self.population)
        guesses = first_guesses(prior, ask, labels, self.population, n, rng.fork("samples"))
        with torch.no_grad():
            begin = to_p(prior.mapping(guesses.z.flatten(0, 1).to(prior.device))).cpu()
        begin, view = begin.view(len(labels), self.population, -1), self.looking(target, rng)
        earlier = target.used - before - view.used
        herd = Herd(self, space, p, begin, labels, view, rng)
        note = herd.bred()
        u = to_w(herd.best)[:, None]
        found = Found(
            labels=labels,
            x=space.rendered(u),
            u=u,
            asked=target.used - before,
            start=LatentSpace(generator=prior).rendered(guesses.z[:, :1]),
            course=Course.of_rounds([(earlier + used, top) for used, top in herd.noted]),
            notes=(note,) * bool(note),
        )
        return told("mirror", target, given, found)


@dataclass(eq=False)
class Herd:
    """The populations of all labels, bred side by side: one batch of queries asks for every label that is not done."""

    how: MirrorBlackBox
    space: LatentSpace
    p: PSpace
    points: Tensor
    """p of every member, (labels, population, w_dim)."""
    labels: Tensor
    target: Scores
    rng: Rng

    def __post_init__(self) -> None:
        everybody = self.points.shape[:2]
        self.points = to_p(self.space.kept(to_w(self.points)))
        self.score = torch.full(everybody, -torch.inf, dtype=torch.float64)
        self.best = self.points[:, 0].clone()
        self.top = torch.full((len(self.labels),), -torch.inf, dtype=torch.float64)
        self.noted: list[tuple[int, Tensor]] = []

    def bred(self) -> str:
        """Breed to the end; gives a word on what stopped it before."""
        everybody = torch.arange(len(self.labels))
        for generation in track(range(-1, self.how.generations), self.how.generations + 1, "generations"):
            going = (self.top < self.how.enough).nonzero()[:, 0] if generation >= 0 else everybody
            if not len(going):
                break
            if not self._affords(len(going)):
                return "The budget of queries ended the search."
            for k in going.tolist() if generation >= 0 else ():
                self.points[k] = self._children(k, generation)
            self._judge(going)
            self.noted.append((self.target.used, self.top.clone()))
        return ""

    def _affords(self, labels: int) -> bool:
        """Whether one more generation of so many labels is paid for, and a last look at what came of it all."""
        left = self.target.left
        return left is None or left >= labels * self.points.shape[1] + LAST * len(self.labels)

    def _judge(self, which: Tensor) -> None:
        """Ask for every member of these labels, and remember the best."""
        points = self.points[which].flatten(0, 1)
        label = self.labels[which].repeat_interleave(self.points.shape[1])
        scores = [
            self._asked(some).gather(1, mine[:, None])[:, 0]
            for some, mine in zip(points.split(self.how.batch), label.split(self.how.batch), strict=True)
        ]
        self.score[which] = torch.cat(scores).view(len(which), -1).cpu()
        value, place = self.score[which].max(1)
        better = value > self.top[which]
        self.top[which[better]] = value[better]
        self.best[which[better]] = self.points[which[better], place[better]]

    def _asked(self, points: Tensor) -> Tensor:
        return self.target(shown(self.space.rendered(to_w(points)[:, None]), self.target.shape)).double()

    def _children(self, k: int, generation: int) -> Tensor:
        """The next generation of one label: its best, and children of parents drawn by their scores."""
        rng = self.rng.fork(f"label {int(self.labels[k])}").block(generation)
        points, score = self.points[k], self.score[k].clamp_min(1e-30)
        n, size = points.shape
        parents = torch.multinomial(score, 2 * (n - 1), replacement=True, generator=rng).view(2, -1)
        first, second = score[parents]
        if self.how.crossover == "released":
            first, second = first.log().clamp_max(-1e-12), second.log().clamp_max(-1e-12)
        share = (first / (first + second))[:, None]
        from_first = torch.rand(n - 1, size, generator=rng) < share
        children = torch.where(from_first, points[parents[0]], points[parents[1]])
        moved = torch.rand(n - 1, size, generator=rng) < self.how.mutation
        by = (2 * torch.rand(n - 1, size, generator=rng) - 1) * self.how.reach * self.p.sigma
        children = to_p(self.space.kept(to_w(children + moved * by)))
        return torch.cat([points[score.argmax()][None], children])
