"""A set of training data as it lies: its pictures, what their files carry besides them, and the tables beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from genvet.core.modelfile import Evidence

SIDE = 64
"""Pixels a side of the small pictures that are compared."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One picture, and what its file carries besides the pixels. Every text in it is already printable."""

    name: str
    """Its path in the data set; of an array, its number there."""
    sha256: str
    """Of the file's bytes; of an array's picture, of its pixels."""
    pixels: str
    """SHA-256 of the decoded picture: the same for copies whose files differ in metadata alone."""
    size: int
    """Bytes of the file."""
    shape: tuple[int, int, int]
    """Channels, height, width."""
    format: str
    facts: tuple[Evidence, ...] = ()
    """What it carries besides the pixels, each tied to a rule."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table of metadata that lies beside the pictures. Every text in it is already printable."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """As many cells each as there are columns; an empty cell is a missing value."""

    def column(self, name: str) -> tuple[str, ...]:
        """The cells of one column."""
        i = self.columns.index(name)
        return tuple(row[i] for row in self.rows)


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A file that was not looked at, or not wholly, and why."""

    name: str
    why: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """What an Audit looks at."""

    path: str
    items: tuple[Item, ...]
    small: Tensor
    """(n, c, 64, 64) bytes: every picture, brought to a square of one size by resampling alone, nothing cut off."""
    whole: Callable[[int], Tensor]
    """A picture as it is, by its number: (c, h, w) in [-1, 1], decoded anew."""
    labels: Tensor | None = None
    """(n,) numbers into `classes`; None where no folder, array or sibling file says."""
    classes: tuple[str, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    previews: Mapping[int, Tensor] = field(default_factory=dict)
    """Embedded previews that show something else than their picture, by its number: (c, 64, 64) bytes."""
    passed_by: tuple[str, ...] = ()
    """Files that are neither pictures nor tables, such as a readme."""
    unread: tuple[Unread, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def first_equal(self) -> tuple[int, ...]:
        """Of each picture, the number of the first that is equal to it."""
        first: dict[str, int] = {}
        return tuple(first.setdefault(item.pixels, i) for i, item in enumerate(self.items))

    def x(self, which: slice | list[int] = slice(None)) -> Tensor:
        """The small pictures, or some of them, in [-1, 1]."""
        return self.small[which].float().div_(127.5).sub_(1)
