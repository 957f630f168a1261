"""Sensitivity: how far one record moves a critic's clipped gradients, and which of its parts let it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch.nn.modules.batchnorm import _BatchNorm

from genvet.core.data import Critic
from genvet.core.errors import Unsupported
from genvet.core.queries import Samples
from genvet.core.report import Figure, Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Probe, Result
from genvet.training.clipping import Clipping
from genvet.training.privacy_linter import Breach, lint
from genvet.training.sensitivity import Moved, alone, jointly, sensitivity

BOUNDS = {"removed": 1.0, "replaced": 2.0}
"""In units of the clipping norm: what a record may move the sum by."""
ALONE, JOINTLY = "each record by itself", "records together"


@dataclass(frozen=True)
class Given:
    """What a generator was trained against."""

    critic: Critic


@dataclass(frozen=True, eq=False, kw_only=True)
class Bounded(Result):
    """How far the sum went, by the way in which records are put through; and the parts that mix them."""

    moved: dict[str, Moved]
    breaches: tuple[Breach, ...]
    clip: float

    def summary(self) -> str:
        told = []
        for way, moved in self.moved.items():
            said = "keeps to" if moved.holds else "breaks"
            far = f"{moved.removed:.3g} norms where one is removed, {moved.replaced:.3g} where one is replaced"
            told.append(f"{way}, this critic {said} the bound of 1 and 2 ({far}, the most of {moved.trials} trials)")
        parts = ", ".join(sorted({breach.rule for breach in self.breaches})) or "none"
        said = "Trials can refute a bound, not prove it."
        return f"With {'; with '.join(told)}. Parts that break it by name: {parts}. {said}"

    def measures(self) -> tuple[Measure, ...]:
        made = [
            Measure(name="breaches", value=len(self.breaches), note="parts of the critic that mix records or keep them")
        ]
        for way, moved in self.moved.items():
            short = "" if way == ALONE else ".together"
            for name, bound in BOUNDS.items():
                note = f"clipping norms, {way}; {bound:g} is the bound; the largest of {moved.trials} trials"
                made.append(Measure(name=f"{name}{short}", value=getattr(moved, name), note=note, n=moved.trials))
        return tuple(made)

    def figures(self) -> tuple[Figure, ...]:
        bars = {f"the bound where one is {name}": bound for name, bound in BOUNDS.items()}
        bars |= {f"{name}, {way}": getattr(moved, name) for way, moved in self.moved.items() for name in BOUNDS}
        data = {"labels": list(bars), "values": list(bars.values()), "x": "clipping norms"}
        return (Figure(kind="bars", title="How far one record moves the clipped sum, in norms", data=data),)

    def tables(self) -> tuple[Table, ...]:
        rows = tuple((b.where, b.rule, b.mend or "refused", str(b)) for b in self.breaches)
        return (Table(title="Parts that break the bound", columns=("part", "rule", "mended by", "why"), rows=rows),)


class Sensitivity(Probe):
    """How far one record moves a critic's clipped gradients, by trial, and which of its parts mix records."""

    source: ClassVar[str] = (
        "Dwork, Roth: The algorithmic foundations of differential privacy, 2014, def. 3.8 (sensitivity)"
    )
    smoke: ClassVar[dict[str, Any]] = {"trials": 2, "records": 4}

    clip: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Largest norm of one record's gradient."""
    clipping: Clipping = "flat"
    """Of the whole gradient, or of each layer's or each output channel's share; where records go through alone."""
    gamma: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    """Weight of R1 inside the loss that is clipped; where records go through alone."""
    ways: Literal["both", "alone", "together"] = "both"
    """Records by themselves, as GenVet trains; together, as hooks and loops over losses do."""
    trials: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Random weights and batches that are tried."""
    records: Annotated[int, Field(ge=2, le=4096)] = 32
    """In a batch."""

    def __call__(self, target: Samples, given: Given, rng: Rng) -> Bounded:
        critic, shape = given.critic.module, tuple(given.critic.shape)
        if getattr(getattr(critic, "config", None), "classes", 0):
            raise Unsupported("a conditional critic is not tried out", hint="train it without --conditional for this")
        ways = {ALONE: alone(self.clip, self.clipping, self.gamma), JOINTLY: jointly(self.clip)}
        if any(isinstance(m, _BatchNorm) for m in critic.modules()):
            if self.ways == "alone":
                raise Unsupported("a batch norm has no single records", hint="--ways together shows what that does")
            del ways[ALONE]
        wanted = {"both": (ALONE, JOINTLY), "alone": (ALONE,), "together": (JOINTLY,)}[self.ways]
        moved = {
            way: sensitivity(critic, summed, shape, self.clip, rng.fork(way), self.trials, self.records)
            for way, summed in ways.items()
            if way in wanted
        }
        return Bounded(moved=moved, breaches=lint(critic, shape), clip=self.clip)
