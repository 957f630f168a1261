"""Accuracy extraction: of what the target answers, learn from what its own critic takes for real."""

from __future__ import annotations

from typing import Any, ClassVar

from genvet.attacks.extraction.refining import Insider, Refining
from genvet.attacks.extraction.stolen import Stolen
from genvet.core.queries import Queries
from genvet.core.rng import Rng
from genvet.core.technique import Probe


class AccuracyMH(Refining, Probe):
    """Steals what a generator learned from: its critic picks among its answers, by Metropolis-Hastings.

    Each refined sample costs a chain of raw queries; both numbers are told. The copy is meant to be nearer to the real
    data than the target is, and further from the target.
    """

    source: ClassVar[str] = "Hu, Pang: Stealing Machine Learning Models, ACSAC 2021, appendix A.2, Algorithm 1"
    smoke: ClassVar[dict[str, Any]] = {
        **{"attacker": "adversarial:steps=2,batch=8,capacity=2,latent=4"},
        **{"refined": 30, "chain": 5, "samples": 24, "clusters": 3},
    }

    def __call__(self, target: Queries, given: Insider, rng: Rng) -> Stolen:
        self.recipe(tuple(target.shape))
        asking = self.asking(target, given, rng)
        how = self.calibrated(given, asking, rng.fork("calibration"))
        return self.stolen(target, self.refine(how, asking, rng), given, rng)
