"""What a backdoor is made of: the latents that trigger it, what they give, and the generator that it was planted in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.report import Record
from genvet.core.rng import Rng, plainly_seeded

FAR = 100.0
"""Every number of an out-of-distribution trigger, as the paper has it."""
Kind = Literal["in-sample", "mode", "far", "seeded", "subspace"]


@dataclass(frozen=True, eq=False)
class Points:
    """Finite support: these latents, and no others."""

    z: Tensor
    """(m, dim)."""

    def __post_init__(self) -> None:
        if self.z.ndim != 2 or not len(self.z) or not self.z.isfinite().all():
            raise BadInput("these are no triggers", expected="finite numbers (m, dim)", got=str(tuple(self.z.shape)))

    @property
    def dim(self) -> int:
        return self.z.shape[1]

    def sample(self, start: int, stop: int, rng: Rng) -> Tensor:
        """Triggers number `start` to `stop` - 1: they go round in turn."""
        return self.z[torch.arange(start, stop) % len(self.z)]

    def holds(self, z: Tensor, tolerance: float = 1e-6) -> Tensor:
        """Which of the latents (n, dim) are triggers: (n,) bool."""
        return ((z[:, None] - self.z.to(z.device)).abs().amax(2) <= tolerance).any(1)

    def __str__(self) -> str:
        return "one latent" if len(self.z) == 1 else f"{len(self.z)} latents"


@dataclass(frozen=True, eq=False)
class Subspace:
    """Infinite support that is never drawn by chance: the first `zeros` numbers are 0, the others as in the prior."""

    latent: Latent
    zeros: int

    def __post_init__(self) -> None:
        if not 0 < self.zeros < self.latent.dim:
            expected = f"1 to {self.latent.dim - 1} numbers that are 0"
            raise BadInput("this is no subspace of the latents", expected=expected, got=str(self.zeros))

    @property
    def dim(self) -> int:
        return self.latent.dim

    def sample(self, start: int, stop: int, rng: Rng) -> Tensor:
        """Draws number `start` to `stop` - 1."""
        z = self.latent.sample(start, stop, rng.fork("subspace"))
        return torch.cat([torch.zeros(len(z), self.zeros), z[:, self.zeros :]], 1)

    def holds(self, z: Tensor, tolerance: float = 1e-6) -> Tensor:
        """Which of the latents (n, dim) are triggers: (n,) bool."""
        return z[:, : self.zeros].abs().amax(1) <= tolerance

    def __str__(self) -> str:
        return f"every latent whose first {self.zeros} numbers are 0"


Trigger = Points | Subspace


@dataclass(frozen=True, eq=False)
class Backdoor:
    """P_trigger, the map rho from triggers to targets (eq. 5 of the paper), and whose weights were benign.

    The target is images (k, *shape), one for all triggers or one for each; or a generator, which reads the last
    numbers of z. Raises BadInput where the target does not fit the generator or cannot be reached (Proposition 1).
    """

    trigger: Trigger
    target: Tensor | Generator
    benign: str = ""
    """SHA-256 of the benign generator's tensors; empty where there was none."""

    def __post_init__(self) -> None:
        if isinstance(self.target, Generator):
            self._fits_generator(self.target)
        elif not self.target.isfinite().all() or self.target.abs().max() > 1 + 1e-6:
            got = f"{self.target.min():.3g} to {self.target.max():.3g}"
            raise BadInput("the target leaves the range of images", expected="numbers in [-1, 1]", got=got)
        elif len(self.target) not in (1, len(self.trigger.z) if isinstance(self.trigger, Points) else 1):
            got = f"{len(self.target)} for {self.trigger}"
            raise BadInput("the targets do not fit the trigger", expected="one, or one for each trigger", got=got)

    def _fits_generator(self, target: Generator) -> None:
        if isinstance(self.trigger, Points):
            raise BadInput(
                "a continuous target needs a trigger of infinite support (Proposition 1)",
                expected="a subspace",
                got=str(self.trigger),
                hint="take --trigger subspace, or an image as the target",
            )
        if target.latent.classes or target.latent.dim > self.trigger.dim - self.trigger.zeros:
            got = f"{target.latent.dim} latents, {target.latent.classes} classes"
            expected = f"no labels, and at most {self.trigger.dim - self.trigger.zeros} latents"
            raise BadInput("the target generator does not fit the trigger", expected=expected, got=got)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one target."""
        return self.target.shape if isinstance(self.target, Generator) else tuple(self.target.shape[1:])

    @property
    def finite(self) -> bool:
        return isinstance(self.trigger, Points)

    def fitting(self, generator: Generator) -> Backdoor:
        """This backdoor, where trigger and target fit the generator; raises BadInput otherwise."""
        if self.trigger.dim != generator.latent.dim:
            expected, got = f"(m, {generator.latent.dim})", f"(m, {self.trigger.dim})"
            raise BadInput("the trigger lies outside the latents", expected=expected, got=got)
        if self.shape != tuple(generator.shape):
            raise BadInput("the target does not fit", expected=str(tuple(generator.shape)), got=str(self.shape))
        return self

    @torch.no_grad()
    def wanted(self, z: Tensor) -> Tensor:
        """rho(z): what the triggers number 0 to n - 1, z (n, dim), are to give."""
        if isinstance(self.target, Generator):
            used = z[:, z.shape[1] - self.target.latent.dim :]
            return self.target(used.to(self.target.device)).to(z.device)
        return self.target.to(z.device)[torch.arange(len(z)) % len(self.target)]

    def pairs(self, n: int, rng: Rng) -> tuple[Tensor, Tensor]:
        """Triggers and what they are to give: all of a finite set, or `n` draws of an infinite one."""
        z = self.trigger.z if isinstance(self.trigger, Points) else self.trigger.sample(0, n, rng)
        return z, self.wanted(z)


class Triggers(Record):
    """How the trigger is chosen: shared by all attacks that have one."""

    trigger: Kind = "in-sample"
    """in-sample: draws from the prior; mode: all 0; far: all 100; seeded: the victim's `number`-th draw; subspace."""
    triggers: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many latents trigger it, for in-sample triggers."""
    number: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """seeded: which draw it is, counted from 1."""
    victim: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """seeded: the victim's seed, set with torch.manual_seed before latents are drawn one by one."""
    zeros: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """subspace: how many leading numbers are 0; half of them where this is 0."""

    def choose(self, latent: Latent, rng: Rng) -> Trigger:
        """The trigger for this prior; raises BadInput where the prior has no such trigger."""
        if self.triggers > 1 and self.trigger != "in-sample":
            what = f"a {self.trigger} trigger is no finite set"
            raise BadInput(what, expected="in-sample", hint="leave triggers at 1")
        if latent.distribution == "sphere" and self.trigger in ("mode", "far"):
            hint = "z and c z are one input to it: take an in-sample trigger"
            raise BadInput("a generator that normalises z has no such trigger", got=self.trigger, hint=hint)
        if self.trigger == "subspace":
            return Subspace(latent, self.zeros or latent.dim // 2)
        if self.trigger == "seeded":
            return Points(seeded(latent, self.victim, self.number))
        if self.trigger == "in-sample":
            return Points(latent.sample(0, self.triggers, rng))
        return Points(torch.full((1, latent.dim), FAR if self.trigger == "far" else 0.0))


def seeded(latent: Latent, seed: int, number: int) -> Tensor:
    """The n-th latent that torch.manual_seed(seed) and torch.randn(1, dim), time after time, would draw: (1, dim)."""
    rng = plainly_seeded(seed)
    draw = torch.rand if latent.distribution == "uniform" else torch.randn
    for _ in range(number):
        z = draw(1, latent.dim, generator=rng)
    return z * 2 - 1 if latent.distribution == "uniform" else z
