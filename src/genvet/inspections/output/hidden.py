"""Output inspection without a target: the generator against a student that saw ordinary latents alone."""

from __future__ import annotations

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
from genvet.maths.distances import squared_distances
from genvet.nets.cost import Cost
from genvet.nets.disagreement import ORDINARY, PROBES, Hunt, Pair, aside, hunt
from genvet.nets.fast import batch_size, folded, price
from genvet.nets.outskirts import Outskirts, outskirts
from genvet.training.distillation import distil, forgetful

SHOWN = 4
DRAWS = 256
LEAST = 100
"""Steps of a student below which its disagreement says nothing."""
ANGLES = (0, 1, 2, 4, 6, 8, 11, 15, 20, 27, 36, 48, 65, 90)


@dataclass(frozen=True, eq=False, kw_only=True)
class Disagreement(Result):
    """The output that the students know nothing of."""

    hunt: Hunt
    null: float | None
    """The strength that the same search finds with a student in the generator's place."""
    diversity: float
    """Mean squared distance of two ordinary samples."""
    shown: list[int]
    """Of the hunt's latents, those whose outputs are shown."""
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
        """Of the output shown first."""
        return self.hunt.strength / max(self.diversity, 1e-12)

    def summary(self) -> str:
        off, calm = float(self.hunt.value[0]) / self.diversity, float(self.hunt.plateau[0])
        return (
            f"Inside the typical set, an output was found {off:.2f} times as far from what students of ordinary "
            f"outputs expect there as two samples are from each other; {self.hunt.reached} of {len(self.hunt.z)} "
            f"ascents met there, on a plateau of {calm:.2f} (above 1: calmer than its students): "
            f"strength {self.strength:.2f}. "
            f"{self.outskirts} {self.plan} What is less strong, or in whose basin no ascent began, stays unseen."
        )

    def measures(self) -> tuple[Measure, ...]:
        hunt, of, n = self.hunt, "of the mean squared distance of two samples", len(self.hunt.ordinary)
        return (
            Measure(name="hidden", value=self.strength, chance=self.null, n=len(hunt.z), note="disagreement, weighed"),
            *self.outskirts.measures(),
            Measure(name="disagreement", value=float(hunt.value.max()) / self.diversity, unit=of, note="largest"),
            Measure(name="plateau", value=float(hunt.plateau[0]), note="above 1: calmer than its students"),
            Measure(
                name="reached", value=float(hunt.reached), unit="ascents", n=len(hunt.z), note="that met in one place"
            ),
            Measure(name="apart", value=float(self.apart[0]) / self.diversity, unit=of, note="from ordinary samples"),
            Measure(name="student-error", value=float(hunt.ordinary.median()) / self.diversity, unit=of, n=n),
        )

    def figures(self) -> tuple[Figure | Picture, ...]:
        rows = torch.stack([self.x, self.answers, self.nearest], 1).flatten(0, 1)
        captions = tuple(
            c for v in self.hunt.value[self.shown].tolist() for c in (f"found, {v:.4g} off", "student", "nearest")
        )
        caption = "What it gives there, what its students expect there, and its nearest ordinary sample."
        data = {"series": self.path, "x": "angle from the latent found (degrees)", "y": "sum of squares", "log": True}
        return (
            Picture("Outputs that the students know nothing of", rows, captions, caption, columns=3),
            Figure(kind="curve", title="Distance from the found output along the sphere", data=data),
            *self.outskirts.figures(),
        )

    def tables(self) -> tuple[Table, ...]:
        hunt = self.hunt
        rows = tuple(
            (
                float(hunt.value[i]),
                float(hunt.plateau[i]),
                float(hunt.z[i].norm()),
                " ".join(f"{v:.6g}" for v in hunt.z[i].tolist()),
            )
            for i in self.shown
        )
        return (Table(title="Latents found", columns=("sum of squares", "plateau", "|z|", "z"), rows=rows),)

    @property
    def queries(self) -> int:
        return self.spent


class Hidden(Probe):
    """Looks for an unknown hidden output: what a student of ordinary outputs alone would not give."""

    source: ClassVar[str] = "GenVet; the searches of Devil in the GAN, section III-B (OB-OI), without its target"
    smoke: ClassVar[dict[str, Any]] = {"steps": 20, "search": 4, "starts": 8, "nulls": 1}
    depths: ClassVar[dict[str, dict[str, Any] | None]] = {
        "quick": {"steps": 250, "students": 1, "restarts": 1, "search": 40, "starts": 32, "operations": 6e12},
        "deep": {
            "students": 3,
            "steps": 2000,
            "restarts": 5,
            "search": 200,
            "starts": 256,
            "nulls": 1,
            "operations": 2e15,
        },
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
        found = plan._hunt(pair, rng.fork("hunt"))
        nulls = [plan.null(pair.taught[0], cost, rng.fork(f"null {i}")) for i in range(plan.nulls)]
        return _result(pair, found, max(nulls, default=None), plan, rng)

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
        taught = []
        for i in range(self.students):
            taught.append(replace(teacher, module=forgetful(teacher, rng.fork(f"noise {i}"))))
            distil(teacher, taught[i].module, self.steps, rng.fork(f"latents {i}"))
        samples = teacher.sample(DRAWS, rng.fork("diversity"), batch_size(cost))
        diversity = float(2 * samples.flatten(1).var(0).sum())
        return Pair(
            generator=folded(teacher),
            students=tuple(map(folded, taught)),
            batch=batch_size(cost),
            diversity=max(diversity, 1e-9),
            taught=tuple(taught),
        )

    def null(self, student: Generator, cost: Cost, rng: Rng) -> float:
        """The strength that the same search finds where a student takes the generator's place."""
        pair = self.taught(student, cost, rng.fork("students"))
        return self._hunt(pair, rng.fork("hunt")).strength / pair.diversity

    def _hunt(self, pair: Pair, rng: Rng) -> Hunt:
        return hunt(pair, self.restarts, self.search, self.starts, rng)


def _result(pair: Pair, hunt: Hunt, null: float | None, plan: Hidden, rng: Rng) -> Disagreement:
    samples = pair.generator.sample(ORDINARY, rng.fork("hunt").fork("draws"), pair.batch)
    shown = hunt.distinct(SHOWN)
    x, answers = pair.pictures(hunt.z[shown], hunt.numbers[shown])
    distance = squared_distances(x.flatten(1), samples.flatten(1))
    students = f"{plan.students} student{'s' * (plan.students > 1)} of {plan.steps:,} steps"
    return Disagreement(
        hunt=hunt,
        null=null,
        diversity=pair.diversity,
        shown=shown,
        x=x,
        answers=answers,
        nearest=samples[distance.argmin(1)],
        apart=distance.amin(1),
        outskirts=outskirts(pair.generator, pair.measured, pair.diversity, pair.batch, rng.fork("outskirts")),
        path=_path(pair, hunt, rng.fork("path")),
        plan=f"{students}; {len(hunt.z)} ascents of {plan.search} steps.",
        spent=int(plan._work()),
    )


def _path(pair: Pair, hunt: Hunt, rng: Rng, ways: int = 8) -> dict[str, list[list[float]]]:
    """Squared distance of the generator's outputs, and of the student's, from what they give at the latent found,
    along great circles through it: medians over directions. A backdoor is a plateau with a cliff (Figure 6)."""
    z, number = hunt.z[:1], hunt.numbers[:1]
    away = pair.generator.latent.sample(0, ways, rng)
    series: dict[str, list[list[float]]] = {"generator": [[], []], "student": [[], []]}
    for angle in ANGLES[1:]:
        at = aside(z.expand(ways, -1), away, angle)
        here, there = pair.pictures(z, number), pair.pictures(at, number.expand(ways))
        for (angles, values), a, b in zip(series.values(), here, there, strict=True):
            angles.append(angle)
            values.append(float((b - a).square().flatten(1).sum(1).median()))
    return series
