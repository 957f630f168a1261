"""From measures to one verdict: from where on a signal is an alarm, and how well that does on parents never seen.

A signal counts by how far it lies above the median of clean generators of the same family, in steps of which one
reaches its threshold. The verdict's score is that of one signal, or of the largest of a few others beyond their
thresholds: above 1 is an alarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from genvet.maths.ranking import Array, Scores
from genvet.zoo.scoring import Row

GRADED = "output.hidden/hidden"
"""The verdict's signal that ranks generators: an output inside the typical set that students contradict."""
SIGNALS = (
    GRADED,
    *("output.hidden/mode", "output.hidden/far", "static.blocks/separation"),
    *("static.spectrum/residue", "static.spectrum/styles", "static.spectrum/mapping"),
)
"""With those that speak beyond their thresholds alone, since clean and attacked are far apart there: the same at the
centre and far outside, what a merged network leaves in the weights, and directions of w that a style generator makes
much of. Fixed: a choice by what tells on attacked ones changed with every parent that was left out, and what it chose
by chance gave alarms on clean ones."""
FEWEST = 8
"""Clean generators of one family that have thresholds of their own; fewer take those of all."""
FLOOR = 0.01
"""Signals are dimensionless: no distance is finer than this, or than this share of the median."""
MARGIN = 1.1
"""A threshold lies at least so many times as far from the median as the highest clean generator."""
TOLD = 3
"""Attacked generators beyond that, from which on the threshold lies half-way to their median."""
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
    trigger: NDArray[np.str_]
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
            trigger=np.array([row.trigger or "none chosen" for row in rows], dtype=str),
            family=np.array([row.family for row in rows], dtype=str),
            ruled=np.array([bool(row.alarms) for row in rows], dtype=bool),
        )

    def take(self, chosen: NDArray[np.bool_]) -> Table:
        """These rows alone."""
        rows = tuple(row for row, keep in zip(self.rows, chosen, strict=True) if keep)
        names = ("values", "attacked", "parent", "attack", "trigger", "family", "ruled")
        return replace(self, rows=rows, **{name: getattr(self, name)[chosen] for name in names})

    def scores(self, value: Array) -> Scores:
        return Scores(np.where(np.isnan(value), -np.inf, value), self.attacked, self.parent)


@dataclass(frozen=True, eq=False)
class Scale:
    """By family, where each signal of clean generators lies: (s,) medians, and distances from there to thresholds."""

    middle: dict[str, Array]
    reach: dict[str, Array]

    @classmethod
    def of(cls, table: Table) -> Scale:
        clean = ~table.attacked
        names, counts = np.unique(table.family[clean], return_counts=True)
        own = [str(name) for name, count in zip(names, counts, strict=True) if count >= FEWEST]
        sets = {"": np.ones_like(clean), **{name: table.family == name for name in own}}
        places = {name: _place(table.take(rows)) for name, rows in sets.items()}
        return cls({k: m for k, (m, _) in places.items()}, {k: r for k, (_, r) in places.items()})

    def units(self, table: Table) -> Array:
        """Every signal of every row in these units, (n, s); 0, as for the median, where one is missing."""
        keys = [name if name in self.middle else "" for name in table.family]
        middle, reach = (np.stack([d[k] for k in keys]) for d in (self.middle, self.reach))
        units: Array = np.nan_to_num((table.values - middle) / reach, nan=0.0)
        return units


def _place(table: Table) -> tuple[Array, Array]:
    """Medians, and distances to the thresholds; endless where no clean generator has the signal: it says nothing."""
    count = len(table.names)
    middle, reach = np.zeros(count), np.full(count, np.inf)
    for j in range(count):
        known = ~np.isnan(table.values[:, j])
        clean = known & ~table.attacked
        if clean.any():
            value, parent = table.values[clean, j], table.parent[clean]
            middle[j] = np.median(value)
            reach[j] = _reach(value, parent, table.values[known & table.attacked, j])
    return middle, reach


def _reach(clean: Array, parent: NDArray[np.str_], attacked: Array) -> float:
    """How far above the median of clean generators a threshold lies: above each of them.

    Where attacked ones are known to lie far beyond, it lies half-way to their median, by the logarithm: a wide gap
    leaves room for clean generators that nobody has seen. Otherwise so far that no clean one would have passed it by
    what others than its parent gave.
    """
    highest = _highest(clean)
    beyond = attacked - np.median(clean)
    beyond = beyond[beyond > MARGIN * highest]
    if len(beyond) >= TOLD:
        return max(MARGIN * highest, float(np.sqrt(highest * np.median(beyond))))
    stretch = [1.0]
    for name in np.unique(parent) if len(np.unique(parent)) > 1 else ():
        others = clean[parent != name]
        stretch.append((clean[parent == name].max() - np.median(others)) / _highest(others))
    return MARGIN * highest * max(stretch)


def _highest(clean: Array) -> float:
    """Distance from the median to the highest."""
    middle = float(np.median(clean))
    return max(float(clean.max()) - middle, FLOOR * max(1.0, abs(middle)))


@dataclass(frozen=True, eq=False)
class Verdict:
    """The signals that count, and their thresholds."""

    chosen: tuple[int, ...]
    graded: tuple[int, ...]
    """Those of them that count below their thresholds as well."""
    scale: Scale

    def scores(self, table: Table) -> Array:
        """The largest of the signals for each row: an alarm is more than 1."""
        units = self.scale.units(table)
        beyond = np.where(units > 1, units, -np.inf)[:, self.chosen].max(1, initial=-np.inf)
        return np.where(table.ruled, ALARM, np.maximum(beyond, units[:, self.graded].max(1, initial=-np.inf)))


def fit(table: Table) -> Verdict:
    """Thresholds from these rows, for the verdict's signals; for all, where the table has none of the verdict's."""
    chosen = tuple(j for name in SIGNALS for j, known in enumerate(table.names) if known == name)
    chosen = chosen or tuple(range(len(table.names)))
    graded = tuple(j for j in chosen if table.names[j] == GRADED) or chosen
    return Verdict(chosen, graded, Scale.of(table.take(~table.ruled)))


def crossed(table: Table) -> Array:
    """Every signal of every row, (n, s), in the units that other parents gave."""
    units = np.zeros_like(table.values)
    for name in np.unique(table.parent):
        here = table.parent == name
        if (~table.attacked & ~here).any():
            units[here] = Scale.of(table.take(~here)).units(table.take(here))
    return units


def across(table: Table, without: str = "") -> Array:
    """The score of each row by a verdict that was fitted on other parents, and on no attack named `without`."""
    scores = np.full(len(table.rows), np.nan)
    for name in np.unique(table.parent):
        others = table.take((table.parent != name) & ((table.attack != without) | (not without)))
        if (~others.attacked & ~others.ruled).any():
            here = table.parent == name
            scores[here] = fit(others).scores(table.take(here))
    return scores
