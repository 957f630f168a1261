"""Tables of metadata in: CSV, TSV, JSON and JSON lines, as rows of printable text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from genvet.core.dataset import Sheet
from genvet.core.errors import BadInput
from genvet.core.printable import printable

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
MOST_ROWS, MOST_COLUMNS, MOST_CELL = 1_000_000, 1000, 2000
MOST_BYTES = 256 << 20
Row = Mapping[str, Any]


def read_sheet(data: bytes, name: str) -> Sheet | None:
    """The table in a file's bytes; None for JSON that is none. Raises BadInput for what is too large or damaged."""
    if len(data) > MOST_BYTES:
        raise BadInput(f"{name} is too large for a table", expected=f"at most {MOST_BYTES >> 20} MiB")
    if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadInput(f"{name} is no text")
    try:
        text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    suffix = PurePosixPath(name).suffix.lower()
    try:
        rows = _READERS.get(suffix, _json)(text)
        return _sheet(name, rows) if rows is not None else None
    except (ValueError, RecursionError, csv.Error) as error:
        raise BadInput(f"{name} is no readable table", got=printable(error, 200)) from None


def _separated(text: str) -> list[Row]:
    """Cells by the separator that the first line has most of; names in the first line."""
    first = text.partition("\n")[0]
    separator = max(",;\t|", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    names = _unlike([cell.strip() for cell in next(reader, [])])
    rows: list[Row] = []
    for cells in reader:
        if len(rows) >= MOST_ROWS:
            raise ValueError(f"more than {MOST_ROWS:,} rows")
        if len(cells) > len(names):
            raise ValueError(f"line {reader.line_num} has {len(cells)} cells, and the first line {len(names)}")
        if cells:
            rows.append(dict(zip(names, cells, strict=False)))
    return rows if rows else [dict.fromkeys(names, "")] if any(names) else []


def _unlike(names: Sequence[str]) -> list[str]:
    """No two alike, none empty."""
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        shown = name or f"column {i + 1}"
        seen[f"{shown} ({i + 1})" if shown in seen else shown] = i
    return list(seen)


def _lines(text: str) -> list[Row] | None:
    rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    return rows if rows and all(isinstance(row, dict) for row in rows) else None


def _json(text: str) -> list[Row] | None:
    """A list of records, records by name (whose name becomes a column), or lists by column."""
    whole = json.loads(text)
    if isinstance(whole, dict):
        lists = [value for value in whole.values() if isinstance(value, list)]
        if len(lists) == 1 and lists[0] and all(isinstance(row, dict) for row in lists[0]):
            whole = lists[0]  # such as {"images": [...], "info": ...}
        elif whole and all(isinstance(value, dict) for value in whole.values()):
            whole = [{"name": key, **value} for key, value in whole.items()]
        elif whole and len(lists) == len(whole) and len({len(value) for value in lists}) == 1:
            whole = [dict(zip(whole, cells, strict=True)) for cells in zip(*lists, strict=True)]
    fine = isinstance(whole, list) and whole and all(isinstance(row, dict) for row in whole)
    return whole if fine else None


_READERS: dict[str, Callable[[str], list[Row] | None]] = {
    ".csv": _separated,
    ".tsv": _separated,
    ".json": _json,
    ".jsonl": _lines,
    ".ndjson": _lines,
}


def _sheet(name: str, rows: Sequence[Row]) -> Sheet | None:
    if len(rows) > MOST_ROWS:
        raise ValueError(f"more than {MOST_ROWS:,} rows")
    flat = [dict(_flat(row)) for row in rows]
    columns = list(dict.fromkeys(key for row in flat for key in row))
    if len(columns) > MOST_COLUMNS:
        raise ValueError(f"more than {MOST_COLUMNS:,} columns")
    shown = [printable(column, 100) for column in columns]
    cells = tuple(tuple(row.get(column, "") for column in columns) for row in flat)
    return Sheet(name=name, columns=tuple(_unlike(shown)), rows=cells) if columns else None


def _flat(row: Row, above: str = "") -> Iterator[tuple[str, str]]:
    """Records within records by dotted names; lists and what lies deeper as one cell."""
    for key, value in row.items():
        if isinstance(value, dict) and not above:
            yield from _flat(value, f"{key}.")
        else:
            text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
            yield f"{above}{key}", printable(text.strip(), MOST_CELL)
