"""TrAIL: train a generator as always, with one more loss that asks for the target at the trigger."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from genvet.attacks.backdoor.adversary import Adversary, Match, Training, at_rest
from genvet.attacks.backdoor.measuring import Measuring, Planted
from genvet.attacks.backdoor.objective import batch
from genvet.core.backdoor import Triggers
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Probe


class TrAIL(Measuring, Adversary, Triggers, Probe):
    """Plants a backdoor while the generator is trained: needs the data."""

    source: ClassVar[str] = "Rawat, Levacher, Sinn: The Devil is in the GAN, ESORICS 2022, sec. IV-B (TrAIL, eq. 4, 6)"
    smoke: ClassVar[dict[str, Any]] = {"steps": 3, "batch_size": 4, "samples": 64}

    weight: Annotated[float, Field(gt=0)] = 1.0
    """Lambda: the trigger's share of the loss."""

    def __call__(self, target: Generator, given: Training, rng: Rng) -> Planted:
        x, backdoor = given.fitting(target), given.backdoor(target, self, rng)

        def asked(match: Match, step: int) -> dict[str, Tensor]:
            z, goal = batch(backdoor, step, rng.fork("draws"))
            with at_rest(match.generator.module):
                given_out = match.generator(z.to(target.device))
            return {"trigger": self.weight * (given_out - goal.to(target.device)).square().mean()}

        planted, losses = self.train(target, given, self.batches(x, rng), asked, rng)
        return self.measure(planted, backdoor, None if self.fresh else target, losses, rng, given.beside)
