"""Makes the pruned twins of a generator, by threshold, by share and by channels, and measures each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from genvet.core.errors import Unsupported
from genvet.core.generator import Generator, StyleGenerator
from genvet.core.progress import track
from genvet.core.rng import Rng
from genvet.nets.channels import Score, fitting, shrunk
from genvet.nets.pruning import Criterion, Values, Weight, below, equalised, least, sparsity, weights, without, worth
from genvet.nets.upkeep import Bytes, Took, race, size_of
from genvet.studies.measuring import Look, Yardstick

By = Criterion | Literal["channels", "random channels"]
WHOLE: dict[str, Score] = {"channels": "contribution", "random channels": "random"}
"""What takes whole channels out, and how they are chosen."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Cut:
    """One pruned twin, measured."""

    by: By
    sparsity: float
    """Share of all weights that are gone."""
    kept: int
    look: Look
    threshold: float | None = None
    """Of the raw weights; None where it was cut by sparsity."""


@dataclass(frozen=True, eq=False)
class Cutter:
    """Makes the twins, and measures each."""

    target: Generator
    known: Mapping[str, Weight]
    yard: Yardstick
    start: Generator | None
    rng: Rng
    whole: bool
    """Whether it is all of the network that is cut: channels are cut nowhere else."""
    missing: dict[str, str] = field(default_factory=dict)
    """What could not be done, and why."""
    _known_worth: dict[str, Values] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(w.raw.numel() for w in self.known.values())

    def by_threshold(self, thresholds: Sequence[float]) -> Iterator[Cut]:
        """The paper's masks, each with random ones of the same sparsity."""
        if not equalised(self.known):
            self.missing["thresholds"] = "raw weights are on the paper's scale under an equalised learning rate alone"
            return
        chance = self._worth("random")
        for t in track(thresholds, len(thresholds), "thresholds"):
            masks = below(self.known, t)
            yield self._cut("magnitude", masks, t)
            yield self._cut("random", least(chance, sparsity(masks)), t)

    def by_share(self, criteria: Sequence[By], shares: Sequence[float]) -> Iterator[Cut]:
        """By each measure of worth, the least first; what does not apply is left out and told."""
        for by in track(criteria, len(criteria), "pruning by"):
            try:
                for share in shares:
                    cut = self._smaller_one(by, share) if by in WHOLE else self._masked(by, share)
                    if cut is not None:
                        yield cut
            except Unsupported as error:
                self.missing[by] = error.message

    def _masked(self, by: Any, share: float) -> Cut:
        return self._cut(by, least(self._worth(by), share))

    def _smaller_one(self, by: By, share: float) -> Cut | None:
        smaller = self._smaller(by, share)
        if smaller is None:
            return None
        left = sum(w.raw.numel() for w in weights(smaller).values())
        return Cut(by=by, sparsity=1 - left / self.count, kept=left, look=self.yard.look(smaller))

    def _smaller(self, by: By, share: float) -> StyleGenerator | None:
        if not isinstance(self.target, StyleGenerator) or not self.whole:
            raise Unsupported("whole channels are taken out of style generators alone, all of their layers")
        kept = fitting(self.target, share, self.rng.fork("channels"), WHOLE[by])
        return shrunk(self.target, kept) if kept else None

    def _cut(self, by: By, masks: Values, threshold: float | None = None) -> Cut:
        twin, gone = without(self.target, masks), sparsity(masks)
        kept = round((1 - gone) * self.count)
        return Cut(by=by, sparsity=gone, kept=kept, look=self.yard.look(twin), threshold=threshold)

    def _worth(self, by: Criterion) -> Values:
        if by not in self._known_worth:
            self._known_worth.clear()  # one at a time: each is as large as the network
            self._known_worth[by] = worth(by, self.target, self.known, self.rng.fork("worth"), self.start)
        return self._known_worth[by]

    def upkeep(self, share: float, repeats: int) -> tuple[dict[str, Bytes], dict[str, dict[int, Took]]]:
        """Sizes and times of the whole network, of a masked one, and of a smaller one at the same sparsity."""
        twins = {"whole": self.target}
        twins[f"masked, {share:.0%} by magnitude"] = without(self.target, least(self._worth("magnitude"), share))
        with suppress(Unsupported):
            if (smaller := self._smaller("channels", share)) is not None:
                twins[f"smaller, {share:.0%} by channels"] = smaller
        sizes = {name: size_of(twin.module) for name, twin in twins.items()}
        times: dict[str, dict[int, Took]] = {name: {} for name in twins}
        for batch in (1, 16) if repeats else ():
            for name, took in race(twins, batch, repeats).items():
                times[name][batch] = took
        return sizes, times
