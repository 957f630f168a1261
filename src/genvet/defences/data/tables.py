"""Tables beside the pictures: who stands alone in them, and what they give away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.dataset import Dataset, Sheet
from genvet.core.errors import BadInput, Unsupported
from genvet.core.modelfile import Evidence
from genvet.core.report import Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Audit, Nothing, Result
from genvet.defences.data.evidence import first, share
from genvet.defences.data.roles import Role, role
from genvet.maths.anonymity import Groups, Sensitive, closeness_by_chance, grouped, told

Names = tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """One table."""

    sheet: Sheet
    roles: dict[str, Role]
    groups: Groups | None
    """By its quasi-identifiers; None where it has none."""
    sensitive: dict[str, tuple[Sensitive, float]]
    """What each sensitive column gives away, and the t that would come by chance."""

    @property
    def quasi(self) -> list[str]:
        return [name for name, role in self.roles.items() if role == "quasi"]

    def unique(self) -> int:
        """Rows that stand alone."""
        return 0 if self.groups is None else len(self.groups.below(2))


@dataclass(frozen=True, eq=False, kw_only=True)
class Tabled(Result):
    """All tables, and what they break."""

    tabled: tuple[Measured, ...]
    facts: tuple[Evidence, ...]
    k: int

    def summary(self) -> str:
        said = []
        for m in self.tabled:
            direct = [name for name, role in m.roles.items() if role == "identifier"]
            words = f"{m.sheet.name}: {len(m.sheet.rows):,} rows"
            words += f", identified by {', '.join(direct)}" * bool(direct)
            if m.groups is not None:
                words += f", k = {m.groups.k} by {', '.join(m.quasi)} ({m.unique():,} rows stand alone)"
            said.append(words + ("" if direct or m.groups is not None else ", no column that tells of people is known"))
        return "; ".join(said) + "."

    def measures(self) -> tuple[Measure, ...]:
        return tuple(self._measures())

    def _measures(self) -> Iterator[Measure]:
        for i, m in enumerate(self.tabled):
            if m.groups is None:
                continue
            n, by = len(m.sheet.rows), f"{m.sheet.name}: {', '.join(m.quasi)}"
            yield Measure(name=f"k.{i}", value=m.groups.k, n=n, note=by)
            yield share(f"alone.{i}", m.unique(), n, by)
            yield Measure(name=f"risk.{i}", value=m.groups.risk, n=n, chance=1 / n, note=f"right row picked; {by}")
            for name, (given, chance) in m.sensitive.items():
                yield Measure(name=f"l.{i}.{name}", value=given.least, n=n, note="different values in the worst group")
                yield Measure(name=f"t.{i}.{name}", value=given.farthest, n=n, chance=chance, note="the worst group")

    def tables(self) -> tuple[Table, ...]:
        rows = [
            (m.sheet.name, name, str(part), len({*m.sheet.column(name)}), _empty(m.sheet.column(name)))
            for m in self.tabled
            for name, part in m.roles.items()
        ]
        columns = ("table", "column", "part", "different values", "empty")
        return (Table(title="Columns and the part that they play", columns=columns, rows=tuple(rows)),)

    def evidence(self) -> tuple[Evidence, ...]:
        return first(self.facts)


def _empty(values: Names) -> int:
    return sum(not value for value in values)


class Tables(Audit):
    """k-anonymity, l-diversity and t-closeness of tables beside the pictures, and fields nobody needs.

    Which columns identify, narrow down or are sensitive is guessed from their names and values, unless told. A guess
    can miss: k is an upper bound, since whoever knows more than these columns tells more rows apart.
    """

    source: ClassVar[str] = (
        "Training data leakage, sec. 2.3 (k-anonymity, l-diversity, t-closeness); Sweeney: k-anonymity, IJUFKS 2002; "
        "Machanavajjhala et al.: l-diversity, TKDD 2007; Li et al.: t-closeness, ICDE 2007"
    )

    quasi: Names = ()
    """Columns by which others may know a person; guessed unless given."""
    sensitive: Names = ()
    """Columns that nobody should learn of a person; guessed unless given."""
    needed: Names = ()
    """Columns that the task needs: all others are findings. Without any, only identifiers are."""
    k: Annotated[int, Field(ge=2, le=10_000)] = 5
    """Rows in smaller groups are a finding."""
    l: Annotated[int, Field(ge=2, le=1000)] = 2  # noqa: E741 - the field's own name
    """Groups with fewer different sensitive values are a finding."""
    t: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Groups whose sensitive values are further from everybody's, and from what chance gives, are a finding."""

    def __call__(self, dataset: Dataset, given: Nothing, rng: Rng) -> Tabled:
        if not dataset.sheets:
            raise Unsupported("there are no tables beside the pictures", hint="CSV, TSV, JSON or columns of an npz")
        self._known(dataset)
        pictures = frozenset(item.name.rpartition("/")[2] for item in dataset.items)
        tabled = [self._measured(sheet, pictures, rng) for sheet in dataset.sheets if sheet.rows]
        facts = tuple(fact for m in tabled for fact in self._facts(m))
        return Tabled(tabled=tuple(tabled), facts=facts, k=self.k)

    def _known(self, dataset: Dataset) -> None:
        """Raises BadInput for a column that no table has."""
        columns = {name for sheet in dataset.sheets for name in sheet.columns}
        for name in (*self.quasi, *self.sensitive, *self.needed):
            if name not in columns:
                raise BadInput(f"no table has a column {name!r}", expected=", ".join(sorted(columns)[:20]))

    def _measured(self, sheet: Sheet, pictures: frozenset[str], rng: Rng) -> Measured:
        roles = {name: self._role(name, sheet.column(name), pictures) for name in sheet.columns}
        quasi = [name for name, part in roles.items() if part == "quasi"]
        groups = grouped([_codes(sheet.column(name)) for name in quasi]) if quasi else None
        sensitive = {}
        for name, part in roles.items():
            if part == "sensitive" and groups is not None:
                values, ordered = _codes(sheet.column(name)), _numeric(sheet.column(name))
                chance = closeness_by_chance(groups, values, ordered, rng.fork(name).block())
                sensitive[name] = (told(groups, values, ordered), chance)
        return Measured(sheet=sheet, roles=roles, groups=groups, sensitive=sensitive)

    def _role(self, name: str, values: Names, pictures: frozenset[str]) -> Role:
        if name in self.quasi:
            return "quasi"
        if name in self.sensitive:
            return "sensitive"
        guess = role(name, values, pictures)
        told = (guess == "quasi" and self.quasi) or (guess == "sensitive" and self.sensitive)
        return "other" if told else guess

    def _facts(self, m: Measured) -> Iterator[Evidence]:
        place = m.sheet.name
        for name, part in m.roles.items():
            if part == "identifier" and name not in self.needed:
                yield Evidence(rule="data.identifier", message=f"column {name}", place=place)
            elif self.needed and name not in self.needed and part != "link":
                yield Evidence(rule="data.field", message=f"column {name} is not among those needed", place=place)
        if m.groups is None:
            return
        small = m.groups.below(self.k)
        if len(small):
            rows = ", ".join(str(int(i) + 2) for i in small[:20])
            said = f"{len(small):,} of {len(m.sheet.rows):,} rows are in groups of fewer than {self.k}"
            by = f"by {', '.join(m.quasi)}; lines {rows}{', ...' * (len(small) > 20)}"
            yield Evidence(rule="data.k-anonymity", message=said, place=place, detail=by)
        for name, (given, chance) in m.sensitive.items():
            if given.least < self.l:
                worst = int((given.distinct < self.l).sum())
                said = f"{worst:,} of {len(given.distinct):,} groups have fewer than {self.l} values of {name}"
                yield Evidence(rule="data.l-diversity", message=said, place=place)
            if given.farthest > max(self.t, chance):
                said = f"t = {given.farthest:.2f} for {name}, of {chance:.2f} by chance"
                yield Evidence(rule="data.t-closeness", message=said, place=place)


def _codes(values: Names) -> Tensor:
    """Values as whole numbers, in their order where all are numbers; an empty cell is a value of its own."""
    numeric = _numeric(values)
    order = sorted(set(values), key=lambda v: (not v, float(v) if v else 0.0)) if numeric else sorted(set(values))
    place = {value: i for i, value in enumerate(order)}
    return torch.tensor([place[value] for value in values])


def _numeric(values: Names) -> bool:
    try:
        return any(values) and all(abs(float(v)) < float("inf") for v in values if v)
    except ValueError:
        return False
