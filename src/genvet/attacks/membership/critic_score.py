"""What the critic says: it learned to tell the training images from others, and may know each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.membership.exposed import Exposed, exposed
from genvet.attacks.membership.records import Exposing, Records
from genvet.core.data import Critic
from genvet.core.errors import BadInput, BudgetSpent
from genvet.core.queries import Samples
from genvet.core.rng import Rng
from genvet.core.technique import Probe
from genvet.nets.judging import scores_of


@dataclass(frozen=True, eq=False, kw_only=True)
class Given(Records):
    """What it is given."""

    critic: Critic
    """The generator's own, or that of a generator which somebody trained on its samples."""
    reference_critic: Critic | None = None
    """Of a generator that saw neither set: its score is taken off, and what is real to any critic does not count."""


class CriticScore(Exposing, Probe):
    """Tells members by the score that the critic gives them: its own, or that of a stolen model."""

    source: ClassVar[str] = "Hayes et al.: LOGAN, PoPETs 2019, sec. 4 (white box, and black box through a stolen model)"
    smoke: ClassVar[dict[str, Any]] = {"samples": 32}

    samples: Annotated[int, Field(ge=0, le=1_000_000)] = 1000
    """Samples of the generator that the critic is shown, to see where they lie."""
    batch: Annotated[int, Field(ge=1, le=4096)] = 256
    """Images at once; the result does not depend on it."""

    def __call__(self, target: Samples, given: Given, rng: Rng) -> Exposed:
        cohort = self.cohort(given, given.critic.shape)
        own = scores_of(given.critic, cohort.x, self.batch)
        scores = {"the critic's score": own}
        if given.reference_critic is not None:
            if tuple(given.reference_critic.shape) != tuple(given.critic.shape):
                expected, got = str(given.critic.shape), str(given.reference_critic.shape)
                raise BadInput("the reference's critic looks at other images", expected=expected, got=got)
            scores["less the reference's"] = own - scores_of(given.reference_critic, cohort.x, self.batch)
        asked, notes = self._beside(target, given.critic, own[: cohort.members], rng) if self.samples else (0, ())
        return exposed(self, "critic", cohort, scores, rng, asked=asked, notes=notes)

    def _beside(self, target: Samples, critic: Critic, own: Tensor, rng: Rng) -> tuple[int, tuple[str, ...]]:
        """How many samples the generator gave, and where they lie, in words. No score rests on them."""
        left = getattr(target, "left", None)
        count = self.samples if left is None else min(self.samples, left)
        try:
            made = target.sample(count, rng.fork("samples")) if count else None
        except BudgetSpent:  # of a target that did not say what is left
            made = None
        if made is None:
            return 0, ("No sample was shown to the critic: the budget is spent.",)
        if tuple(made.shape[1:]) != tuple(critic.shape):
            expected, got = str(tuple(made.shape[1:])), str(tuple(critic.shape))
            raise BadInput("the critic does not look at this generator's images", expected=expected, got=got)
        median = float(scores_of(critic, made, self.batch).median())
        share = float((own > torch.tensor(median)).double().mean())
        cut = () if count == self.samples else (f"The budget ended after {count} of {self.samples} samples.",)
        return count, (f"{share:.0%} of the members are above the median of the generator's own samples.", *cut)
