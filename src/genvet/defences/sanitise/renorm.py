"""Renorm: batch norms keep what ordinary latents give them, and forget what an attacker set."""

from __future__ import annotations

import copy
from typing import Annotated, Any, ClassVar

from pydantic import Field

from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Repair
from genvet.nets.weights import latents, remeasured, with_module


class Renorm(Repair):
    """Measures the statistics of all batch norms again, from the model's own ordinary latents."""

    source: ClassVar[str] = (
        "Zheng et al.: Pre-activation Distributions Expose Backdoor Neurons, NeurIPS 2022, sec. 4 (BNP)"
    )
    smoke: ClassVar[dict[str, Any]] = {"samples": 256}

    samples: Annotated[int, Field(ge=256, le=1_000_000)] = 10_240
    """Latents of the prior that the statistics come from, in batches of 256."""

    def __call__(self, target: Generator, given: Nothing, rng: Rng) -> Generator:
        module = copy.deepcopy(target.module).eval()
        if not remeasured(module, latents(target, self.samples, rng.fork("samples"))):
            raise Unsupported("this model has no batch norms", hint="distil, forget and prune need none")
        return with_module(target, module)
