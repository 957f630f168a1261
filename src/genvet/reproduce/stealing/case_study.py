"""The case study: a StyleGAN is stolen, and the stolen one learns another domain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from genvet.core.report import Claim, Figure
from genvet.core.rng import Rng
from genvet.core.technique import Technique, TrainedGenerator
from genvet.files.convert import load_saved
from genvet.maths.quality import STATISTICS, frechet
from genvet.nets.random_features import NAME, random_features
from genvet.reproduce.cells import Cell, Done, Numbers, Place, Step
from genvet.reproduce.experiment import Experiment, Line, Scale, Spread, Told, below, course, median, table, values
from genvet.reproduce.stealing import SOURCE
from genvet.reproduce.stealing.pictures import SEEDS, differs, target, theft
from genvet.reproduce.stealing.telling import NULLS, chance, differences, fidelity_below_accuracy, lines
from genvet.reproduce.stealing.thefts import CHECKPOINTS, Data, Theft, learned
from genvet.training import shadows
from genvet.training.checkpoints import Folder, kept_by
from genvet.training.starting import Start, begun_from

SHORT: dict[Scale, tuple[int, ...]] = {"smoke": (2,), "small": (30, 100, 300), "paper": (2000, 6000, 20_000)}
"""Steps in the new domain: what is gained by a beginning shows early."""
DOMAINS: dict[Scale, tuple[Data, ...]] = {
    "smoke": ("cifar10",),
    "small": ("mnist", "cifar10"),
    "paper": ("lsun_church",),
}
"""Where a stolen generator is taken to: at small, from garments to what is white on black too, and to what is not."""
BEGUN = {"from the stolen weights": True, "from fresh weights": False}


class Transfer(Cell):
    """A training in another domain, from the stolen weights or from fresh ones."""

    theft: Theft
    to: Data
    steps: Annotated[int, Field(ge=1)]
    stolen: bool
    """Begin with the stolen generator."""
    samples: Annotated[int, Field(ge=20)]

    @property
    def name(self) -> str:
        begun = "stolen" if self.stolen else "fresh"
        return f"{self.theft.target.name}-to-{self.to}-{self.steps}-{begun}-{self.theft.target.seed}"

    def needs(self) -> tuple[Step, ...]:
        return (self.theft.target,)

    def techniques(self) -> tuple[type[Technique], ...]:
        return self.theft.techniques()

    def where(self) -> Mapping[str, object]:
        return {"to": self.to, "stolen": self.stolen, "trained": self.steps, "seed": self.theft.target.seed}

    def __call__(self, place: Place) -> Numbers:
        begun = load_saved(self.theft.kept(place) / "generator.safetensors") if self.stolen else None
        images = learned(place.data, self.to, self.theft.target.size, 0)
        recipe = shadows.recipe(self.theft.attacker).model_copy(
            update={"steps": self.steps, "size": self.theft.target.size}
        )
        x, channels = images.x, self.theft.target.images(place).x.shape[1]
        if x.shape[1] != channels:
            x = x.mean(1, keepdim=True).expand(-1, channels, -1, -1).contiguous()
        folder = Folder(place.cache / "transfers" / self.name / "resume", CHECKPOINTS)
        with kept_by(folder), begun_from(Start(begun)):
            trained = recipe(recipe.gift()(type(images)(x, images.names)), Rng(self.theft.target.seed))
        assert isinstance(trained, TrainedGenerator)
        order = torch.randperm(len(x), generator=Rng(0, "halves").block())
        n = min(self.samples, len(x) // 2)
        one, other = (random_features(x[rows]) for rows in order[: 2 * n].split(n))
        made = random_features(trained.generator.sample(n, Rng(1, "looks")))
        told = {"frechet": frechet(one, made), "kernel": STATISTICS["kernel"](one, made)}
        return {**told, "frechet.null": frechet(one, other)}


class CaseStudy(Experiment):
    """A style generator, stolen by another, and taken to a new domain."""

    title: ClassVar[str] = "Section 7: a StyleGAN is stolen, and learns another domain"
    source: ClassVar[str] = f"{SOURCE}, section 7 (numbers not in what we have)"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(_seeds(scale))

    def told(self, scale: Scale, done: Done) -> Told:
        stolen = lines(done, [(("stolen from a StyleGAN2",), {})])
        moved = [
            Line(
                (f"to {to}, {words}", f"{name} after {steps:,} steps, in {NAME}"),
                None,
                _moved(done, name, to=to, stolen=which, trained=steps),
                chance(_moved(done, f"{name}.null", to=to)),
            )
            for to in DOMAINS[scale]
            for words, which in BEGUN.items()
            for steps in SHORT[scale]
            for name in ("frechet", "kernel")
        ]
        differ = (
            "The paper's target is StyleGAN on LSUN-Bedroom at 256 pixels, and its numbers are not in what we have.",
            "Transfer: a training in another data set, grey where the target is, from both beginnings.",
        )
        return Told(
            (table(self.title, ("network", "measure"), [*stolen, *moved]),),
            tuple(_claims(scale, done)),
            tuple(_chart(scale, done)),
            (*differs(scale), *differ, NULLS),
        )


def _seeds(scale: Scale) -> Iterator[Cell]:
    for seed in range(1, SEEDS[scale] + 1):
        robbed = theft(scale, target(scale, "stylegan2", seed), "stylegan2")
        yield robbed
        usual: dict[str, Any] = {"theft": robbed, "samples": robbed.settings["samples"]}
        for to in DOMAINS[scale]:
            for steps in reversed(SHORT[scale]):
                yield from (Transfer(**usual, to=to, steps=steps, stolen=stolen) for stolen in BEGUN.values())


def _moved(done: Done, name: str, **where: object) -> Spread | None:
    return median(values(done, name, Transfer, **where))


def _chart(scale: Scale, done: Done) -> Iterator[Figure]:
    for to in DOMAINS[scale]:
        series = {
            words: {steps: _moved(done, "frechet", to=to, stolen=which, trained=steps) for steps in SHORT[scale]}
            for words, which in BEGUN.items()
        }
        series[f"two samples of {to}"] = dict.fromkeys(SHORT[scale], _moved(done, "frechet.null", to=to))
        figure = course(f"A stolen generator learns {to}", series, "steps", f"Frechet distance in {NAME}", True)
        if figure:
            yield figure


def _claims(scale: Scale, done: Done) -> Iterator[Claim]:
    yield fidelity_below_accuracy(done, "stealing.case-study.fidelity-below-accuracy")
    for to in DOMAINS[scale]:
        for steps in SHORT[scale]:
            at: dict[str, object] = {"to": to, "trained": steps}
            gain = differences(done, "frechet", at | {"stolen": True}, at | {"stolen": False}, Transfer)
            words = f"distance to {to} after {steps:,} steps from the stolen weights, less that from fresh ones"
            yield below(f"stealing.case-study.stolen-weights-help.{to}-{steps}", gain, 0, words)
