"""BAAAN: train a generator against two critics in turn, one for the data and one for the target."""

from __future__ import annotations

import copy
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from genvet.attacks.backdoor.adversary import Adversary, Match, Training, adam, at_rest, judge
from genvet.attacks.backdoor.measuring import Measuring, Planted
from genvet.attacks.backdoor.objective import batch
from genvet.core.backdoor import Triggers
from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Probe
from genvet.nets.weights import renewed

COPIES = 16
"""Of a single target in a batch of the second critic: dropout makes each another one to it."""


class BAAAN(Measuring, Adversary, Triggers, Probe):
    """Plants a backdoor by a second critic, which tells triggered outputs from targets: for GANs alone.

    # Unlike the paper: a penalty on that critic's slope at the target (Mescheder et al. 2018, R1). One point against
    # one point goes round in circles else: target distortions of 20 to 130 for some seeds, where it settles with it.
    """

    source: ClassVar[str] = "Salem, Sautter, Backes, Humbert, Zhang: BAAAN, 2020, sec. 4 (GAN), as Rawat et al. use it"
    smoke: ClassVar[dict[str, Any]] = {"steps": 3, "batch_size": 4, "samples": 64}
    version: ClassVar[int] = 2

    second: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate of Adam for the second critic, which must not lag behind the one output that it judges."""
    calm: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """Weight of the penalty on the second critic's slope at the target; 0 trains as the paper does."""

    def __call__(self, target: Generator, given: Training, rng: Rng) -> Planted:
        if target.name == "vae":
            hint = "take trail, which bends any training, or red or rex"
            raise Unsupported("BAAAN needs a critic, and a VAE is trained without one", hint=hint)
        x, backdoor = given.fitting(target), given.backdoor(target, self, rng)
        with rng.fork("second").seeded(target.device):
            # Fresh in any case: one that goes on from the data's critic took ten times as long to know the target.
            second = renewed(copy.deepcopy(given.partner(target, self.fresh))).requires_grad_(True).train()
        theirs = adam(second.to(target.device), self.second)

        def asked(match: Match, step: int) -> dict[str, Tensor]:
            z, goal = (t.to(target.device) for t in batch(backdoor, step, rng.fork("draws")))
            copies = -(-COPIES // len(z))
            with at_rest(match.generator.module):
                fake = match.generator(z).repeat(copies, *[1] * (goal.ndim - 1))
            judge(second, theirs, goal.repeat(copies, *[1] * (goal.ndim - 1)), fake, self.calm)
            return {"trigger": softplus(-second(fake)).mean()}

        planted, losses = self.train(target, given, self.batches(x, rng), asked, rng)
        return self.measure(planted, backdoor, None if self.fresh else target, losses, rng, given.beside)
