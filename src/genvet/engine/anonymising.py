"""A data set anonymised: what was measured, the new folder, its log, and an audit of what is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genvet.core.dataset import Dataset, Sheet
from genvet.core.errors import BadInput
from genvet.core.report import Finding, Table
from genvet.defences.data.anonymise import Anonymise, Anonymised, Given
from genvet.defences.data.roles import Role, role
from genvet.engine.auditing import looked
from genvet.engine.shelf import Shelf, ready
from genvet.files.anonymised import LOG, Made, Writer, write_pictures, write_sheet
from genvet.files.pseudonyms import Pseudonyms, read_key, renamed
from genvet.maths.anonymity import grouped

if TYPE_CHECKING:
    from genvet.core.generator import Generator


@dataclass(frozen=True)
class Told:
    """Columns of tables whose part is told, not guessed."""

    quasi: tuple[str, ...] = ()
    sensitive: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()

    def part(self, sheet: Sheet, name: str, pictures: frozenset[str]) -> Role:
        """The part that a column plays."""
        if name in self.quasi or name in self.sensitive:
            return "quasi" if name in self.quasi else "sensitive"
        return role(name, sheet.column(name), pictures)


def anonymise(
    dataset: Dataset,
    how: Anonymise,
    into: Path,
    *,
    out: Path,
    key: Path | None = None,
    generator: Generator | None = None,
    told: Told = Told(),
    seed: int = 0,
) -> tuple[Finding, Path]:
    """Write the changed data set into the new folder `into`; the log of every file goes to `out`.

    A run that is interrupted, or for which the disk has no room, leaves no folder of that name, and the same call goes
    on with it. Raises BadInput where the folder is there already, and where names are to be replaced without a key.
    """
    if "pseudonymise" in how.how and key is None:
        raise BadInput(
            "names are replaced by a keyed mapping", expected="--key FILE", hint="it is made where it is not there"
        )
    if out.resolve().is_relative_to(into.resolve()):
        raise BadInput("the log would lie among the anonymised data", hint="choose another --out")
    ready(out)
    names = read_key(key, into) if key and "pseudonymise" in how.how else None
    result, finding = looked(how, dataset, Given(generator=generator), seed=seed, shelf=Shelf(out))
    assert isinstance(result, Anonymised)
    about = {"how": how.model_dump(mode="json"), "seed": seed, "key": names.mark if names else "", "told": vars(told)}
    if generator is not None:
        about["generator"] = str(generator)
    writer = Writer(into, out / LOG, {**about, "path": dataset.path, "version": how.version})
    new = write_pictures(dataset, writer, names, _made(result))
    wanted, rows = list(new.values()), []
    for number, sheet in enumerate(dataset.sheets):
        changed, steps = _sheet(sheet, how, names, new, told, dataset)
        wanted.append(write_sheet(changed, writer, f"table-{number + 1}.csv", sheet, steps))
        rows.append((sheet.name, wanted[-1], "; ".join(steps), *_k(sheet, changed, told, dataset)))
    columns = ("table", "now", "what was done", "k before", "k now", "rows alone before", "rows alone now")
    tables = (*finding.tables, *([Table(title="Tables", columns=columns, rows=tuple(rows))] if rows else []))
    return finding.model_copy(update={"tables": tables}), writer.finish(wanted)


def _made(result: Anonymised) -> Callable[[int], Made]:
    def made(i: int) -> Made:
        changed = result.change(i)
        return Made(changed.picture, changed.steps)

    return made


def _sheet(
    sheet: Sheet,
    how: Anonymise,
    names: Pseudonyms | None,
    new: Mapping[str, str],
    told: Told,
    dataset: Dataset,
) -> tuple[Sheet, list[str]]:
    """The table afterwards: columns left out, rows of pictures that were left out gone, names replaced."""
    pictures = _pictures(dataset)
    parts = {name: told.part(sheet, name, pictures) for name in sheet.columns}
    links = {name for name, part in parts.items() if part == "link"}
    steps = ["written anew"]
    short = _short(dataset, new)
    left = [row for row in sheet.rows if _there(sheet, row, links, pictures, short)]
    if len(left) < len(sheet.rows):
        steps.append(f"rows of pictures that were left out: {len(sheet.rows) - len(left):,}")
    kept = list(sheet.columns)
    if "drop" in how.how and "fields" in how.dropped:
        kept = [name for name in kept if _needed(name, parts[name], told)]
        gone = [name for name in sheet.columns if name not in kept]
        steps += [f"left out {', '.join(gone)}"] * bool(gone)
    where = [sheet.columns.index(name) for name in kept]
    smaller = Sheet(name=sheet.name, columns=tuple(kept), rows=tuple(tuple(row[i] for i in where) for row in left))
    if names is None:
        return _linked(smaller, links, short), steps
    identifiers = {name for name in kept if parts[name] == "identifier"}
    steps += [f"pseudonyms for {', '.join(sorted(identifiers))}"] * bool(identifiers)
    return renamed(smaller, names, identifiers, links, short), steps


def _needed(name: str, part: Role, told: Told) -> bool:
    if told.needed:
        return name in told.needed or part == "link"
    return part != "identifier"


def _pictures(dataset: Dataset) -> frozenset[str]:
    return frozenset(item.name.rpartition("/")[2] for item in dataset.items)


def _short(dataset: Dataset, new: Mapping[str, str]) -> dict[str, str]:
    """New names by old ones, and by old ones without their folders where that tells."""
    found = dict(new)
    last: dict[str, list[str]] = {}
    for item in dataset.items:
        last.setdefault(item.name.rpartition("/")[2], []).append(item.name)
    return found | {short: new[full[0]] for short, full in last.items() if len(full) == 1 and full[0] in new}


def _there(
    sheet: Sheet, row: tuple[str, ...], links: set[str], pictures: frozenset[str], short: Mapping[str, str]
) -> bool:
    """False for a row about a picture that was left out."""
    cells = [row[sheet.columns.index(name)] for name in links]
    known = [cell for cell in cells if cell.rpartition("/")[2] in pictures]
    return not known or any(cell in short or cell.rpartition("/")[2] in short for cell in known)


def _linked(sheet: Sheet, links: set[str], short: Mapping[str, str]) -> Sheet:
    """With the pictures' new names, where these changed."""

    def cell(column: str, text: str) -> str:
        return (short.get(text) or short.get(text.rpartition("/")[2]) or text) if column in links else text

    rows = tuple(tuple(map(cell, sheet.columns, row)) for row in sheet.rows)
    return Sheet(name=sheet.name, columns=sheet.columns, rows=rows)


def _k(before: Sheet, after: Sheet, told: Told, dataset: Dataset) -> tuple[int | None, ...]:
    """k, and rows that stand alone, by the quasi-identifiers: before and now."""
    pictures = _pictures(dataset)
    quasi = [name for name in before.columns if told.part(before, name, pictures) == "quasi"]
    found = []
    for sheet in (before, after):
        here = [name for name in quasi if name in sheet.columns]
        groups = grouped([_codes(sheet.column(name)) for name in here]) if here and sheet.rows else None
        found.append((groups.k, len(groups.below(2))) if groups else (None, None))
    return found[0][0], found[1][0], found[0][1], found[1][1]


def _codes(values: tuple[str, ...]) -> Any:
    import torch

    number = {value: i for i, value in enumerate(sorted(set(values)))}
    return torch.tensor([number[value] for value in values])
