"""One way to invert one classifier through one prior, told label by label, so that ways can be compared in pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.inversion.inverted import Inverted
from genvet.catalogue import find
from genvet.core.data import Images, Labelled
from genvet.core.report import Claim, Figure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Probe, Technique
from genvet.engine.running import gift, handed
from genvet.files.omniglot import chosen
from genvet.maths.paired import Comparison, Hypothesis, bootstrapped, judged
from genvet.reproduce.cells import Cell, Done, Numbers, Place, Step
from genvet.reproduce.experiment import Line, Scale, Spread, mean, table, values
from genvet.reproduce.mirror.identities import Domain, Identities
from genvet.reproduce.mirror.measuring import GROUPS, OF_ALL, Held, gap, lengths, measured, natural
from genvet.reproduce.mirror.networks import Prior, Target, prior, target

JUDGES: tuple[Any, ...] = ("allconv", "mixer")
"""Families of the classifiers that are asked: neither is the target's."""
WITNESS: Any = "vgg"
"""And of the one that knows public identities alone."""
REAL, RANDOM = "real", "random"
"""No attack at all: private pictures that nobody learned from, and samples of the prior for nobody in particular."""


class Way(Cell):
    """One inversion of all labels, and what is made of its images."""

    variant: str
    """As the table names it."""
    method: str
    """The attack; or one of the two controls that are none."""
    settings: dict[str, Any] = Field(default_factory=dict)
    critic: bool = True
    """Whether an attack that takes the prior's critic is given it."""
    begin: Literal["noise", "one", "mean"] = "noise"
    """What an attack without a prior begins with: noise, one public picture, or the mean of all of them."""
    prior: Prior
    target: Target
    judges: tuple[Target, ...]
    witness: Target
    labels: Annotated[int, Field(ge=2)]
    block: int

    @property
    def name(self) -> str:
        plain = self.variant.replace(", ", "-").replace(" ", "-").replace("+", "plus")
        return f"{self.target.name}.{self.prior.net}.{plain}.{self.block}"

    def needs(self) -> tuple[Step, ...]:
        return (self.prior, self.target, *self.judges, self.witness)

    def where(self) -> Mapping[str, object]:
        return {"variant": self.variant, "block": self.block}

    def techniques(self) -> tuple[type[Technique], ...]:
        return () if self.method in (REAL, RANDOM) else (self.kind,)

    @property
    def kind(self) -> Any:
        """The attack's class."""
        return find(f"inversion.{self.method}", "attack").load()

    def __call__(self, place: Place) -> Numbers:
        who = self.target.identities(place)
        control, others = one_each(who.test)
        held = Held(
            real=others,
            public=who.public,
            target=self.target.classifier(place),
            judges=tuple(judge.classifier(place) for judge in self.judges),
            witness=self.witness.classifier(place),
            block=self.block,
        )
        x, more = self.images(place, who, control)
        niqe = natural(place.data, self.target.domain, self.target.size, self.target.private)
        more |= {} if niqe is None else {"niqe.patch": niqe.patch, "niqe.rises": float(not niqe.failing)}
        screening = {"screened": float(len(who.screening.near)), "removed": float(who.screening.near.sum())}
        return {**measured(x, held, niqe), **gap(self.prior.generator(place), who.test), **screening, **more}

    def images(self, place: Place, who: Identities, control: Labelled) -> tuple[Tensor, dict[str, float]]:
        """An image for each label, and what else the search told."""
        generator = self.prior.generator(place)
        if self.method == REAL:
            return control.x[: self.labels], {"asked": 0.0}
        if self.method == RANDOM:
            return generator.sample(self.labels, Rng(self.block).fork("random sample")), {"asked": 0.0}
        probe: Probe = self.kind(labels=f"0-{self.labels - 1}", **self.settings)
        critic = self.prior.critic(place) if self.critic else None
        given = gift(probe, {"prior": generator, "critic": critic, **self.offered(who)})
        found = probe(self.seen(probe, place), given, Rng(self.block).fork("inversion"))
        assert isinstance(found, Inverted)
        more = {"asked": float(found.asked)}
        if self.method == "mirror":
            of_w = self.settings.get("space", "w").startswith("w")
            more |= lengths(generator, found.u, of_w, self.settings.get("truncation", 1.0))
        return found.x, more

    def offered(self, who: Identities) -> dict[str, Any]:
        """What any attacker has: public pictures, which may be begun with as well. Private ones are not offered."""
        public = Images(who.public.x, who.public.names)
        begin = {"noise": None, "one": Images(public.x[:1], public.names[:1]), "mean": public}
        return {"public": public, "begin": begin[self.begin]}

    def seen(self, probe: Probe, place: Place) -> Any:
        """The target as the attack sees it."""
        return handed(probe, self.target.classifier(place))


def one_each(test: Labelled) -> tuple[Labelled, Labelled]:
    """A picture of each identity by chance, in the order of their numbers, and all others."""
    order = torch.randperm(len(test), generator=Rng(0, "controls").block())
    drawn = torch.stack([order[test.labels[order] == k][0] for k in range(len(test.classes))])
    others = torch.ones(len(test), dtype=torch.bool).index_fill(0, drawn, False)
    return chosen(test, drawn), chosen(test, others)


Knobs = dict[str, Any]
Variant = tuple[str, str, Knobs]
"""As the table names it; the attack; and its settings."""
NULL = "shuffled target"
"""The control that knows nobody: the attack on a target that was trained on labels dealt out at random."""


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
    more: Callable[[str], Knobs] = nothing,
    domain: Domain = "characters",
    kind: type[Way] = Way,
) -> Iterator[Way]:
    """Block after block, each with every variant once; a block has its own target, prior and judges.

    Of a variant, `through` says which prior it has, `against` which target, and `more` what else its cell has. At smoke
    scale, no prior is fit for a border.
    """
    for block in range(1, blocks + 1):
        for variant, method, settings in variants:
            aim = {"defence": "shuffled"} if variant.startswith(NULL) else against(variant)
            yield kind(
                variant=variant,
                method=method,
                settings=settings,
                prior=prior(scale, block, **{"domain": domain, **through(variant)}),
                target=target(scale, block, **{"domain": domain, **aim}),
                judges=tuple(target(scale, block, family, domain=domain) for family in JUDGES),
                witness=target(scale, block, WITNESS, domain=domain, public=True),
                labels=labels,
                block=block,
                **more(variant),
            )


def rows(done: Done, variant: str, measure: str) -> tuple[Tensor, Tensor, Tensor]:
    """The values of a measure, NaN where a label has none, the labels and the blocks that they are of: (n,) each."""
    found = [
        (told.get(f"{measure}@{label}"), label, cell.block)
        for cell, told in done
        if isinstance(cell, Way) and cell.variant == variant and f"{measure}@0" in told
        for label in range(cell.labels)
    ]
    value, label, block = zip(*found, strict=True) if found else ((), (), ())
    known = [torch.nan if v is None else v for v in value]
    return torch.tensor(known, dtype=torch.float64), torch.tensor(label), torch.tensor(block)


@lru_cache(maxsize=4096)
def _interval(means: tuple[float, ...], measure: str) -> tuple[float, float]:
    row = torch.tensor(means, dtype=torch.float64)
    low, high = bootstrapped(row.numpy(), torch.zeros(len(row), dtype=torch.long).numpy(), Rng(0, measure), 2000)
    return float(low), float(high)


def over_labels(done: Done, variant: str, measure: str) -> Spread | None:
    """The mean over labels, with its bootstrap interval; n counts labels."""
    value, label, _ = rows(done, variant, measure)
    label, value = label[~value.isnan()], value[~value.isnan()]
    if not len(value):
        return None
    labels, place = label.unique(return_inverse=True)
    means = torch.zeros(len(labels)).double().index_add_(0, place, value) / place.bincount()
    return Spread(float(means.mean()), *_interval(tuple(means.tolist()), measure), len(labels))


def lines(
    done: Done, variants: Sequence[str], measures: Mapping[str, str], paper: Mapping[tuple[str, str], float]
) -> list[Line]:
    """A line for each measure that there is, and each variant."""
    there = [name for name in measures if any(f"{name}@0" in told for _, told in done)]
    return [
        Line((variant, measures[name]), paper.get((variant, name)), over_labels(done, variant, name))
        for name in there
        for variant in variants
    ]


def tables(
    title: str, done: Done, variants: Sequence[str], paper: Mapping[tuple[str, str], float] | None = None
) -> tuple[Table, ...]:
    """A table for each thing that measures are about."""
    made = []
    for about, measures in GROUPS.items():
        told = lines(done, variants, measures, paper or {})
        if "public" in measures:
            told += [
                Line((variant, words), None, mean(values(done, name, Way, variant=variant)), _beside(done, name))
                for name, words in OF_ALL.items()
                for variant in variants
                if values(done, name, Way, variant=variant)
            ]
        made.append(table(f"{title}: {about}", ("images", "measure"), told))
    return tuple(made)


def _beside(done: Done, name: str) -> str:
    """What as many fresh real pictures would have."""
    known = {"density": 1.0, "coverage": next(iter(values(done, "coverage.expected", Way)), None)}
    return "" if known.get(name) is None else f"{known[name]:.3g} for as many real ones; range over blocks"


def bars(title: str, done: Done, variants: Sequence[str], measure: str) -> Iterator[Figure]:
    """The mean of a measure over labels, by variant."""
    found = {name: ours.value for name in variants if (ours := over_labels(done, name, measure))}
    if found:
        data = {"labels": list(found), "values": list(found.values()), "x": ""}
        yield Figure(kind="bars", title=title, data=data)


SERIES = 6
"""Points of a scatter that can be told apart by name."""


def scatter(
    title: str, done: Done, variants: Sequence[str], x: tuple[str, str], y: tuple[str, str]
) -> Iterator[Figure]:
    """Each of a few variants as a point: two measures, with their words."""
    pairs = {name: (over_labels(done, name, x[0]), over_labels(done, name, y[0])) for name in variants[:SERIES]}
    series = {name: [[a.value], [b.value]] for name, (a, b) in pairs.items() if a and b}
    if series:
        yield Figure(kind="scatter", title=title, data={"series": series, "x": x[1], "y": y[1]})


Expected = Literal["greater", "smaller", "different"]
Asked = tuple[str, str, str, str, str, Expected]
"""Id, words, ours, theirs, measure, and what ours should be."""


def compared(done: Done, asked: Iterable[Asked]) -> tuple[list[Comparison], list[str]]:
    """The comparisons that all numbers are there for, and the ids of the others."""
    pairs, open_ = [], []
    for name, words, ours, theirs, measure, expected in asked:
        a, label, block = rows(done, ours, measure)
        b, other, of = rows(done, theirs, measure)
        if not len(a) or len(a) != len(b) or not torch.equal(label, other) or not torch.equal(block, of):
            open_.append(name)
            continue
        pairs.append(Comparison(id=name, words=words, ours=a, theirs=b, label=label, block=block, expected=expected))
    return pairs, open_


def hypotheses(done: Done, asked: Iterable[Asked], among: int = 0) -> tuple[Claim, ...]:
    """Claims of one family, undecided until all that they compare is there, in as many blocks as a claim takes.

    `among` is how many hypotheses the family has where others of them are decided elsewhere: they are taken to be no
    surer than these, which can only make the correction stricter.
    """
    asked = tuple(asked)
    pairs, _ = compared(done, asked)
    found = {h.id: h for h in family(pairs, among)}
    return tuple(_claim(name, words, found.get(name)) for name, words, *_ in asked)


def family(pairs: Sequence[Comparison], among: int = 0) -> tuple[Hypothesis, ...]:
    """Tested and corrected together, with as many others of which nothing is known as `among` says there are."""
    if not pairs:
        return ()
    none = torch.zeros(2, dtype=torch.float64)
    pad = Comparison(id="unknown", words="", ours=none, theirs=none, label=torch.arange(2), block=torch.ones(2))
    return judged([*pairs, *[pad] * (among - len(pairs))], Rng(0, "hypotheses"))[: len(pairs)]


FEWEST = 3
"""Blocks that a claim is decided on."""


def _claim(name: str, words: str, found: Hypothesis | None) -> Claim:
    """For the report."""
    if found is None:
        return Claim(id=name, status="undecided", evidence=f"{words}: not all of it is measured")
    made = found.claim()
    return made if len(found.blocks) >= FEWEST else made.model_copy(update={"status": "undecided"})


def told_of(done: Done) -> tuple[str, ...]:
    """How many public pictures look like private ones, and were left out, where cells say so."""
    screened = {
        (cell.target.domain, told.get("removed"), told.get("screened"))
        for cell, told in done
        if isinstance(cell, Way) and told.get("screened") is not None
    }
    return tuple(
        f"Of the public {domain}, {removed:.0f} of {n:.0f} pictures that look like private ones were left out."
        for domain, removed, n in sorted(screened)
        if removed is not None and n is not None
    )
