"""Hypotheses on two methods that worked on the same labels: exact signed ranks, intervals, and Holm's correction.

The unit is the label: what several blocks (trainings of the target and of the prior) say of one label is averaged
first, since a label that is hard in one is hard in the others. Wilcoxon 1945; Holm 1979; Efron and Tibshirani 1993.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.report import Claim, Scalar, Table
from genvet.core.rng import Rng
from genvet.maths.statistics import Interval

Array = NDArray[np.float64]
ROUNDS = 4000
LEVEL = 0.05
EXACT = 300
"""Labels up to which signed ranks are counted exactly, ties and all."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """What one method measured beside another on the same labels, and which of the two should be larger."""

    id: str
    words: str
    """What is claimed, as a sentence."""
    ours: Tensor
    """(n,), a row for each label of each block."""
    theirs: Tensor
    label: Tensor
    """(n,): the same label has the same number in every block."""
    block: Tensor
    """(n,): which training of target and prior a row is of."""
    expected: Literal["greater", "smaller", "different"] = "greater"
    """What ours is claimed to be."""
    least: float = 0.0
    """The smallest difference that would matter: an interval that lies below it refutes the claim."""

    def differences(self) -> tuple[Array, Array, NDArray[np.int64], dict[int, float]]:
        """Of each label the mean difference; the labels; the number of the set of blocks each is in; block means."""
        sizes = {len(t) for t in (self.ours, self.theirs, self.label, self.block)}
        difference = (self.ours.double() - self.theirs.double()).cpu()
        if len(sizes) != 1 or not len(difference) or difference.isnan().any():
            got = f"{[len(t) for t in (self.ours, self.theirs, self.label, self.block)]}, "
            got += f"{int(difference.isnan().sum())} without a value"
            hint = "a label that a method could not reach counts as its failure, it is not left out"
            raise BadInput(f"{self.id} is not paired", expected="a value of both for each label", got=got, hint=hint)
        label, block = self.label.cpu(), self.block.cpu()
        labels, place = label.unique(return_inverse=True)
        n = torch.zeros(len(labels), dtype=torch.float64).index_add_(0, place, torch.ones(len(place)).double())
        mean = torch.zeros(len(labels), dtype=torch.float64).index_add_(0, place, difference) / n
        within = [tuple(sorted(block[place == i].tolist())) for i in range(len(labels))]
        kinds = {blocks: i for i, blocks in enumerate(sorted(set(within)))}
        of_blocks = {int(b): float(difference[block == b].mean()) for b in block.unique()}
        return mean.numpy(), labels.numpy(), np.array([kinds[blocks] for blocks in within]), of_blocks


@dataclass(frozen=True)
class Hypothesis:
    """A claim, the mean difference that was found, and whether the claim holds by it."""

    id: str
    words: str
    status: Literal["holds", "not", "undecided"]
    difference: float
    """Ours less theirs, the mean over labels."""
    low: float
    high: float
    """The ends of its 95 % bootstrap interval."""
    p: float
    """Two-sided, by signed ranks."""
    p_holm: float
    """The same, corrected for all hypotheses of the family."""
    labels: int
    blocks: tuple[float, ...]
    """The mean difference in each block: a claim holds only where all agree."""

    @property
    def evidence(self) -> str:
        """The numbers, in a line."""
        blocks = f", in blocks {' '.join(map(signed, self.blocks))}" if len(self.blocks) > 1 else ""
        return (
            f"{signed(self.difference)} [{signed(self.low)}, {signed(self.high)}] over {self.labels} labels{blocks}; "
            f"p {self.p:.2g}, {self.p_holm:.2g} after Holm"
        )

    def claim(self) -> Claim:
        """For a report."""
        return Claim(id=self.id, status=self.status, evidence=f"{self.words}: {self.evidence}")


def signed(difference: float) -> str:
    """With its sign; what rounding leaves of none is none.

    >>> signed(-0.12345), signed(1.4e-18), signed(-1.4e-18)
    ('-0.123', '+0', '+0')
    """
    return f"{round(difference, 9) + 0.0:+.3g}"


def judged(comparisons: Sequence[Comparison], rng: Rng, rounds: int = ROUNDS) -> tuple[Hypothesis, ...]:
    """One family of hypotheses: each is tested, and all p-values are corrected together.

    A claim holds where the corrected p is 0.05 or less, the interval lies on the claimed side and every block agrees;
    it does not where the same is true of the other side, or where the whole interval is below the least that would
    matter; in all other cases it is undecided.
    """
    found = [c.differences() for c in comparisons]
    ps = [signed_ranks(mean) for mean, *_ in found]
    made = []
    for c, (mean, _, kind, blocks), p, corrected in zip(comparisons, found, ps, holm(ps), strict=True):
        low, high = bootstrapped(mean, kind, rng.fork(c.id), rounds)
        status = _status(c, low, high, corrected, tuple(blocks.values()))
        shown = tuple(blocks[b] for b in sorted(blocks))
        made.append(Hypothesis(c.id, c.words, status, float(mean.mean()), low, high, p, corrected, len(mean), shown))
    return tuple(made)


def _status(
    c: Comparison, low: float, high: float, p: float, blocks: tuple[float, ...]
) -> Literal["holds", "not", "undecided"]:
    sign = {"greater": 1, "smaller": -1, "different": 1 if low > 0 else -1}[c.expected]
    ahead, behind = (low, high) if sign > 0 else (-high, -low)
    reach = max(abs(low), abs(high)) if c.expected == "different" else behind
    if c.least and reach < c.least:
        return "not"
    if p <= LEVEL and ahead > 0 and all(b * sign > 0 for b in blocks):
        return "holds"
    if p <= LEVEL and behind < 0 and c.expected != "different" and all(b * sign < 0 for b in blocks):
        return "not"
    return "undecided"


def signed_ranks(differences: Array) -> float:
    """Wilcoxon's signed rank test: the two-sided p of differences (n,) around 0, exact up to 300, whatever the ties.

    Differences of 0 say nothing and are left out. Of differences that are all -1, 0 or 1 it is the sign test.

    >>> signed_ranks(np.array([1.0, 2, 3, 4, 5, 0])), signed_ranks(np.zeros(9))
    (0.0625, 1.0)
    """
    from scipy.stats import rankdata, wilcoxon  # here, so that --help need not wait for it

    d = np.asarray(differences, dtype=np.float64)
    d = np.where(np.abs(d) <= 1e-12 * max(1.0, float(np.abs(d).max(initial=0))), 0, d)
    d = d[d != 0]
    if not len(d):
        return 1.0
    if len(d) > EXACT:
        return float(wilcoxon(d, method="approx").pvalue)
    # Of equal differences, rounding may have made two: ranks are those of 12 digits. Doubled, they are whole numbers.
    ranks = np.rint(2 * rankdata([float(f"{abs(v):.12g}") for v in d])).astype(int)
    ways = np.zeros(ranks.sum() + 1)
    ways[0] = 1.0
    for rank in ranks:
        ways[rank:] += ways[:-rank].copy()
        ways /= 2
    reached = int(ranks[d > 0].sum())
    return float(min(1.0, 2 * min(ways[: reached + 1].sum(), ways[reached:].sum())))


def bootstrapped(differences: Array, kind: NDArray[np.int64], rng: Rng, rounds: int = ROUNDS) -> Interval:
    """The 95 % interval of the mean of labels' differences (n,), by drawing labels again within each kind.

    Labels are of one kind where they are in the same blocks: labels that all blocks share are drawn with all that the
    blocks say of them, labels of one block alone are drawn within it.
    """
    total = np.zeros(rounds)
    for k in np.unique(kind):
        values = differences[kind == k]
        drawn = torch.randint(len(values), (rounds, len(values)), generator=rng.fork(f"labels {k}").block())
        total += values[drawn.numpy()].sum(1)
    low, high = np.quantile(total / len(differences), [0.025, 0.975])
    return Interval(float(low), float(high))


def holm(ps: Sequence[float]) -> list[float]:
    """p-values corrected for their number, step by step: the chance of even one false claim stays under the level.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, worst = [0.0] * len(ps), 0.0
    for i, place in enumerate(sorted(range(len(ps)), key=lambda j: ps[j])):
        worst = max(worst, min(1.0, (len(ps) - i) * ps[place]))
        corrected[place] = worst
    return corrected


def table(hypotheses: Sequence[Hypothesis], title: str = "Hypotheses") -> Table:
    """All of a family, a row each."""
    columns = ("id", "claim", "status", "difference", "low", "high", "p", "p after Holm", "labels")
    rows: list[tuple[Scalar, ...]] = [
        (h.id, h.words, h.status, h.difference, h.low, h.high, h.p, h.p_holm, h.labels) for h in hypotheses
    ]
    return Table(title=title, columns=columns, rows=tuple(rows))
