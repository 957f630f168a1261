"""Fidelity extraction: ask, and train a generator of one's own on the answers."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from genvet.attacks.extraction.measuring import Beside
from genvet.attacks.extraction.stolen import Loot, Stealing, Stolen
from genvet.core.errors import BudgetSpent
from genvet.core.queries import Queries
from genvet.core.rng import Rng
from genvet.core.technique import Probe


class Fidelity(Stealing, Probe):
    """Steals a generator by queries alone: a GAN of the attacker's choice learns from the answers.

    Nothing but images comes from the target: no weights, no critic, and no real data. A budget that ends midway leaves
    what was answered until then to learn from.
    """

    source: ClassVar[str] = "Hu, Pang: Stealing Machine Learning Models, ACSAC 2021, black-box fidelity extraction"
    smoke: ClassVar[dict[str, Any]] = {
        **{"attacker": "adversarial:steps=2,batch=8,capacity=2,latent=4"},
        **{"queries": 40, "samples": 24, "clusters": 3},
    }

    queries: Annotated[int, Field(ge=2, le=100_000_000)] = 10_000
    """Latents that the target is sent; what it answers is learned from."""

    def __call__(self, target: Queries, given: Beside, rng: Rng) -> Stolen:
        self.recipe(tuple(target.shape))  # says what is wrong with it before a query is spent
        asking = self.asking(target, given, rng)
        x = asking.ask(self.queries)
        if not len(x):
            raise BudgetSpent(asking.asked, asking.asked)
        notes: tuple[str, ...] = ()
        if asking.asked < self.queries:
            notes = (f"The budget ended it after {asking.asked} of {self.queries} queries.",)
        return self.stolen(target, Loot(x=x, asked=asking.asked, notes=notes), given, rng)
