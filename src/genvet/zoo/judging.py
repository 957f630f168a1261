"""From measures to one verdict: which signals count, from where on, and how well that does on parents never seen.

A signal counts by how far it lies above the median of clean generators of the same family: 1 is the highest of them.
The verdict's score is the largest of the chosen signals; one threshold for it gives each signal its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from genvet.maths.ranking import Array, Scores, auc, caught_share
from genvet.zoo.scoring import Row

FEWEST = 8
"""Clean generators of one family that have a scale of their own; fewer take that of all."""
FLOOR = 0.01
"""Signals are dimensionless: no scale is finer than this, or than this share of the median."""
MARGIN = 1.1
"""The threshold lies so far above the highest clean score: fixed before any population was scored."""
MOST = 6
"""Signals in one verdict: more than a reader follows, and each costs false alarms."""
GAIN = 0.003
"""A signal has to add so much."""
ALARM = 1e6
"""The score of what a rule found."""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows as arrays: signals (n, s) with NaN where one is missing."""

    rows: tuple[Row, ...]
    names: tuple[str, ...]
    values: Array
    attacked: NDArray[np.bool_]
    parent: NDArray[np.str_]
    attack: NDArray[np.str_]
    family: NDArray[np.str_]
    ruled: NDArray[np.bool_]
    """Found by a rule of the file or of its graph."""

    @classmethod
    def of(cls, rows: Sequence[Row], names: Sequence[str]) -> Table:
        values = [[row.signals.get(name) for name in names] for row in rows]
        return cls(
            rows=tuple(rows),
            names=tuple(names),
            values=np.array(values, dtype=np.float64).reshape(len(rows), len(names)),
            attacked=np.array([row.kind == "attacked" for row in rows], dtype=bool),
            parent=np.array([row.parent for row in rows], dtype=str),
            attack=np.array([row.made if row.kind == "attacked" else "" for row in rows], dtype=str),
            family=np.array([row.family for row in rows], dtype=str),
            ruled=np.array([bool(row.alarms) for row in rows], dtype=bool),
        )

    def take(self, chosen: NDArray[np.bool_]) -> Table:
        """These rows alone."""
        rows = tuple(row for row, keep in zip(self.rows, chosen, strict=True) if keep)
        names = ("values", "attacked", "parent", "attack", "family", "ruled")
        return replace(self, rows=rows, **{name: getattr(self, name)[chosen] for name in names})

    def scores(self, value: Array) -> Scores:
        return Scores(np.where(np.isnan(value), -np.inf, value), self.attacked, self.parent)


@dataclass(frozen=True, eq=False)
class Scale:
    """By family, where each signal of clean generators lies: (s,) medians, and distances to the highest."""

    middle: dict[str, Array]
    spread: dict[str, Array]

    @classmethod
    def of(cls, clean: Table) -> Scale:
        names, counts = np.unique(clean.family, return_counts=True)
        own = [str(name) for name, count in zip(names, counts, strict=True) if count >= FEWEST]
        sets = {"": clean.values} | {name: clean.values[clean.family == name] for name in own}
        places = {name: _place(values) for name, values in sets.items()}
        return cls({k: m for k, (m, _) in places.items()}, {k: s for k, (_, s) in places.items()})

    def units(self, table: Table) -> Array:
        """Every signal of every row in these units, (n, s); 0, as for the median, where one is missing."""
        keys = [name if name in self.middle else "" for name in table.family]
        middle, spread = (np.stack([d[k] for k in keys]) for d in (self.middle, self.spread))
        units: Array = np.nan_to_num((table.values - middle) / spread, nan=0.0)
        return units


def _place(values: Array) -> tuple[Array, Array]:
    """Median, and distance to the highest; endless where no clean generator has the signal: it then says nothing."""
    count = values.shape[1]
    middle, spread = np.zeros(count), np.full(count, np.inf)
    for j in range(count):
        known = values[~np.isnan(values[:, j]), j]
        if len(known):
            middle[j] = np.median(known)
            spread[j] = max(known.max() - middle[j], FLOOR * max(1.0, abs(middle[j])))
    return middle, spread


@dataclass(frozen=True, eq=False)
class Verdict:
    """The signals that count, their units, and the threshold that they share."""

    chosen: tuple[int, ...]
    scale: Scale
    cut: float

    def scores(self, table: Table) -> Array:
        """The largest of the chosen signals for each row, over the threshold: an alarm is more than 1."""
        return np.where(table.ruled, ALARM, _largest(self.scale.units(table), self.chosen) / self.cut)


def _largest(units: Array, chosen: Sequence[int]) -> Array:
    largest: Array = units[:, list(chosen)].max(1) if len(chosen) else np.zeros(len(units))
    return largest


def fit(table: Table, chosen: Sequence[int] | None = None) -> Verdict:
    """Choose signals by how well they tell the attacked ones apart (all of them where there are none), and a threshold.

    The threshold lies above every clean generator, each of them measured in units that others than its parent gave.
    """
    seen = table.take(~table.ruled)
    units = crossed(seen)
    if chosen is None:
        chosen = select(seen, units) if seen.attacked.any() else range(len(table.names))
    highest = _largest(units[~seen.attacked], chosen).max(initial=1.0)
    return Verdict(tuple(chosen), Scale.of(seen.take(~seen.attacked)), MARGIN * float(highest))


def crossed(table: Table) -> Array:
    """Every signal of every row, (n, s), in the units that clean generators of other parents gave."""
    units = np.zeros_like(table.values)
    for name in np.unique(table.parent):
        here, others = table.parent == name, ~table.attacked & (table.parent != name)
        if others.any():
            units[here] = Scale.of(table.take(others)).units(table.take(here))
    return units


def select(table: Table, units: Array) -> tuple[int, ...]:
    """Signals, best first, each adding to what those before it tell; every attack counts alike."""
    chosen: list[int] = []
    best = 0.0
    while len(chosen) < MOST:
        gains = {j: _told(table, _largest(units, [*chosen, j])) for j in range(units.shape[1]) if j not in chosen}
        if not gains or max(gains.values()) < best + GAIN:
            break
        j = max(gains, key=lambda k: (gains[k], -k))
        best = gains[j]
        chosen.append(j)
    return tuple(chosen)


def _told(table: Table, value: Array) -> float:
    """The mean over attacks of the area under the curve and the share above every clean one."""
    told = []
    for attack in np.unique(table.attack[table.attacked]):
        one = table.scores(value).only(~table.attacked | (table.attack == attack))
        told.append((auc(one) + caught_share(one)) / 2)
    return float(np.mean(told)) if told else 0.0


def across(table: Table, without: str = "", chosen: Sequence[int] | None = None) -> Array:
    """The score of each row by a verdict that was fitted on other parents, and on no attack named `without`."""
    scores = np.full(len(table.rows), np.nan)
    for name in np.unique(table.parent):
        others = table.take((table.parent != name) & ((table.attack != without) | (not without)))
        if (~others.attacked & ~others.ruled).any():
            here = table.parent == name
            scores[here] = fit(others, chosen).scores(table.take(here))
    return scores
