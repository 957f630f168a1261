"""Table III: what access each attack needs, and which kind of inspection finds it, by the scored population."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.core.report import Claim
from genvet.maths.ranking import auc
from genvet.maths.statistics import clopper_pearson
from genvet.reproduce.cells import Cell, Done, Numbers, Place, Step
from genvet.reproduce.devil import SOURCE, scales
from genvet.reproduce.experiment import Experiment, Line, Scale, Spread, Told, claim, table
from genvet.zoo.building import build
from genvet.zoo.judging import Table, across
from genvet.zoo.scoring import Row, rows, stored

INSPECTIONS = {
    "SMI": ("file", "static."),
    "DMI": ("dynamic.",),
    "BF-OI": ("output.brute_force", "output.appearance", "output.collapse"),
    "OB-OI": ("output.",),
    "all": ("",),
}
"""The paper's classes, by how the names of our inspections begin; one counts in the first class that it fits, and all
of them in the last."""
BY_RULE = ("SMI", "all")
"""Classes to which the rules of files and graphs belong."""
ATTACKS = ("bypass", "poison", "baaan", "trail", "red", "rex")
PAPER: dict[str, tuple[str, dict[str, str]]] = {
    "bypass": ("model", {"SMI": "yes"}),
    "poison": ("data (much)", {"BF-OI": "yes", "OB-OI": "yes"}),
    "baaan": ("data, loss (much)", {"OB-OI": "yes"}),
    "trail": ("data, loss (much)", {"OB-OI": "yes"}),
    "red": ("model", {"OB-OI": "yes"}),
    "rex": ("model", {"SMI": "yes", "OB-OI": "yes"}),
}
"""The access that the paper's attacker needs, and its marks, as its prose in sec. V-D explains them."""
FOUND = 0.5
"""A class of inspections finds an attack where its detection rate, at no false alarm among the clean ones that the
threshold was set on, is this or more."""


class Tried(Step):
    """The population of smoke scale, built and scored unless there is one."""

    @property
    def name(self) -> str:
        return "population-smoke"

    @staticmethod
    def cells(place: Place) -> Path:
        """Its scores, a cell each."""
        return place.cache / "population-smoke-cells"

    def __call__(self, place: Place) -> None:
        if not stored(place.population):
            folder = place.cache / self.name
            build("smoke", place.data, folder)
            rows(folder, folder / "scored", "quick", cells=self.cells(place))


class Detected(Cell):
    """Detection rates by attack and class of inspections, from a scored population. Never kept: scores may be added."""

    scale: Scale
    passing: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "population"

    def needs(self) -> tuple[Step, ...]:
        return (Tried(),) if self.scale == "smoke" else ()

    def __call__(self, place: Place) -> Numbers:
        table = usable(scored(self.scale, place))
        numbers: dict[str, float | None] = {}
        for kind in INSPECTIONS:
            numbers |= {f"{name}/{kind}": value for name, value in rates(_only(table, kind)).items()}
        return numbers


def scored(scale: Scale, place: Place) -> list[Row]:
    """The population's rows: those of its cells, or at smoke scale of what `Tried` left."""
    found = stored(place.population) or (stored(Tried.cells(place)) if scale == "smoke" else [])
    if not found:
        hint = "genvet zoo build and genvet zoo score make one; --population names the folder of its cells"
        raise BadInput(f"there is no scored population in {printable(place.population)}", hint=hint)
    return found


def usable(found: Sequence[Row]) -> Table:
    """Clean ones, and attacked ones whose attack worked."""
    kept = [row for row in found if row.kind != "declared" and row.worked is not False and row.group == "main"]
    return Table.of(kept, sorted({name for row in kept for name in row.signals}))


def _only(table: Table, kind: str) -> Table:
    """The same generators, seen by one class of inspections."""
    names = [name for name in table.names if kind == "all" or class_of(name) == kind]
    columns = [table.names.index(name) for name in names]
    ruled = table.ruled if kind in BY_RULE else np.zeros_like(table.ruled)
    return replace(table, names=tuple(names), values=table.values[:, columns], ruled=ruled)


def class_of(signal: str) -> str:
    """The class of inspections that a signal belongs to.

    >>> class_of("static.blocks/parts"), class_of("output.hidden/disagreement")
    ('SMI', 'OB-OI')
    """
    return next(kind for kind, begins in INSPECTIONS.items() if signal.startswith(begins))


def rates(table: Table) -> dict[str, float | None]:
    """By attack, the share of alarms with its interval, n and AUC; thresholds and units are those of other parents."""
    value = across(table)
    alarm = value > 1
    told: dict[str, float | None] = {}
    for name in ("clean", *ATTACKS):
        chosen = ~table.attacked if name == "clean" else table.attack == name
        hits, n = int(alarm[chosen].sum()), int(chosen.sum())
        low, high = clopper_pearson(hits, n)
        told |= {name: hits / n if n else None, f"{name}.low": low, f"{name}.high": high, f"{name}.n": n}
        if name != "clean":
            told[f"{name}.auc"] = auc(table.scores(value).only(~table.attacked | chosen))
    return told


@dataclass(frozen=True)
class _Place:
    """One field of the table."""

    attack: str
    kind: str

    def ours(self, numbers: Numbers) -> Spread | None:
        value, n = numbers.get(f"{self.attack}/{self.kind}"), numbers.get(f"{self.attack}.n/{self.kind}")
        low, high = (numbers.get(f"{self.attack}.{end}/{self.kind}") for end in ("low", "high"))
        known = value is not None and low is not None and high is not None and n
        return Spread(value, low, high, int(n)) if known else None  # type: ignore[arg-type]


class Table3(Experiment):
    """Access that each attack needs, and what finds it."""

    title: ClassVar[str] = "Table III: access needed, and detection"
    source: ClassVar[str] = f"{SOURCE}, Table III"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return (Detected(scale=scale),)

    def told(self, scale: Scale, done: Done) -> Told:
        numbers: Numbers = done[0][1] if done else {}
        lines = [self._line(attack, kind, numbers) for attack in ATTACKS for kind in INSPECTIONS]
        for kind in INSPECTIONS:
            note = "false alarms, on parents that the threshold has not seen"
            lines.append(Line(("clean", "", kind), None, _Place("clean", kind).ours(numbers), note))
        differs = (
            *scales.differs(scale)[:1],
            "Ours are detection rates over a population, with exact intervals; thresholds are set on other parents, "
            "above all clean ones there. No inspection knows trigger or target.",
            "The paper's OB-OI knows the target: what that finds is ReconD in Table I.",
            "The paper's marks are read from its text; a double mark, much access, is told as such.",
        )
        where = ("attack", "access (paper)", "inspections")
        return Told((table(self.title, where, lines),), tuple(_claims(numbers)), (), differs)

    def _line(self, attack: str, kind: str, numbers: Numbers) -> Line:
        access, marks = PAPER[attack]
        area = numbers.get(f"{attack}.auc/{kind}")
        note = "" if area is None else f"AUC {area:.3f}"
        paper = None if kind in ("DMI", "all") else marks.get(kind, "no")
        return Line((attack, access, kind), paper, _Place(attack, kind).ours(numbers), note)


def _claims(numbers: Numbers) -> Iterator[Claim]:
    for attack in ATTACKS:
        for kind in ("SMI", "BF-OI", "OB-OI"):
            ours, wanted = _Place(attack, kind).ours(numbers), kind in PAPER[attack][1]
            what = "finds" if wanted else "is-blind-to"
            true = ours and (ours.value >= FOUND) == wanted
            unsure = ours is not None and ours.low < FOUND <= ours.high
            beside = f"found from {FOUND:g} on" + unsure * ", which the interval leaves open"
            yield claim(f"devil.table-3.{kind}-{what}-{attack}", ours, true, beside, decided=not unsure)
