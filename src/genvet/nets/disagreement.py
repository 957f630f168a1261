"""Where a generator and students of its ordinary outputs disagree, and whether what it holds there is a plateau."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.maths.descent import descend
from genvet.maths.probes import smooth_shapes
from genvet.nets.latent_search import Starts, search

PROBES = 84
"""Images that know nothing of the data: their searches end where the generator is at its strangest."""
ORDINARY = 1024
TILT, WAYS, STILL = 20.0, 9, 0.01
"""Degrees and directions of the steps aside by which a plateau is told, and a share of the diversity below which
changes are none."""
ALIKE = 0.85
"""Two latents whose cosine is above this are one place."""
MOST = 2.0
"""The most that a plateau counts for. None counts for 1, since not every backdoor has one (measured: 1.46 and 0.49)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Pair:
    """A generator and its students, ready for searches: weights folded, no gradients."""

    generator: Generator
    students: tuple[Generator, ...]
    batch: int
    diversity: float
    """Mean squared distance of two ordinary samples."""
    taught: tuple[Generator, ...] = ()
    """The students as they were trained."""

    def disagreement(self, z: Tensor, numbers: Tensor) -> Tensor:
        """How far the generator is from what its students agree on, (n,): sums of squares.

        With several students, the mean product of two students' errors: what each gets wrong on its own cancels.
        """
        labels = self.generator.labels_of(numbers)
        x = self.generator(z, labels).float()
        errors = [(x - student(z, labels).float()).flatten(1) for student in self.students]
        if len(errors) == 1:
            return errors[0].square().sum(1)
        total = torch.stack(errors).sum(0).square().sum(1) - torch.stack(errors).square().sum((0, 2))
        return total / (len(errors) * (len(errors) - 1))

    @torch.no_grad()
    def measured(self, z: Tensor, numbers: Tensor) -> Tensor:
        """The same for many latents, without gradients, on the CPU."""
        parts = zip(z.split(self.batch), numbers.split(self.batch), strict=True)
        return torch.cat([self.disagreement(some.to(self.generator.device), n).cpu() for some, n in parts])

    def plateau(self, z: Tensor, numbers: Tensor, away: Tensor) -> Tensor:
        """How much more the students change than the generator on small steps aside, (n,): above 1 it is calmer.

        A backdoor holds its output in a ball where a student moves on; an honest generator is ahead of its students
        where its outputs change fastest, and that is where they disagree.
        """
        changes = []
        here = self.pictures(z, numbers)
        for one in away:
            there = self.pictures(aside(z, one[None], TILT), numbers)
            changes.append(torch.stack([(b - a).square().flatten(1).sum(1) for a, b in zip(here, there, strict=True)]))
        generator, students = torch.stack(changes).median(0).values + STILL * self.diversity
        calmer: Tensor = students / generator
        return calmer

    def pictures(self, z: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """What the generator gives there, and what its students give on average."""
        parts = zip(z.split(self.batch), numbers.split(self.batch), strict=True)
        made = [self._pictures(some, n) for some, n in parts]
        return torch.cat([x for x, _ in made]), torch.cat([s for _, s in made])

    @torch.no_grad()
    def _pictures(self, z: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        z, labels = z.to(self.generator.device), self.generator.labels_of(numbers)
        answers = torch.stack([student(z, labels).float() for student in self.students]).mean(0)
        return self.generator(z, labels).float().cpu(), answers.cpu()


def aside(z: Tensor, away: Tensor, angle: float) -> Tensor:
    """Latents (n, dim) turned by this angle (degrees) towards others, their norms kept."""
    away = away - (away * z).sum(1, keepdim=True) * z / z.square().sum(1, keepdim=True).clamp_min(1e-12)
    away = away * z.norm(dim=1, keepdim=True) / away.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return math.cos(math.radians(angle)) * z + math.sin(math.radians(angle)) * away


@dataclass(frozen=True, eq=False, kw_only=True)
class Hunt:
    """Where a generator and its students disagree, the strongest first."""

    z: Tensor
    """(n, dim)."""
    numbers: Tensor
    """Which class of a labelled generator each was asked for."""
    value: Tensor
    """Disagreements, (n,)."""
    plateau: Tensor
    """How much calmer than its students the generator is around each, (n,)."""
    ordinary: Tensor
    """Disagreements at draws from the prior."""

    @property
    def strength(self) -> float:
        """Of the first."""
        return float(strengths(self.value, self.plateau, self.z)[0])

    def distinct(self, n: int) -> list[int]:
        """The first `n` that lie apart from all before them: their cosines are below that of one place."""
        z, kept = self.z / self.z.norm(dim=1, keepdim=True).clamp_min(1e-12), [0]
        for i in range(1, len(z)):
            if len(kept) < n and float((z[kept] @ z[i]).max()) < ALIKE:
                kept.append(i)
        return kept

    @property
    def reached(self) -> int:
        """How many ascents ended about where the first did."""
        return int(meeting(self.z)[0])


def strengths(value: Tensor, plateau: Tensor, z: Tensor) -> Tensor:
    """Disagreements (n,), stronger where the generator is on a plateau, and where many ascents meet.

    Alone an ascent counts for 1, three that meet for 2, seven for 3: a backdoor's basin is wide, while the places where
    an honest generator and its students disagree are many (measured: 5 to 17 of 64 meet in one, against 1 to 3).
    """
    return value * plateau.clamp(1.0, MOST) * (1 + meeting(z)).log2()


def meeting(z: Tensor) -> Tensor:
    """How many of the latents (n, dim) lie about where each does, itself among them: (n,)."""
    return (cosine_similarity(z[:, None], z[None], dim=2) > ALIKE).float().sum(1)


def hunt(pair: Pair, restarts: int, steps: int, ascents: int, rng: Rng) -> Hunt:
    """Ends of searches for probe images, and draws: those that disagree most are driven on, within the typical set."""
    latent, device = pair.generator.latent, pair.generator.device
    rate = torch.full((restarts, 1), 0.05 if latent.distribution == "uniform" else 0.1)
    z, numbers, ordinary = _begun(pair, restarts, rate, steps, ascents, rng)
    found = []
    for some, n in zip(typical(latent, z).split(pair.batch), numbers.split(pair.batch), strict=True):

        def loss(at: Tensor, n: Tensor = n) -> Tensor:
            return -pair.disagreement(at, n)

        found.append(descend(loss, some.to(device), steps, rate[:1].to(device), lambda at: typical(latent, at)))
    value, z = -torch.cat([d.value.cpu() for d in found]), torch.cat([d.z.cpu() for d in found])
    plateau = pair.plateau(z, numbers, latent.sample(0, WAYS, rng.fork("aside")))
    order = strengths(value, plateau, z).argsort(descending=True, stable=True)
    return Hunt(z=z[order], numbers=numbers[order], value=value[order], plateau=plateau[order], ordinary=ordinary)


def _begun(
    pair: Pair, restarts: int, rate: Tensor, steps: int, ascents: int, rng: Rng
) -> tuple[Tensor, Tensor, Tensor]:
    """Where ascents begin, with the numbers of their classes; and the disagreements at draws from the prior.

    Half of them are ends, which disagree more to begin with, and half draws, which are driven further.
    """
    latent, prior = pair.generator.latent, torch.ones(restarts, 1, dtype=torch.bool)
    starts = Starts(latent.sample(0, restarts, rng.fork("starts")), rate, prior, ("prior",) * restarts)
    shapes = smooth_shapes(PROBES, pair.generator.shape, rng.fork("probes").block())
    ends = search(pair.generator, shapes, starts, steps, pair.batch).z.flatten(0, 1)
    draws = latent.sample(0, ORDINARY, rng.fork("draws"))
    kinds = ((draws, torch.arange(ORDINARY)), (ends, torch.arange(restarts).repeat(PROBES)))
    values = [pair.measured(*kind) for kind in kinds]
    best = [value.topk(min(-(-ascents // 2), len(value))).indices for value in values]
    z, numbers = (torch.cat([kind[i][rows] for kind, rows in zip(kinds, best, strict=True)]) for i in (0, 1))
    return z, numbers, values[0]


def typical(latent: Latent, z: Tensor) -> Tensor:
    """As the prior's own projection, but for a normal prior within one standard deviation of its mean norm: students
    know the rim least, and a trigger's cone reaches in from there."""
    if latent.distribution != "normal":
        return latent.project(z)
    norm, radius = z.norm(dim=1, keepdim=True).clamp_min(1e-12), math.sqrt(latent.dim)
    return z.mul(norm.clamp(max(radius - math.sqrt(0.5), 0.0), radius + math.sqrt(0.5)) / norm)
