"""Distil: a fresh network of the same make learns the model's ordinary outputs, and nothing else."""

from __future__ import annotations

import copy
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Repair
from genvet.nets.weights import fresh, latents, noised, remeasured, with_module
from genvet.training.distillation import distil


class Distil(Repair):
    """Replaces the model by a student of the same architecture that learned its ordinary outputs."""

    source: ClassVar[str] = "Rawat, Levacher, Sinn: The Devil is in the GAN, ESORICS 2022, app. B; Aguinaldo 2019"
    smoke: ClassVar[dict[str, Any]] = {"steps": 3, "latents": 4}

    start: Literal["fresh", "noised"] = "fresh"
    """fresh: start weights as of a new network, as in the paper; noised: the model's own with noise, much faster."""
    noise: Annotated[float, Field(ge=0, le=100)] = 1.0
    """noised: standard deviation of the noise, in those of each weight tensor; much less and the backdoor may stay."""
    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 3000
    """Updates of the student."""
    latents: Annotated[int, Field(ge=2, le=4096)] = 32
    """Latents of the prior in one update."""
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate of Adam."""

    def __call__(self, target: Generator, given: Nothing, rng: Rng) -> Generator:
        student, new = copy.deepcopy(target.module), self.start == "fresh"
        student = fresh(student, rng.fork("weights")) if new else noised(student, self.noise, rng.fork("noise"))
        remeasured(student.eval(), latents(target, 1024, rng.fork("norms")))
        # Fresh weights need batch norms that move with them: with fixed ones the outputs run into the ends of a tanh.
        draws = rng.fork("latents")
        distil(target, student, self.steps, draws, batch=self.latents, rate=self.rate, train_norms=new)
        return with_module(target, student)
