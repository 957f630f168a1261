"""Scores with few decimals, or of the likeliest classes alone: what an attacker can no longer tell apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field
from torch import Tensor

from genvet.core.rng import Rng
from genvet.core.scores import Scores, told
from genvet.core.technique import Guard, Nothing
from genvet.defences.query.altered import Altered, normalised
from genvet.nets.looking_again import LOOKS, OWN, LookingAgain


class Rounding(Guard):
    """Rounds the scores that a classifier answers with, or tells the largest few alone.

    Images that the classifier likes a little more or less get the same answer: a search that climbs by scores stands on
    a step. What it cannot hide is which class is the likeliest, and an attack by labels needs no more.
    """

    source: ClassVar[str] = (
        "Fredrikson et al.: Model inversion attacks that exploit confidence information, CCS 2015, sec. 6; "
        "Tramer et al.: Stealing machine learning models via prediction APIs, 2016, sec. 7"
    )
    smoke: ClassVar[dict[str, Any]] = {"decimals": 1}

    decimals: Annotated[
        Annotated[int, Field(ge=0, le=6)] | None, BeforeValidator(lambda n: n if n != "none" else None)
    ] = 2
    """Of each score; `none` leaves them whole."""
    best: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """So many of the largest scores are told, and 0 for all others; every one unless given."""
    renormalised: bool = False
    """Let what is told sum to 1 again, which brings back some of what was rounded away."""

    def __call__(self, view: Scores, given: Nothing, rng: Rng) -> Altered:
        few = self.best is not None and self.best < len(view.classes)
        return Altered(view, self._told, "top_k" if few else None)

    def known(self) -> Mapping[str, Callable[[Scores], LookingAgain]]:
        """What an attacker who knows it does: the share of noisy copies on either side of a step is a score again."""
        # About as much as moves a score by a step; more of it would tell of other images than the one at hand.
        jitter = 0.05 if self.decimals is None else 0.3 / 10**self.decimals
        return {f"looks at {LOOKS} noisy copies": lambda view: LookingAgain(view, LOOKS, jitter, OWN)}

    def _told(self, x: Tensor, scores: Tensor) -> Tensor:
        if self.best is not None:
            scores = told(scores, "top_k", min(self.best, scores.shape[1]))
        if self.decimals is not None:
            scores = scores.round(decimals=self.decimals)
        return normalised(scores) if self.renormalised else scores
