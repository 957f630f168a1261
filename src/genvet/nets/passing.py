"""Samples that pass by, part after part, for as long as a budget lasts: what was seen until it ended is kept."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from genvet.core.errors import BudgetSpent
from genvet.core.progress import track
from genvet.core.queries import Samples
from genvet.core.rng import Rng

PART = 4096
"""Samples at once; each part has a stream of its own, so that nothing has to be drawn again."""


class Passing:
    """Up to n samples of a target, in parts (m, *shape); how many they were is known once they have passed."""

    def __init__(self, target: Samples, n: int, rng: Rng, part: int = PART, least: int = 1) -> None:
        """Fewer than `least` are too few to say anything."""
        self.target, self.n, self.rng, self.part, self.least = target, n, rng, part, min(least, n)
        self.seen, self.cut, self._spent = 0, False, None

    _spent: BudgetSpent | None

    def __iter__(self) -> Iterator[Tensor]:
        """Raises BudgetSpent where there are fewer than `least` in all."""
        counts = [min(self.part, self.n - start) for start in range(0, self.n, self.part)]
        for number, count in enumerate(track(counts, len(counts), f"parts of {self.part} samples")):
            x = self._drawn(count, self.rng.fork(str(number)))
            if x is not None:
                self.seen += len(x)
                yield x
            if self.cut:
                break
        if self.seen < self.least:
            used = getattr(self.target, "used", self.seen)
            raise self._spent or BudgetSpent(used, used)

    def _drawn(self, count: int, rng: Rng) -> Tensor | None:
        """The next part, or as much of it as is paid for."""
        for _ in range(2):  # some targets say what is left only when they refuse
            left = getattr(self.target, "left", None)
            allowed = count if left is None else max(0, min(count, left))
            self.cut = self.cut or allowed < count
            if not allowed:
                return None
            try:
                return self.target.sample(allowed, rng)
            except BudgetSpent as error:
                self._spent, self.cut = error, True
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence where the budget ended them; nothing otherwise."""
        return (f"The budget ended after {self.seen} of {self.n} samples.",) if self.cut else ()
