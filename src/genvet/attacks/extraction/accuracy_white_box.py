"""Accuracy extraction from within: the target's critic goes on learning against the thief's own generator."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from genvet.attacks.extraction.refining import Insider, Refining
from genvet.attacks.extraction.stolen import Stolen
from genvet.core.errors import BadInput
from genvet.core.queries import Queries
from genvet.core.rng import Rng
from genvet.core.technique import Probe


class AccuracyWhiteBox(Refining, Probe):
    """Steals with all that lies beside a generator: its critic goes on learning, and real data help.

    # Unlike the paper, which names this attack and gives no algorithm: the definition is ours. Beyond the Metropolis-
    # Hastings attack, the thief may train the target's critic, not only ask it, and may learn from the real data, not
    # only calibrate with them: the thief's critic begins with the target's weights, and `share` of what both networks
    # learn from is real, the rest refined as there.
    """

    source: ClassVar[str] = "Hu, Pang: Stealing Machine Learning Models, ACSAC 2021, appendix A.4.2 (algorithm: ours)"
    smoke: ClassVar[dict[str, Any]] = {
        **{"attacker": "adversarial:steps=2,batch=8,capacity=2,latent=4", "from_critic": False},
        **{"refined": 30, "chain": 5, "samples": 24, "clusters": 3},
    }

    share: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Of what is learned from that is real: real samples are repeated to make that up."""
    from_critic: bool = True
    """Begin with the target's critic, which the attacker's recipe has to have one like; or with a fresh one."""

    def __call__(self, target: Queries, given: Insider, rng: Rng) -> Stolen:
        self.recipe(tuple(target.shape))
        asking = self.asking(target, given, rng)
        how = self.calibrated(given, asking, rng.fork("calibration"))
        loot = self.refine(how, asking, rng)
        real, wanted = given.real.x.float().cpu(), math.ceil(self.share / (1 - self.share) * len(loot.x))
        x = torch.cat([loot.x, real[torch.arange(wanted) % len(real)]])
        more = (
            f"{wanted} of {len(x)} samples that it learned from are real, {min(wanted, len(real))} of them different."
        )
        loot = replace(loot, x=x, notes=(*loot.notes, more))
        try:
            return self.stolen(target, loot, given, rng, given.critic.module if self.from_critic else None)
        except BadInput as error:
            if "this critic" not in error.message:
                raise
            hint = "train the attacker by the target's own recipe and sizes, or with --no-from-critic"
            raise BadInput("the attacker's critic is unlike the target's", got=error.message, hint=hint) from None
