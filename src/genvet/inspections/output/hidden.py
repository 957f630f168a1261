"""Output inspection without a target: the generator against a student that saw ordinary latents alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.errors import TooCostly
from genvet.core.generator import Generator
from genvet.core.report import Figure, Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Picture, Probe, Result
from genvet.maths.descent import descend
from genvet.maths.distances import squared_distances
from genvet.maths.probes import smooth_shapes
from genvet.nets.cost import Cost
from genvet.nets.fast import batch_size, folded, price
from genvet.nets.latent_search import Starts, search
from genvet.nets.outskirts import Outskirts, outskirts
from genvet.training.distillation import distil, forgetful

PROBES = 84
"""Images that know nothing of the data: their searches end where the generator is at its strangest."""
ORDINARY = 1024
SHOWN = 4
LEAST = 100
"""Steps of a student below which its disagreement says nothing."""
ANGLES = (0, 1, 2, 4, 6, 8, 11, 15, 20, 27, 36, 48, 65, 90)


@dataclass(frozen=True, eq=False, kw_only=True)
class Pair:
    """A generator and its students, ready for searches: weights folded, no gradients."""

    generator: Generator
    students: tuple[Generator, ...]
    batch: int

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

    @torch.no_grad()
    def pictures(self, z: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """What the generator gives there, and what its students give on average."""
        z, labels = z.to(self.generator.device), self.generator.labels_of(numbers)
        answers = torch.stack([student(z, labels).float() for student in self.students]).mean(0)
        return self.generator(z, labels).float().cpu(), answers.cpu()


@dataclass(frozen=True, eq=False, kw_only=True)
class Hunt:
    """Where a generator and its students disagree most, the most first."""

    z: Tensor
    """(n, dim)."""
    numbers: Tensor
    """Which class of a labelled generator each was asked for."""
    value: Tensor
    """Disagreements, (n,)."""
    ordinary: Tensor
    """Disagreements at draws from the prior."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Disagreement(Result):
    """The output that the students know nothing of."""

    hunt: Hunt
    null: float
    """The largest disagreement in the same search of a student against a student of its own; 0 where none was made."""
    diversity: float
    """Mean squared distance of two ordinary samples."""
    x: Tensor
    answers: Tensor
    nearest: Tensor
    apart: Tensor
    """Distance of each found output to the nearest of ordinary samples."""
    outskirts: Outskirts
    path: dict[str, list[list[float]]]
    plan: str
    spent: int

    @property
    def strength(self) -> float:
        return float(self.hunt.value[0]) / max(self.diversity, 1e-12)

    def summary(self) -> str:
        said = (
            f"A student that learnt from ordinary latents alone is contradicted most by an output {self.strength:.2f} "
            "times as far from its own answer as two ordinary samples are from each other"
        )
        if self.null:
            said += f" ({self.strength * self.diversity / self.null:.2f} times the same between two students)"
        return f"{said}. {self.outskirts} {self.plan} A backdoor that the search does not reach stays unseen."

    def measures(self) -> tuple[Measure, ...]:
        middle, n = float(self.hunt.ordinary.median()), len(self.hunt.ordinary)
        null = self.null / max(self.diversity, 1e-12) if self.null else None
        of = "of the mean squared distance of two samples"
        return (
            Measure(name="hidden", value=self.strength, unit=of, chance=null),
            Measure(
                name="against-null", value=self.strength / null if null else None, note="the same search of a student"
            ),
            *self.outskirts.measures(),
            Measure(name="student-error", value=middle / max(self.diversity, 1e-12), unit=of, n=n, note="median"),
            Measure(name="found-apart", value=float(self.apart[0]) / max(self.diversity, 1e-12), unit=of),
        )

    def figures(self) -> tuple[Figure | Picture, ...]:
        rows = torch.stack([self.x, self.answers, self.nearest], 1).flatten(0, 1)
        captions = tuple(c for v in self.hunt.value.tolist() for c in (f"found, {v:.4g} off", "student", "nearest"))
        caption = "What it gives there, what its students expect there, and its nearest ordinary sample."
        data = {"series": self.path, "x": "angle from the latent found (degrees)", "y": "sum of squares", "log": True}
        return (
            Picture("Outputs that the students know nothing of", rows, captions[: len(rows)], caption, columns=3),
            Figure(kind="curve", title="Distance from the found output along the sphere", data=data),
            *self.outskirts.figures(),
        )

    def tables(self) -> tuple[Table, ...]:
        rows = [
            (i + 1, float(v), float(z.norm()), " ".join(f"{value:.6g}" for value in z.tolist()))
            for i, (v, z) in enumerate(zip(self.hunt.value[:SHOWN], self.hunt.z, strict=False))
        ]
        return (Table(title="Latents found", columns=("rank", "sum of squares", "|z|", "z"), rows=tuple(rows)),)

    @property
    def queries(self) -> int:
        return self.spent


class Hidden(Probe):
    """Looks for an unknown hidden output: what a student of ordinary outputs alone would not give."""

    source: ClassVar[str] = "GenVet; the searches of Devil in the GAN, section III-B (OB-OI), without its target"
    smoke: ClassVar[dict[str, Any]] = {"steps": 20, "search": 4, "starts": 8, "nulls": 1}
    depths: ClassVar[dict[str, dict[str, Any] | None]] = {
        "quick": {"steps": 250, "students": 1, "restarts": 1, "search": 40, "starts": 32, "operations": 6e12},
        "deep": {"students": 3, "steps": 2000, "restarts": 5, "search": 200, "starts": 256, "operations": 2e15},
    }
    signals: ClassVar[dict[str, str]] = {
        "hidden": "an output inside the typical set that its students contradict",
        "mode": "an output at the centre of the latents that its students contradict",
        "far": "an output far outside that is less extreme than in other directions",
        "subspace": "leading numbers of z whose absence makes all outputs alike",
    }

    steps: int = Field(default=900, ge=1)
    """Updates of each student, of 32 latents each."""
    students: int = Field(default=2, ge=1, le=8)
    """Students that have to agree with one another against the generator."""
    restarts: int = Field(default=2, ge=1)
    """Searches from the prior for each of 84 probe images; their ends are where the ascents begin."""
    search: int = Field(default=100, ge=1)
    """Steps of Adam in each search, and in each ascent."""
    starts: int = Field(default=64, ge=1)
    """Ascents: half begin at the ends, half at draws of 1,024, where the disagreement is largest already."""
    nulls: int = Field(default=0, ge=0, le=16)
    """Times that the same is done with a student in the generator's place, which holds nothing hidden."""
    operations: float = Field(default=1e14, gt=0)
    """Where it costs more floating-point operations, the nulls go first, then steps are lowered."""

    def __call__(self, target: Generator, given: Nothing, rng: Rng) -> Disagreement:
        cost = price(target)
        plan = self.affordable(cost)
        pair = plan.taught(target, cost, rng.fork("students"))
        hunt = plan.hunt(pair, rng.fork("hunt"))
        nulls = [plan.null(pair.students[0], cost, rng.fork(f"null {i}")) for i in range(plan.nulls)]
        return _result(target, pair, hunt, max(nulls, default=0.0), plan, rng)

    def affordable(self, cost: Cost) -> Hidden:
        """The same with fewer nulls, then fewer steps, as the operations allow; raises TooCostly below 100 steps."""
        plan = self
        while plan.nulls and plan._work() * cost.operations > self.operations:
            plan = plan.model_copy(update={"nulls": plan.nulls - 1})
        share = self.operations / (plan._work() * cost.operations)
        if share >= 1:
            return plan
        if share * self.steps < min(LEAST, self.steps):
            least = plan._work() * cost.operations * LEAST / self.steps
            raise TooCostly("a student of this generator", cost=least, allowed=self.operations)
        fewer = {"steps": int(self.steps * share), "search": max(1, int(self.search * share))}
        return plan.model_copy(update=fewer)

    def _work(self) -> float:
        """Forward passes that it comes to: a backward one counts as two."""
        teaching = self.students * self.steps * 32 * 4
        searching = 3 * self.search * (PROBES * self.restarts + self.starts * (1 + self.students))
        return (1 + self.nulls) * (teaching + searching + 2 * ORDINARY)

    def taught(self, teacher: Generator, cost: Cost, rng: Rng) -> Pair:
        """The generator with students of its own."""
        students = []
        for i in range(self.students):
            module = forgetful(teacher, rng.fork(f"noise {i}"))
            distil(teacher, module, self.steps, rng.fork(f"latents {i}"))
            students.append(folded(replace(teacher, module=module)))
        return Pair(generator=folded(teacher), students=tuple(students), batch=batch_size(cost))

    def null(self, student: Generator, cost: Cost, rng: Rng) -> float:
        """The largest disagreement that the same search finds between a student and students of its own."""
        pair = self.taught(student, cost, rng.fork("students"))
        return float(self.hunt(pair, rng.fork("hunt")).value[0])

    def hunt(self, pair: Pair, rng: Rng) -> Hunt:
        """Ends of searches for probe images, and draws: those that disagree most are driven further."""
        latent = pair.generator.latent
        drawn, count = latent.sample(0, ORDINARY, rng.fork("draws")), self.restarts
        rate = torch.full((count, 1), 0.05 if latent.distribution == "uniform" else 0.1)
        typical = torch.ones(count, 1, dtype=torch.bool)
        starts = Starts(latent.sample(0, count, rng.fork("starts")), rate, typical, ("prior",) * count)
        shapes = smooth_shapes(PROBES, pair.generator.shape, rng.fork("probes").block())
        ends = search(pair.generator, shapes, starts, self.search, pair.batch).z.flatten(0, 1)
        # Half from each: ends disagree more to begin with, and draws are driven further.
        kinds = ((drawn, torch.arange(ORDINARY)), (ends, torch.arange(count).repeat(PROBES)))
        values = [pair.measured(*kind) for kind in kinds]
        best = [value.topk(min(-(-self.starts // 2), len(value))).indices for value in values]
        z = torch.cat([kind[0][rows] for kind, rows in zip(kinds, best, strict=True)])
        numbers = torch.cat([kind[1][rows] for kind, rows in zip(kinds, best, strict=True)])
        found = [
            descend(
                lambda at, n=n: -pair.disagreement(at, n),
                some.to(pair.generator.device),
                self.search,
                rate[:1].to(pair.generator.device),
                latent.project,
            )
            for some, n in zip(z.split(pair.batch), numbers.split(pair.batch), strict=True)
        ]
        value = -torch.cat([d.value.cpu() for d in found])
        order = value.argsort(descending=True, stable=True)
        z = torch.cat([d.z.cpu() for d in found])[order]
        return Hunt(z=z, numbers=numbers[order], value=value[order], ordinary=values[0])


def _result(target: Generator, pair: Pair, hunt: Hunt, null: float, plan: Hidden, rng: Rng) -> Disagreement:
    samples = pair.generator.sample(ORDINARY, rng.fork("hunt").fork("draws"), pair.batch)
    diversity = float(2 * samples.flatten(1).var(0).sum())
    x, answers = pair.pictures(hunt.z[:SHOWN], hunt.numbers[:SHOWN])
    distance = squared_distances(x.flatten(1), samples.flatten(1))
    students = f"{plan.students} student{'s' * (plan.students > 1)} of {plan.steps:,} steps"
    return Disagreement(
        hunt=hunt,
        null=null,
        diversity=diversity,
        x=x,
        answers=answers,
        nearest=samples[distance.argmin(1)],
        apart=distance.amin(1),
        outskirts=outskirts(pair.generator, pair.measured, diversity, pair.batch, rng.fork("outskirts")),
        path=_path(pair, hunt, rng.fork("path")),
        plan=f"{students}; {len(hunt.z)} ascents of {plan.search} steps.",
        spent=int(plan._work()),
    )


def _path(pair: Pair, hunt: Hunt, rng: Rng, ways: int = 8) -> dict[str, list[list[float]]]:
    """Squared distance of the generator's outputs, and of the student's, from what they give at the latent found,
    along great circles through it: medians over directions. A backdoor is a plateau with a cliff (Figure 6)."""
    z, number = hunt.z[:1], hunt.numbers[:1]
    away = pair.generator.latent.sample(0, ways, rng)
    away = away - (away @ z.T) * z / z.square().sum().clamp_min(1e-12)
    away = away * z.norm() / away.norm(dim=1, keepdim=True).clamp_min(1e-12)
    series: dict[str, list[list[float]]] = {"generator": [[], []], "student": [[], []]}
    for angle in ANGLES[1:]:
        at = math.cos(math.radians(angle)) * z + math.sin(math.radians(angle)) * away
        here, there = pair.pictures(z, number), pair.pictures(at, number.expand(ways))
        for (angles, values), a, b in zip(series.values(), here, there, strict=True):
            angles.append(angle)
            values.append(float((b - a).square().flatten(1).sum(1).median()))
    return series
