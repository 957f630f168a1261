"""What every recipe of a private generator shares: its knobs, the noise that follows, and what it may promise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from genvet.core.errors import BadInput, Unsupported
from genvet.core.technique import Technique
from genvet.training.accounting import Accountant, affordable, named, noise_for, spent
from genvet.training.clipping import Clipping, parted_noise
from genvet.training.team import team

ADJACENCY = "one image added or removed"
HOLDS = (
    "against whoever does not know the seed and has not seen losses or checkpoints; the number of images is taken for "
    "known; weights that the training began with must have seen none of them; random numbers are not cryptographic"
)


class Promising(Technique):
    """The knobs of differential privacy."""

    chosen_by: ClassVar[tuple[str, ...]] = ("--epsilon", "--noise")
    """Options that choose the recipe where none is named."""
    may_change: ClassVar[frozenset[str]] = frozenset({"steps", "rate"})

    epsilon: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """The budget at this delta: the noise follows from it. With a noise, the training stops where it is spent."""
    noise: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Standard deviation of the noise, in units of the clipping norm."""
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    """The chance that the statement fails: well below one over the number of images."""
    clip: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Largest norm of one image's gradient; where it adapts, the first one."""
    clipping: Clipping = "flat"
    """Of the whole gradient, of each layer's or each output channel's share, or by a norm that follows a quantile."""
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the gradients that an adaptive norm leaves as they are; learning it costs noise, which is counted."""
    critic_steps: Annotated[int, Field(ge=1, le=1000)] = 4
    """Noisy updates of the critic for one of the generator: noise averages out, and each is paid for."""
    accountant: Accountant = "prv"
    """What adds the steps up: by the distribution of the privacy loss (tighter, seconds), or by Renyi's orders."""
    together: Annotated[int, Field(ge=1, le=4096)] = 64
    """Images whose gradients are in memory at once; the result does not depend on it beyond rounding."""

    if TYPE_CHECKING:  # fields of the recipe that it is mixed into
        batch: int
        steps: int

    def spread(self, n: int) -> float:
        """The noise that is asked for, or that keeps `n` images within epsilon; raises BadInput without either."""
        by_one_process()
        if self.epsilon is None and self.noise is None:
            expected = "--epsilon (at --delta), --noise, or both"
            raise BadInput("how private is it to be?", expected=expected, hint="both: it stops where epsilon is spent")
        of_so_many(n, self.delta, self.batch)
        if self.noise is not None:
            return self.noise
        assert self.epsilon is not None
        return noise_for(self.epsilon, self.delta, self.batch / n, self.steps * self.critic_steps, self.accountant)

    def affordable(self, n: int, noise: float) -> int:
        """Updates of the generator that the budget is enough for, `steps` at most; raises BadInput for none."""
        if self.epsilon is None:
            return self.steps
        most, rate = self.steps * self.critic_steps, self.batch / n
        steps = affordable(self.epsilon, noise, self.delta, rate, most, self.accountant) // self.critic_steps
        if not steps:
            one = spent(noise, rate, self.critic_steps, self.delta, self.accountant)
            raise BadInput(
                f"a budget of epsilon {self.epsilon:g} is not enough for one step",
                expected=f"{one:.4g} or more, or more noise than {noise:g}",
            )
        return steps

    def noised(self) -> str:
        """Where there is noise, and why not elsewhere."""
        return "the critic's gradients; the generator sees the critic alone"

    def promised(self, n: int, noise: float, sums: int, norm: float) -> dict[str, Any]:
        """What holds for any of `n` images after so many noisy sums, with all that an epsilon means nothing without."""
        adaptive = self.clipping == "adaptive"
        summed, counted = parted_noise(noise, self.batch) if adaptive else (noise, 0.0)
        of = {"noise_of_sums": summed, "noise_of_counts": counted, "last_clip": norm} if adaptive else {}
        return {
            "privacy": {
                "epsilon": spent(noise, self.batch / n, sums, self.delta, self.accountant),
                "delta": self.delta,
                "adjacency": ADJACENCY,
                "accountant": named(self.accountant),
                "noise": noise,
                "clip": self.clip,
                "clipping": self.clipping,
                **of,
                "sample_rate": self.batch / n,
                "sampling": "Poisson",
                "steps": sums,
                "images": n,
                "noised": self.noised(),
                "holds": HOLDS,
            }
        }


def by_one_process() -> None:
    """Raises Unsupported where there are several: each would have a part of the sum, and noise of its own."""
    if team().size > 1:
        raise Unsupported("private training is for one process", hint="--devices 1")


def of_so_many(n: int, delta: float, batch: int) -> None:
    """Raises BadInput where `n` images are too few for this delta or this batch."""
    if delta * n >= 1 or batch > n:
        expected = f"a delta below {1 / n:.2g}, and a batch of {n} at most"
        raise BadInput(f"there are {n} images", expected=expected, got=f"{delta:g} and {batch}")


KEPT_BACK = ("seed", "data", "loss", "judged")
"""What a released file does not tell: whoever has the seed can take the noise away again, the fingerprint confirms a
guess of the whole data, and losses and distances were measured on it without noise."""


def published(told: Mapping[str, Any]) -> dict[str, Any]:
    """As much of a record as a released file holds: all of it, unless it promises privacy.

    >>> published({"seed": 3, "steps": 5, "privacy": {}})
    {'steps': 5, 'privacy': {}}
    """
    return {name: value for name, value in told.items() if "privacy" not in told or name not in KEPT_BACK}
