"""Pictures with text that can be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.dataset import Dataset
from genvet.core.errors import Unsupported
from genvet.core.modelfile import Evidence
from genvet.core.personal import traces
from genvet.core.progress import track
from genvet.core.report import Measure
from genvet.core.rng import Rng
from genvet.core.technique import Audit, Nothing, Picture, Result
from genvet.defences.data.evidence import first, share
from genvet.defences.data.looking import chosen
from genvet.nets import text_reader
from genvet.nets.planted_text import written

SHOWN = 24


@dataclass(frozen=True, eq=False, kw_only=True)
class Written(Result):
    """What was read."""

    found: tuple[tuple[str, tuple[str, ...]], ...]
    """Pictures with text, and its lines."""
    looked: int
    of: int
    power: tuple[int, int]
    """Of pictures with a planted line, in how many something was read."""
    size: int
    shown: Tensor

    def summary(self) -> str:
        drawn = f" drawn of {self.of:,}" * (self.looked < self.of)
        hits, n = self.power
        return (
            f"Text in {len(self.found):,} of {self.looked:,} pictures{drawn}, by {text_reader.NAME}; of {n} planted "
            f"lines of {self.size} pixels it finds {hits}."
        )

    def measures(self) -> tuple[Measure, ...]:
        power = share("power", *self.power, f"planted lines of {self.size} pixels")
        return (share("text", len(self.found), self.looked), power)

    def figures(self) -> tuple[Picture, ...]:
        if not len(self.shown):
            return ()
        captions = tuple(name for name, _ in self.found)[: len(self.shown)]
        return (Picture("Pictures with text", self.shown, captions),)

    def evidence(self) -> tuple[Evidence, ...]:
        return first(_fact(name, lines) for name, lines in self.found)


def _fact(name: str, lines: tuple[str, ...]) -> Evidence:
    """Text with an address or a number in it is personal, and masked."""
    found = [trace for trace in traces(" ".join(lines)) if trace.kind != "day"]
    if found:
        return Evidence(rule="data.personal", message=f"in the picture: {', '.join(map(str, found[:5]))}", place=name)
    return Evidence(rule="data.text", message=f"reads {' / '.join(lines[:5])!r}"[:200], place=name)


class Text(Audit):
    """Text that can be read, by networks that come inside RapidOCR's package and need no download.

    Lines smaller than about ten pixels, handwriting and decorated letters are often missed: lines are planted in the
    data's own pictures to tell how many are found.
    """

    source: ClassVar[str] = "Training data leakage, sec. 2.3 (personal data); Du et al.: PP-OCR, arXiv 2009.09941"
    extra: ClassVar[str] = text_reader.EXTRA
    module: ClassVar[str] = text_reader.MODULE
    smoke: ClassVar[dict[str, int]] = {"most": 1, "planted": 1}

    most: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Pictures that are looked at, at about half a second each; of more, so many are drawn."""
    sure: Annotated[float, Field(ge=0, le=1)] = 0.7
    """What the reader is less sure of is no text."""
    planted: Annotated[int, Field(ge=1, le=1000)] = 10
    """Pictures with a line of our own, to measure the power."""

    def __call__(self, dataset: Dataset, given: Nothing, rng: Rng) -> Written:
        if not len(dataset):
            raise Unsupported("there are no pictures")
        which = chosen(len(dataset), self.most, rng)
        found, shown, clear = [], [], []
        for i in track(which, len(which), "looking for text"):
            lines = text_reader.lines(dataset.whole(i), self.sure)
            if lines:
                found.append((dataset.items[i].name, tuple(line.text for line in lines)))
                shown.append(i)
            else:
                clear.append(i)
        size, marked = 14, (clear or which)[: self.planted]
        hits = sum(
            bool(text_reader.lines(written(dataset.whole(i), f"Anna {i} 4711", size), self.sure)) for i in marked
        )
        return Written(
            found=tuple(found),
            looked=len(which),
            of=len(dataset),
            power=(hits, len(marked)),
            size=size,
            shown=dataset.x(shown[:SHOWN]) if shown else torch.empty(0, 1, 1, 1),
        )
