"""The simplest use of a prior: the sample that the target takes most for the label, and no search."""

from __future__ import annotations

from typing import Any, ClassVar

from genvet.attacks.inversion.inverted import Against, Found, Inverted, Sampling, told
from genvet.core.rng import Rng
from genvet.core.scores import Scores
from genvet.core.technique import Probe
from genvet.nets.first_guesses import first_guesses, shown


class BestSample(Sampling, Probe):
    """Gives for each label the best of the prior's samples: what a search has to do better than.

    The same samples serve all labels. A search of equal cost may show the target as many images for one label alone.
    """

    source: ClassVar[str] = 'An et al.: MIRROR, NDSS 2022, the baseline "Sample" of Table VI'
    smoke: ClassVar[dict[str, Any]] = {"samples": 64}

    def __call__(self, target: Scores, given: Against, rng: Rng) -> Inverted:
        labels, before = self.chosen(target.classes), target.used

        def ask(x: Any) -> Any:
            return target(shown(x, target.shape))

        guesses = first_guesses(given.prior, ask, labels, 1, self.samples, rng.fork("samples"))
        z = guesses.z[:, 0]
        x = given.prior(z.to(given.prior.device)).float().clamp(-1, 1).detach().cpu()
        return told("best sample", target, given, Found(labels=labels, x=x, u=z, asked=target.used - before))
