"""What a membership attack comes to: the scores of all records, what each is worth, and who is exposed most."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from genvet.attacks.membership.records import RATES, Cohort, Exposing
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.core.report import Figure, Measure, Scalar, Table
from genvet.core.rng import Rng
from genvet.core.technique import Picture, Result
from genvet.maths.membership import (
    Decisions,
    above_half,
    auc,
    caught_at,
    decided,
    interval,
    least_found,
    needed,
    permuted,
)
from genvet.maths.overlap import remoteness
from genvet.maths.paired import holm
from genvet.maths.statistics import Interval, clopper_pearson

LISTED, SHOWN = 20, 12
"""Records in the table of those who are exposed most, and in the picture."""
TAIL = 16
"""Characters of a record's name below its picture: numbers stand at the end."""
OUTLYING, FEWEST = 0.1, 10
"""The share of the members, and of the non-members, that counts as outliers; and how many that must be."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Signal:
    """One score of all records, and what it is worth."""

    score: Tensor
    """(n,): the higher, the likelier a member."""
    auc: float
    interval: Interval
    p: float
    """One-sided, Mann and Whitney."""
    p_holm: float
    """Corrected for all signals of the attack."""
    decisions: Decisions
    permuted: tuple[float, Interval]
    unseen: tuple[float, Interval] | None
    caught: dict[float, tuple[float, Interval] | None]
    """At rates of false alarms; None where there are too few non-members."""
    outliers: tuple[float, float] | None
    """The areas of outliers and of all others."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Exposed(Result):
    """The scores of all records by every signal of an attack, and how well each tells members."""

    method: str
    cohort: Cohort
    signals: dict[str, Signal]
    """The attack's own first."""
    asked: int
    """Outputs of the generator that it took."""
    beside: dict[str, Tensor] = field(default_factory=dict)
    """What the attack holds against each record, (n, *shape) each, such as the nearest sample."""
    notes: tuple[str, ...] = ()
    sets: tuple[int, int, float, Interval] | None = None
    """Where whole sets were asked about: how many of members, of what size, the area and its interval."""

    @cached_property
    def first(self) -> Signal:
        return next(iter(self.signals.values()))

    def key(self, signal: str) -> str:
        """What the names of a signal's measures begin with: nothing, for the attack's own."""
        return "" if self.signals[signal] is self.first else re.sub("[^a-z0-9]+", "-", signal.lower()) + "."

    def summary(self) -> str:
        name, best = min(self.signals.items(), key=lambda item: item[1].p_holm)
        n, m = self.cohort.members, self.cohort.non_members
        found = f"AUC {best.auc:.3f} ({best.interval.low:.3f} to {best.interval.high:.3f})"
        if best.p_holm <= 0.05:
            told = f"Members are told from non-members by {name}: {found}, accuracy {best.decisions.accuracy:.0%}"
        else:
            told = f"No member is told from non-members: {found} by {name}"
        power = least_found(n, m, len(self.signals))
        notes = " ".join((*self.cohort.notes, *self.notes))
        return f"{told}. With {n} and {m} records, an AUC of {power:.2f} would have been found. {notes}".strip()

    def measures(self) -> tuple[Measure, ...]:
        told = [m for name, s in self.signals.items() for m in self._of(s, self.key(name))]
        power = least_found(self.cohort.members, self.cohort.non_members, len(self.signals))
        note = "the AUC that would have been found in four of five cases"
        told.append(Measure(name="least-auc", value=power, n=self.cohort.known, note=note))
        if self.sets:
            count, size, value, (low, high) = self.sets
            note = f"whole sets of {size} records, told from as many others"
            told.append(Measure(name="sets.auc", value=value, low=low, high=high, chance=0.5, n=count, note=note))
        return tuple(told)

    def _of(self, s: Signal, prefix: str) -> list[Measure]:
        d, n, m = s.decisions, self.cohort.members, self.cohort.non_members
        precise = clopper_pearson(d.true, d.called) if d.called else Interval(0.0, 1.0)
        recall, share = clopper_pearson(d.true, n), d.called / (n + m)
        chosen = "by a threshold that was chosen on other records"
        rows: list[tuple[str, float | None, Interval | None, float | None, int, str]] = [
            ("auc", s.auc, s.interval, 0.5, n + m, ""),
            ("p", s.p_holm, None, None, n + m, f"one-sided, after Holm; {s.p:.2g} before"),
            ("accuracy", d.accuracy, d.accuracy_interval, 0.5, n + m, f"the mean of both sets, {chosen}"),
            ("precision", d.precision, precise, n / (n + m), d.called, chosen),
            ("recall", d.recall, recall, share, n, chosen),
            ("auc.permuted", s.permuted[0], s.permuted[1], 0.5, n + m, "who is a member was drawn anew, 200 times"),
        ]
        for rate, caught in s.caught.items():
            name, note = f"tpr-at-{rate:g}", f"members above all but {rate:g} of the non-members"
            if caught is None:
                note = f"takes {needed(rate)} non-members"
            value, ends = caught or (None, None)
            rows.append((name, value, ends, rate, n, note))
        if s.unseen:
            rows.append(("auc.unseen", s.unseen[0], s.unseen[1], 0.5, n + m, "unseen records against the non-members"))
        if s.outliers:
            rows.append(("auc.outliers", s.outliers[0], None, s.outliers[1], n, "chance: of all other records"))
        return [
            Measure(name=prefix + name, value=v, chance=chance, n=count, note=note, **_ends(ends))
            for name, v, ends, chance, count, note in rows
        ]

    def tables(self) -> tuple[Table, ...]:
        rows: list[tuple[Scalar, ...]] = [
            (
                *(name, round(s.auc, 4), round(s.interval.low, 4), round(s.interval.high, 4), float(f"{s.p_holm:.2g}")),
                *(round(s.decisions.accuracy, 4), _rounded(s.decisions.precision), round(s.decisions.recall, 4)),
                *(None if s.caught[rate] is None else round(s.caught[rate][0], 4) for rate in RATES),  # type: ignore[index]
            )
            for name, s in self.signals.items()
        ]
        columns = ("signal", "AUC", "low", "high", "p after Holm", "accuracy", "precision", "recall")
        signals = Table(
            title="Signals", columns=(*columns, *(f"TPR at {rate:.1%} FPR" for rate in RATES)), rows=tuple(rows)
        )
        return (signals, self._exposed())

    def _exposed(self) -> Table:
        """Whose membership shows most: those above the most non-members."""
        score = self.first.score
        own, others = score[: self.cohort.members], score[self.cohort.members : self.cohort.known]
        rows: list[tuple[Scalar, ...]] = []
        for i in own.argsort(descending=True, stable=True)[:LISTED].tolist():
            above = int((others >= own[i]).sum())
            rank = (1 + above) / (1 + len(others))
            name = printable(self.cohort.names[i], 80)
            rows.append((name, float(f"{float(own[i]):.6g}"), above, float(f"{rank:.3g}")))
        columns = ("member", "score", "non-members as high", "p")
        return Table(title="Members who are exposed most", columns=columns, rows=tuple(rows))

    def figures(self) -> tuple[Figure | Picture, ...]:
        own = self.first.score[: self.cohort.members]
        top = own.argsort(descending=True, stable=True)[:SHOWN]
        rows = {"member": self.cohort.x, **self.beside}
        x = torch.cat([row[top].clamp(-1, 1) for row in rows.values()])
        names = [printable(self.cohort.names[i])[-TAIL:] for i in top.tolist()]
        captions = (*names, *(row for row in self.beside for _ in names))
        told = f"A row each: {', '.join(rows)}. The most exposed first."
        pictures = Picture("Members who are exposed most", x, captions, told, len(top))
        return (self._roc(), self._histogram(), pictures)

    def _roc(self) -> Figure:
        """Caught over false alarms, both logarithmic: what matters lies at the left."""
        series = {}
        for name, s in self.signals.items():
            told, m = self.cohort.told(s.score), self.cohort.non_members
            levels = told.non_members.sort(descending=True).values
            counts = torch.logspace(0, torch.tensor(float(m)).log10().item(), 60).long().clamp(1, m).unique()
            caught = [float((told.members > levels[int(k) - 1]).double().mean()) for k in counts]
            points = [(float(k) / m, c) for k, c in zip(counts, caught, strict=True) if c > 0]
            series[name] = [[p[0] for p in points], [p[1] for p in points]]
        line = [1 / self.cohort.non_members, 1.0]
        series["by chance"] = [line, line]
        data = {"series": series, "x": "share of non-members", "y": "share of members above them", "log": "xy"}
        return Figure(kind="curve", title="Members caught over false alarms", data=data)

    def _histogram(self) -> Figure:
        told = self.cohort.told(self.first.score)
        both = torch.cat([told.members, told.non_members]).float()
        low, high = float(both.min()), float(both.max())
        high = high if high > low else low + 1
        edges, bins = torch.linspace(low, high, 41), 40
        middle = ((edges[1:] + edges[:-1]) / 2).tolist()
        series = {
            name: [middle, (part.float().histc(bins, low, high) / len(part)).tolist()]
            for name, part in (("members", told.members), ("non-members", told.non_members))
        }
        name = next(iter(self.signals))
        return Figure(kind="curve", title="Scores", data={"series": series, "x": name, "y": "share of the records"})

    def tensors(self) -> dict[str, Tensor]:
        scores = {f"score.{i}": s.score.float() for i, s in enumerate(self.signals.values())}
        kind = torch.tensor([0] * self.cohort.members + [1] * self.cohort.non_members, dtype=torch.long)
        rest = len(self.first.score) - self.cohort.known
        return {**scores, "set": torch.cat([kind, torch.full((rest,), 2)])}

    @property
    def queries(self) -> int:
        return self.asked


def _ends(ends: Interval | None) -> dict[str, Any]:
    """An interval, where there is one."""
    return {} if ends is None else {"low": ends.low, "high": ends.high}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def exposed(
    attack: Exposing,
    method: str,
    cohort: Cohort,
    scores: Mapping[str, Tensor],
    rng: Rng,
    *,
    asked: int = 0,
    beside: Mapping[str, Tensor] | None = None,
    notes: tuple[str, ...] = (),
    sets: tuple[int, int, float, Interval] | None = None,
) -> Exposed:
    """The result of an attack that gave all records these scores, (n,) each: the attack's own first."""
    scores = {name: score.detach().cpu().double() for name, score in scores.items()}
    ps = [above_half(cohort.told(score)) for score in scores.values()]
    outlying = _outlying(cohort)
    signals = {
        name: _signal(attack, cohort, score, p, corrected, outlying, rng.fork(name))
        for (name, score), p, corrected in zip(scores.items(), ps, holm(ps), strict=True)
    }
    return Exposed(
        method=method, cohort=cohort, signals=signals, asked=asked, beside=dict(beside or {}), notes=notes, sets=sets
    )


def _signal(
    attack: Exposing, cohort: Cohort, score: Tensor, p: float, p_holm: float, outlying: Tensor | None, rng: Rng
) -> Signal:
    if not bool(score.isfinite().all()):
        raise BadInput("a score is no number", expected="finite scores", got=f"{int((~score.isfinite()).sum())} others")
    told, control = cohort.told(score), cohort.control(score)
    rates = attack.rates(cohort.non_members)
    return Signal(
        score=score,
        auc=auc(told.members, told.non_members),
        interval=interval(told, rng.fork("interval")),
        p=p,
        p_holm=p_holm,
        decisions=decided(told, rng.fork("halves")),
        permuted=permuted(told, rng.fork("permuted")),
        unseen=None if control is None else (auc(control.members, control.non_members), interval(control, rng)),
        caught={rate: caught_at(told, rate) if enough else None for rate, enough in rates.items()},
        outliers=_of_outliers(score, cohort, outlying),
    )


def _outlying(cohort: Cohort) -> Tensor | None:
    """Which records (known,) are far from all others, by pixels: a tenth of each set; None for few records."""
    if OUTLYING * min(cohort.members, cohort.non_members) < FEWEST:
        return None
    apart = remoteness(cohort.x[: cohort.known])
    inside, chosen = cohort.inside, torch.zeros(cohort.known, dtype=torch.bool)
    for mine in (inside, ~inside):
        chosen |= mine & (apart >= apart[mine].quantile(1 - OUTLYING))
    return chosen


def _of_outliers(score: Tensor, cohort: Cohort, outlying: Tensor | None) -> tuple[float, float] | None:
    if outlying is None:
        return None
    inside, known = cohort.inside, score[: cohort.known]
    first, second = (auc(known[some & inside], known[some & ~inside]) for some in (outlying, ~outlying))
    return first, second
