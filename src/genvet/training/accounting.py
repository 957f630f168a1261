"""How much a training has told of any one record: Opacus' accountants of the Gaussian mechanism on a random sample."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Literal

from genvet.core.errors import BadInput, Unsupported

Accountant = Literal["prv", "rdp"]
ALIKE = 0.001
"""How near the noise comes to the epsilon that is asked for, as a share of it; it never passes."""


@contextmanager
def accountants() -> Iterator[Any]:
    """Those of Opacus; raises Unsupported where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that another order might give a smaller epsilon: the one that is given holds
        try:
            from opacus import accountants  # type: ignore[import-untyped]
        except ImportError:
            hint = "pip install 'genvet[privacy]'"
            raise Unsupported("private training is accounted for by the extra `privacy`", hint=hint) from None
        yield accountants


def version() -> str:
    from importlib.metadata import version

    return version("opacus")


def named(by: Accountant) -> str:
    """As a record tells it."""
    return f"{by.upper()} of Opacus {version()}"


@lru_cache(maxsize=64)
def spent(noise: float, rate: float, steps: int, delta: float, by: Accountant = "prv") -> float:
    """Epsilon at `delta` after so many noisy sums, each over records drawn at this rate; 0 after none.

    >>> spent(1.0, 0.01, 0, 1e-5)
    0.0
    """
    if not steps:
        return 0.0
    with accountants() as of:
        accountant = {"prv": of.PRVAccountant, "rdp": of.RDPAccountant}[by]()
        accountant.history = [(noise, rate, steps)]
        return float(accountant.get_epsilon(delta=delta))


@lru_cache(maxsize=64)
def noise_for(epsilon: float, delta: float, rate: float, steps: int, by: Accountant = "prv") -> float:
    """The least noise, in units of the clipping norm, that keeps so many steps within epsilon; raises BadInput."""
    kept = {"target_epsilon": epsilon, "target_delta": delta, "epsilon_tolerance": ALIKE * epsilon}
    try:
        with accountants() as of:
            return float(of.utils.get_noise_multiplier(**kept, sample_rate=rate, steps=steps, accountant=by))
    except (ValueError, RuntimeError, MemoryError) as error:
        raise BadInput(f"no noise gives epsilon {epsilon} at delta {delta:g}", got=str(error)) from None


def affordable(epsilon: float, noise: float, delta: float, rate: float, most: int, by: Accountant = "prv") -> int:
    """How many steps stay within epsilon, up to `most`."""
    if spent(noise, rate, most, delta, by) <= epsilon:
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if spent(noise, rate, middle, delta, by) <= epsilon else (low, middle)
    return low


class Course:
    """The budget while a training runs: a bound after every step, at the price of a sum.

    Renyi's orders add up step by step, and what the accountant says of the whole run bounds every part of it.
    """

    def __init__(self, noise: float, rate: float, delta: float, whole: float) -> None:
        with accountants() as of:
            self.orders = list(of.RDPAccountant.DEFAULT_ALPHAS)
            self._rdp = of.analysis.rdp
            self.each = self._rdp.compute_rdp(q=rate, noise_multiplier=noise, steps=1, orders=self.orders)
        self.delta, self.whole = delta, whole

    def after(self, steps: int) -> float:
        """Epsilon after so many steps, at most."""
        if not steps:
            return 0.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            epsilon, _ = self._rdp.get_privacy_spent(orders=self.orders, rdp=self.each * steps, delta=self.delta)
        return min(float(epsilon), self.whole)
