"""One way to invert one classifier through one prior, told label by label, so that ways can be compared in pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.inversion.inverted import Inverted
from genvet.catalogue import find
from genvet.core.data import Images
from genvet.core.report import Claim
from genvet.core.rng import Rng
from genvet.core.technique import Probe, Technique
from genvet.engine.running import gift, handed
from genvet.maths.paired import Comparison, bootstrapped, judged
from genvet.nets.evidence import Evidence
from genvet.reproduce.cells import Cell, Done, Numbers, Place, Step
from genvet.reproduce.experiment import Line, Scale, Spread
from genvet.reproduce.mirror.networks import Prior, Target, characters, prior, target

JUDGES: tuple[Any, ...] = ("allconv", "mixer")
"""Families of the classifiers that are asked: neither is the target's."""
MEASURES = {
    "target": "the target takes it for the label",
    "judges": "others do: the mean over two",
    "neighbours": "three nearest private drawings are of the label, in random convolutions",
    "nearest": "distance to the nearest private drawing, in units of real ones",
    "centroid": "distance to the mean of the private drawings, in units of real ones",
}
SPACE = 1
"""Of the spaces that an inversion tells distances in, the one that no training made: the second."""


class Way(Cell):
    """One inversion of all labels, and what is made of its images."""

    variant: str
    """As the table names it."""
    method: str
    """The attack; or real: the private drawings that nobody learned from."""
    settings: dict[str, Any] = Field(default_factory=dict)
    prior: Prior
    target: Target
    judges: tuple[Target, ...]
    labels: Annotated[int, Field(ge=2)]
    block: int

    @property
    def name(self) -> str:
        plain = self.variant.replace(", ", "-").replace(" ", "-").replace("+", "plus")
        return f"{self.target.name}.{self.prior.net}.{plain}.{self.block}"

    def needs(self) -> tuple[Step, ...]:
        return (self.prior, self.target, *self.judges)

    def where(self) -> Mapping[str, object]:
        return {"variant": self.variant, "block": self.block}

    def techniques(self) -> tuple[type[Technique], ...]:
        return () if self.method == "real" else (find(f"inversion.{self.method}", "attack").load(),)

    def __call__(self, place: Place) -> Numbers:
        method = "best_sample" if self.method == "real" else self.method
        kind: Any = find(f"inversion.{method}", "attack").load()
        settings = {"samples": 100} if self.method == "real" else self.settings
        probe: Probe = kind(labels=f"0-{self.labels - 1}", **settings)
        drawn = characters(place.data, self.target.size, self.target.private)
        have = {
            "prior": self.prior.generator(place),
            "critic": self.prior.critic(place),
            "judges": tuple(judge.classifier(place) for judge in self.judges),
            "private": drawn.test,
            "public": Images(drawn.public.x, drawn.public.names),
        }
        found = probe(self.seen(probe, place), gift(probe, have), Rng(self.block).fork("inversion"))
        assert isinstance(found, Inverted)
        told = numbers(found.looks["real" if self.method == "real" else found.method], found.asked)
        return told if found.gap is None else {**told, "gap": found.gap[0], "gap.floor": found.gap[1]}

    def seen(self, probe: Probe, place: Place) -> Any:
        """The target as the attack sees it."""
        return handed(probe, self.target.classifier(place))


def numbers(look: Evidence, asked: int) -> Numbers:
    """Every measure of every label."""
    ranks = list(look.references.values())
    judges = torch.stack([r.rank == 1 for r in ranks[:-1]]).double().mean(0)
    apart = list(look.distances.values())[SPACE]
    rows = {
        "target": (look.target.rank == 1).double(),
        "judges": judges,
        "neighbours": (ranks[-1].rank == 1).double(),
        "nearest": apart.nearest,
        "centroid": apart.centroid,
    }
    told = {f"{name}@{int(k)}": float(v) for name, row in rows.items() for k, v in zip(look.label, row, strict=True)}
    return {**told, "asked": float(asked)}


Knobs = dict[str, Any]
Variant = tuple[str, str, Knobs]
"""As the table names it; the attack; and its settings."""


def nothing(variant: str) -> Knobs:
    """For tables whose variants share prior and target."""
    return {}


def ways(
    scale: Scale,
    variants: Sequence[Variant],
    labels: int,
    blocks: int,
    through: Callable[[str], Knobs] = nothing,
    against: Callable[[str], Knobs] = nothing,
    kind: type[Way] = Way,
) -> Iterator[Way]:
    """Block after block, each with every variant once; a block has its own target, prior and judges.

    `through` and `against` say how the prior and the target of a variant differ from the usual ones.
    """
    for block in range(1, blocks + 1):
        for variant, method, settings in variants:
            yield kind(
                variant=variant,
                method=method,
                settings=settings,
                prior=prior(scale, block, **through(variant)),
                target=target(scale, block, **against(variant)),
                judges=tuple(target(scale, block, family) for family in JUDGES),
                labels=labels,
                block=block,
            )


def rows(done: Done, variant: str, measure: str) -> tuple[Tensor, Tensor, Tensor]:
    """The values of a measure, the labels and the blocks that they are of: (n,) each."""
    found = [
        (told.get(f"{measure}@{label}"), label, cell.block)
        for cell, told in done
        if cell.variant == variant and f"{measure}@0" in told
        for label in range(cell.labels)
    ]
    value, label, block = zip(*found, strict=True) if found else ((), (), ())
    return torch.tensor(value, dtype=torch.float64), torch.tensor(label), torch.tensor(block)


def over_labels(done: Done, variant: str, measure: str) -> Spread | None:
    """The mean over labels, with its bootstrap interval; n counts labels."""
    value, label, _ = rows(done, variant, measure)
    if not len(value):
        return None
    labels, place = label.unique(return_inverse=True)
    mean = torch.zeros(len(labels)).double().index_add_(0, place, value) / place.bincount()
    low, high = bootstrapped(mean.numpy(), torch.zeros(len(labels), dtype=torch.long).numpy(), Rng(0, measure), 2000)
    return Spread(float(mean.mean()), float(low), float(high), len(labels))


def lines(done: Done, variants: Sequence[str], paper: Mapping[tuple[str, str], float] | None = None) -> list[Line]:
    """A line for each variant and measure."""
    told = [
        Line((variant, words), (paper or {}).get((variant, name)), over_labels(done, variant, name))
        for variant in variants
        for name, words in MEASURES.items()
    ]
    return told


Expected = Literal["greater", "smaller", "different"]


def hypotheses(done: Done, asked: Iterable[tuple[str, str, str, str, str, Expected]]) -> tuple[Claim, ...]:
    """Claims of (id, words, ours, theirs, measure, what ours should be); undecided until both are there."""
    open_, pairs = [], []
    for name, words, ours, theirs, measure, expected in asked:
        a, label, block = rows(done, ours, measure)
        b, other, of = rows(done, theirs, measure)
        if not len(a) or len(a) != len(b) or not torch.equal(label, other) or not torch.equal(block, of):
            open_.append(Claim(id=name, status="undecided", evidence=f"{words}: not all of it is measured"))
            continue
        pairs.append(Comparison(id=name, words=words, ours=a, theirs=b, label=label, block=block, expected=expected))
    return (*(h.claim() for h in judged(pairs, Rng(0, "hypotheses"))), *open_) if pairs else tuple(open_)
