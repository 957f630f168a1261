"""What pictures' files carry besides the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from genvet.core.dataset import Dataset
from genvet.core.modelfile import Evidence
from genvet.core.report import Measure, Table
from genvet.core.rng import Rng
from genvet.core.rules import RULES
from genvet.core.severity import Severity
from genvet.core.technique import Audit, Nothing, Picture, Result
from genvet.defences.data.evidence import counted, first, share

DESKTOP = ("thumbs.db", "ehthumbs.db", ".ds_store", "desktop.ini", ".picasa.ini", "picasa.ini")
"""Files that desktops leave in a folder: the first two hold previews, of deleted pictures too."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Carried(Result):
    """Facts about files."""

    facts: tuple[Evidence, ...]
    pictures: int
    arrays: bool
    """The pictures come as an array: there are no files to carry anything."""
    unlike: Tensor
    """(2 k, c, s, s) in [-1, 1]: pictures, each followed by its preview that shows something else."""
    captions: tuple[str, ...]

    def summary(self) -> str:
        if self.arrays:
            return "The pictures are an array: there are no files that could carry anything else."
        marked = {f.place for f in self.facts if f.severity > Severity.INFO}
        if not marked:
            return f"None of {self.pictures:,} pictures carries anything besides its pixels that this reader knows."
        rules = sorted({f.rule for f in self.facts}, key=lambda rule: -RULES[rule].severity.rank)
        worst = [f"{RULES[r].title.lower()} ({len({f.place for f in self.facts if f.rule == r}):,})" for r in rules[:3]]
        return f"{len(marked):,} of {self.pictures:,} pictures carry more than their pixels: {'; '.join(worst)}."

    def measures(self) -> tuple[Measure, ...]:
        if self.arrays:
            return ()
        marked = {f.place for f in self.facts if f.severity > Severity.INFO}
        high = {f.place for f in self.facts if f.severity >= Severity.HIGH}
        return (share("marked", len(marked), self.pictures), share("high", len(high), self.pictures))

    def tables(self) -> tuple[Table, ...]:
        return counted(self.facts, self.pictures, "What the files carry")

    def figures(self) -> tuple[Picture, ...]:
        if not len(self.unlike):
            return ()
        said = (
            "Each picture, and right of it the preview that its file carries: what was cropped or blurred away shows."
        )
        return (Picture("Previews that show something else", self.unlike, self.captions, said, columns=4),)

    def evidence(self) -> tuple[Evidence, ...]:
        return first(self.facts)


class Metadata(Audit):
    """EXIF, GPS, XMP, IPTC, comments, colour profiles, previews and hidden bytes of picture files.

    Files are read as bytes by readers that trust none of them; only PNG, JPEG, BMP and PNM are known. What is written
    into the pixels themselves, such as steganography, is not seen.
    """

    source: ClassVar[str] = (
        "Training data leakage, sec. 2.3 and 3 (data audit); CIPA DC-008 (EXIF), IPTC IIM 4, ISO 16684-1 (XMP), "
        "W3C PNG 3, ITU-T T.81 (JPEG)"
    )

    def __call__(self, dataset: Dataset, given: Nothing, rng: Rng) -> Carried:
        facts = [fact for item in dataset.items for fact in item.facts]
        for name in dataset.passed_by:
            if name.rpartition("/")[2].lower() in DESKTOP:
                said = "a desktop's own file, which may hold previews and names, of deleted pictures too"
                facts.append(Evidence(rule="data.metadata", message=said, place=name))
        numbers = sorted(dataset.previews)
        pairs = [x for i in numbers for x in (dataset.small[i], dataset.previews[i].expand_as(dataset.small[i]))]
        shown = torch.stack(pairs).float().div(127.5).sub(1) if pairs else torch.empty(0, 1, 1, 1)
        return Carried(
            facts=tuple(facts),
            pictures=len(dataset),
            arrays=any(item.format == "array" for item in dataset.items),
            unlike=shown,
            captions=tuple(text for i in numbers for text in (dataset.items[i].name, "its preview")),
        )
