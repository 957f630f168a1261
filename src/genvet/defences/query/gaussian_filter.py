"""A Gaussian filter on every image: fine detail is taken out of what is given away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from genvet.core.queries import Queries
from genvet.core.rng import Rng
from genvet.core.technique import Guard, Nothing
from genvet.maths.delivery import blurred
from genvet.nets.between import Between, Outgoing, pictured
from genvet.nets.undoing import Knowing, deblurred


class GaussianFilter(Guard):
    """Blurs every image.

    The same latent always gets the same answer, and so nothing averages away; but a blur whose width is known, or
    guessed, can be inverted as far as the noise and the 256 steps of a file allow.
    """

    source: ClassVar[str] = (
        "Hu, Pang: Stealing Machine Learning Models: Attacks and Countermeasures for Generative Adversarial Networks, "
        "ACSAC 2021, A.5"
    )
    smoke: ClassVar[dict[str, Any]] = {"sigma": 0.7}

    sigma: Annotated[float, Field(gt=0, le=64)] = 1.0
    """Standard deviation of the filter, in pixels."""

    def __call__(self, view: Queries, given: Nothing, rng: Rng) -> Between:
        return Outgoing(pictured(view, "a filter"), lambda x, asked: blurred(x, self.sigma))

    def known(self) -> Mapping[str, Callable[[Queries], Queries]]:
        """What an attacker who knows it does: invert it."""
        return {"inverts the filter": lambda view: Knowing(view, lambda x: deblurred(x, self.sigma))}
