"""What inversions have in common: the labels, the prior, the images that came out, and who else recognises them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.data import Images, Labelled
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.printable import printable
from genvet.core.report import Figure, Measure, Scalar, Table
from genvet.core.scores import Scores
from genvet.core.technique import Picture, Result, Technique
from genvet.maths.statistics import clopper_pearson
from genvet.nets.first_guesses import shown
from genvet.nets.style_space import numbers

CONTROLS = {
    "best sample": "the best of the prior's own samples",
    "nearest public": "the public images that are nearest",
}
"""Rows that a search has to do better than."""
SHOWN = 12
"""Labels in a picture."""
BEST = 5
"""A reference is asked for its likeliest label, and whether the label is among so many."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Beside:
    """What the images of an inversion are held against."""

    judges: tuple[Classifier, ...] = ()
    """Other classifiers of the same classes, which share nothing with the target: who else recognises the images."""
    private: Labelled | None = None
    """Real images of the target's classes that it was not trained on: what is to be found."""
    public: Images | None = None
    """Real images that the attacker has: the nearest of them stands beside every inversion."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Against(Beside):
    """The same, for an inversion that goes through a generator."""

    prior: Generator
    """A generator of images like those that the target was trained with, but of none of them."""


class Inverting(Technique):
    """The knobs of every inversion."""

    labels: Annotated[str, Field(max_length=10_000)] = ""
    """Classes to invert, by number, such as 0-9,12; all of them unless given."""
    batch: Annotated[int, Field(ge=1, le=4096)] = 32
    """Images at once; the result does not depend on it."""

    def chosen(self, classes: tuple[str, ...]) -> Tensor:
        """The numbers of the classes, (m,); raises BadInput for one that there is not."""
        return torch.tensor(numbers(self.labels, len(classes), "class") if self.labels else range(len(classes)))


class Sampling(Inverting):
    """The same, for those that look at samples of the prior first."""

    samples: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    """Images of the prior that the target is shown first, once for all labels."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """What a search came to."""

    labels: Tensor
    """(m,)."""
    x: Tensor
    """An image for each, (m, *shape)."""
    u: Tensor
    """Where they lie in the space that was searched, (m, ...)."""
    asked: int
    """Images that the target was shown."""
    start: Tensor | None = None
    """The best of the prior's samples for each label, (m, *shape)."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What classifiers say of one image for each label."""

    top: Tensor
    """Whether the label is the likeliest, (classifiers, labels) bool; the target is the first."""
    among: Tensor
    """Whether it is among the five likeliest, (classifiers, labels) bool."""
    sure: Tensor
    """The probability of the label, (classifiers, labels)."""

    @classmethod
    def of(cls, judges: Sequence[Classifier | Scores], x: Tensor, labels: Tensor) -> Verdicts:
        """Of images (labels, *shape); a class whose probability is not told is not among the likeliest."""
        p = torch.stack([_asked(judge, shown(x, judge.shape)) for judge in judges])
        own = p.gather(2, labels[None, :, None].expand(len(p), -1, 1))
        rank = (p > own).sum(2)
        told = own[:, :, 0] > 0
        return cls((rank == 0) & told, (rank < BEST) & told, own[:, :, 0])


@dataclass(frozen=True, eq=False, kw_only=True)
class Inverted(Result):
    """One image for each label, and the same measures for what stands beside it."""

    method: str
    labels: Tensor
    """(m,)."""
    classes: tuple[str, ...]
    x: Tensor
    """The images, (m, *shape), in the prior's shape."""
    u: Tensor
    """Where they lie in the latent space, (m, ...)."""
    asked: int
    """Images that the target was shown."""
    verdicts: dict[str, Verdicts]
    """Of the inversions, the best samples and, where they were given, real images."""
    rows: dict[str, Tensor]
    """Pictures to stand below one another, (m, *shape) each."""
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        target, others = self.verdicts[self.method].top[0], self.verdicts[self.method].top[1:]
        told = f"{int(target.sum())} of {len(self.labels)} labels: the target takes the image for its own"
        if len(others):
            told += f"; other classifiers agree in {float(others.float().mean()):.0%} of cases"
            beside = {name: float(self.verdicts[name].top[1:].float().mean()) for name in CONTROLS if name in self.rows}
            told += "".join(f", and in {share:.0%} with {CONTROLS[name]}" for name, share in beside.items())
        return f"{told}. {' '.join(self.notes)}".strip()

    def measures(self) -> tuple[Measure, ...]:
        found, made = self.verdicts[self.method], []
        for i in range(len(found.top)):
            who = "target" if i == 0 else f"judge-{i}"
            for name, hits in ((who, found.top[i]), (f"{who}.among-{BEST}", found.among[i])):
                k, n = int(hits.sum()), len(hits)
                exact = clopper_pearson(k, n)
                chance = (1 if "among" not in name else min(BEST, len(self.classes))) / len(self.classes)
                made.append(
                    Measure(name=f"accuracy.{name}", value=k / n, low=exact.low, high=exact.high, n=n, chance=chance)
                )
        return (*made, Measure(name="shown-to-the-target", value=self.asked, note="images, gradients or not"))

    def tables(self) -> tuple[Table, ...]:
        judges = range(1, len(next(iter(self.verdicts.values())).top))
        columns = ("image", "target", "its mean probability", *(f"judge {i}" for i in judges))
        columns += tuple(f"judge {i}, among {BEST}" for i in judges)
        rows: list[tuple[Scalar, ...]] = []
        for name, v in self.verdicts.items():
            shares = [float(v.top[i].float().mean()) for i in judges]
            among = [float(v.among[i].float().mean()) for i in judges]
            rows.append((name, float(v.top[0].float().mean()), float(v.sure[0].mean()), *shares, *among))
        table = Table(
            title="Who takes the images for their label: shares of the labels", columns=columns, rows=tuple(rows)
        )
        return (table, self._by_label())

    def _by_label(self) -> Table:
        v = self.verdicts[self.method]
        rows: list[tuple[Scalar, ...]] = [
            (printable(self.classes[int(k)]), float(v.sure[0, i]), int(v.top[1:, i].sum()), int(v.among[1:, i].sum()))
            for i, k in enumerate(self.labels)
        ]
        columns = ("label", "target's probability", "judges that agree", f"judges with it among {BEST}")
        return Table(title="By label", columns=columns, rows=tuple(rows))

    def figures(self) -> tuple[Figure | Picture, ...]:
        some = slice(min(SHOWN, len(self.labels)))
        x = torch.cat([shown(row[some], tuple(self.x.shape[1:])) for row in self.rows.values()])
        names = [printable(self.classes[int(k)], 20) for k in self.labels[some]]
        captions = tuple(f"{row}: {name}" for row in self.rows for name in names)
        told = f"A row each: {', '.join(self.rows)}. A column for each label."
        return (Picture("Found, and what it is compared with", x, captions, told, len(names)),)

    def tensors(self) -> dict[str, Tensor]:
        return {"x": self.x, "u": self.u, "labels": self.labels}

    @property
    def queries(self) -> int:
        return self.asked


def _asked(judge: Classifier | Scores, x: Tensor) -> Tensor:
    return judge.probabilities(x) if isinstance(judge, Classifier) else judge(x)


def told(method: str, target: Classifier | Scores, given: Beside, found: Found) -> Inverted:
    """The result of an inversion, with the verdicts of all classifiers on it and on its controls."""
    for judge in given.judges:
        if judge.classes != target.classes:
            expected, got = f"its {len(target.classes)}", f"{len(judge.classes)}, such as {printable(judge.classes[0])}"
            raise BadInput("a judge knows other classes than the target", expected=expected, got=got)
    rows = {} if (real := _real(given.private, target.classes, found.labels)) is None else {"real": real}
    rows |= {method: found.x} | ({} if found.start is None else {"best sample": found.start})
    if given.public is not None:
        rows["nearest public"] = _nearest(given.public.x, found.x)
    judges = (target, *given.judges)
    return Inverted(
        method=method,
        labels=found.labels,
        classes=target.classes,
        x=found.x,
        u=found.u,
        asked=found.asked,
        verdicts={name: Verdicts.of(judges, images, found.labels) for name, images in rows.items()},
        rows=rows,
        notes=found.notes,
    )


def _nearest(public: Tensor, x: Tensor) -> Tensor:
    """Of public images, the nearest to each of x (m, *shape) by pixels."""
    seen = shown(x, tuple(public.shape[1:]))
    return public[torch.cdist(seen.flatten(1), public.flatten(1)).argmin(1)]


def _real(private: Labelled | None, classes: tuple[str, ...], labels: Tensor) -> Tensor | None:
    """The first private image of each label; raises BadInput for a class without one."""
    if private is None:
        return None
    place = {name: i for i, name in enumerate(private.classes)}
    found = []
    for k in labels.tolist():
        mine = (private.labels == place.get(classes[k], -1)).nonzero()
        if not len(mine):
            raise BadInput(f"there is no private image of the class {printable(classes[k])}", hint="classes go by name")
        found.append(private.x[mine[0, 0]])
    return torch.stack(found)
