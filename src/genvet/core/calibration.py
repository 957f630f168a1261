"""Thresholds that a population of generators gave: which measure, from which value on, and for whom they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from genvet.core.report import Finding, Record

Text = Annotated[str, Field(max_length=400)]
Number = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class Subject:
    """What of a generator decides whether a population speaks for it."""

    family: str
    """As nets.family names it: convolutional with batch norms."""
    shape: tuple[int, ...]
    """Of one sample."""


class Limit(Record):
    """From which value on a measure says that something is planted; for one family of generators."""

    technique: Text
    version: int
    config: dict[str, Any]
    """The settings under which the population was measured: it holds for no others."""
    measure: Text
    why: Text
    """What a high value means."""
    family: Text
    above: Number
    middle: Number
    """The median of the clean generators."""

    def measured_alike(self, finding: Finding) -> bool:
        """Whether the finding comes from the same inspection, at the same settings."""
        same = (self.technique, self.version) == (finding.technique, finding.version)
        return same and self.config == finding.config


class Population(Record):
    """Where limits come from, and how far they can be trusted."""

    name: Text
    depth: Text
    clean: Annotated[int, Field(ge=1)]
    """Clean generators that gave the limits; none of them passes one."""
    parents: Annotated[int, Field(ge=1)]
    """Trainings that they grew from."""
    attacked: Annotated[int, Field(ge=0)] = 0
    kinds: dict[Text, tuple[tuple[int, ...], ...]]
    """By family, the shapes of one sample."""
    false_alarms: Annotated[int, Field(ge=0)] = 0
    """Clean ones that passed limits which other parents had given."""
    bound: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Upper end of the 95 % interval of the false-alarm rate, from limits that other parents had given."""
    detected: Annotated[int, Field(ge=0)] = 0
    """Attacked ones that passed limits which other parents had given."""
    genvet: Text = ""
    limits: Annotated[tuple[Limit, ...], Field(max_length=500)] = ()

    def holds_for(self, subject: Subject | None) -> bool:
        """Whether it speaks for such a generator: one of its families, at one of the shapes that this one has there."""
        return subject is not None and tuple(subject.shape) in self.kinds.get(subject.family, ())

    def limits_of(self, finding: Finding, subject: Subject | None) -> dict[str, Limit]:
        """By measure, the limit for this family; for one that it does not know, the least alarming."""
        alike = [limit for limit in self.limits if limit.measured_alike(finding)]
        own = [limit for limit in alike if subject and limit.family == subject.family]
        known: dict[str, Limit] = {}
        for limit in sorted(alike, key=lambda x: x.above):
            known[limit.measure] = limit
        return known | {limit.measure: limit for limit in own}


class Thresholds(Record):
    """All populations at hand."""

    populations: Annotated[tuple[Population, ...], Field(max_length=50)] = ()

    def of(self, finding: Finding, subject: Subject | None) -> tuple[Population, dict[str, Limit]] | None:
        """The population that knows this measurement, one that holds for the subject before others."""
        ranked = sorted(self.populations, key=lambda p: not p.holds_for(subject))
        return next(((p, limits) for p in ranked if (limits := p.limits_of(finding, subject))), None)
