"""Names of files and folders that tell of people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from genvet.core.dataset import Dataset
from genvet.core.modelfile import Evidence
from genvet.core.personal import Kind, traces
from genvet.core.report import Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Audit, Nothing, Result
from genvet.defences.data.evidence import counted, first, share

RULE: dict[Kind, str] = {
    "e-mail": "data.personal",
    "phone": "data.personal",
    "identity number": "data.personal",
    "day": "data.time",
    "name": "data.name",
}
WORDS = {"data.personal": "an address or a number", "data.name": "what may be somebody's name", "data.time": "a day"}


@dataclass(frozen=True, eq=False, kw_only=True)
class Named(Result):
    """Facts about names."""

    facts: tuple[Evidence, ...]
    pictures: int

    def summary(self) -> str:
        if not self.facts:
            return f"None of {self.pictures:,} names holds an address, a number, a day or two words like a name."
        counts = {rule: len({f.place for f in self.facts if f.rule == rule}) for rule in WORDS}
        said = "; ".join(f"{words} in {counts[rule]:,}" for rule, words in WORDS.items() if counts[rule])
        return f"Names tell of people, in {self.pictures:,} pictures: {said}."

    def measures(self) -> tuple[Measure, ...]:
        return (share("telling", len({f.place for f in self.facts}), self.pictures),)

    def tables(self) -> tuple[Table, ...]:
        return counted(self.facts, self.pictures, "What names tell")

    def evidence(self) -> tuple[Evidence, ...]:
        return first(self.facts)


class Names(Audit):
    """Addresses, phone numbers, days and what may be people's names, in the names of files and folders.

    A name is two to four words in a row that begin with a capital: `anna_schmidt` and nicknames are not seen, and
    other names of things are. Words of your own that are nobody's name go into `known`.
    """

    source: ClassVar[str] = "Training data leakage, sec. 2.3 (data minimisation), 3 (data audit)"

    known: Annotated[tuple[str, ...], Field(max_length=10_000)] = ()
    """Words that are nobody's name, such as those of classes."""

    def __call__(self, dataset: Dataset, given: Nothing, rng: Rng) -> Named:
        names = [item.name for item in dataset.items if item.format != "array"]
        facts = [fact for name in names for fact in self._facts(name)]
        return Named(facts=tuple(facts), pictures=len(dataset))

    def _facts(self, name: str) -> Iterator[Evidence]:
        ours = {word.lower() for word in self.known}
        stem = name.rpartition(".")[0] or name
        seen = set()
        for part in stem.split("/"):
            for trace in traces(part, names=True):
                words = {word.lower() for word in trace.text.split()}
                if str(trace) not in seen and not (trace.kind == "name" and words & ours):
                    seen.add(str(trace))
                    yield Evidence(rule=RULE[trace.kind], message=str(trace), place=name)
