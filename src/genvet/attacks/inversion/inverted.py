"""What inversions have in common: the labels, the prior, the images that came out, and who else recognises them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.inversion.course import Course
from genvet.attacks.inversion.verdicts import leaked, verdicts
from genvet.core.classifier import Classifier
from genvet.core.data import Images, Labelled
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.printable import printable
from genvet.core.report import Figure, Measure, Scalar, Table
from genvet.core.rng import Rng
from genvet.core.scores import Scores
from genvet.core.technique import Picture, Result, Technique
from genvet.maths.quality import frechet
from genvet.nets.evidence import Evidence, evidence
from genvet.nets.first_guesses import Guesses, shown
from genvet.nets.fitness import fit_target, named_alike
from genvet.nets.looking_again import LookingAgain
from genvet.nets.random_features import NAME, random_features
from genvet.nets.references import Reference, asked, neighbours
from genvet.nets.spaces import Space, penultimate, random_convolutions
from genvet.nets.style_space import numbers

CONTROLS = {
    "best sample": "the best of the prior's own samples",
    "nearest public": "the public images that are nearest",
}
"""Rows that a search has to do better than."""
ELSEWHERE, FEWEST = 5.0, 50
"""Times as far from real images as these are from each other, from which on a prior is called poor, or of another
domain; and how many real images in each half that takes."""
LAST = 2
"""Images for each label that a target with a budget is shown in the end: what was found, and the best sample."""
SHOWN, GALLERY, FEW = 12, 200, 3
"""Labels in a picture, and in the gallery; real images beside each."""


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


class Looking(Sampling):
    """The same, for those that climb by scores: what rounds them or adds noise to them can be looked at twice."""

    looks: Annotated[int, Field(ge=1, le=1000)] = 1
    """Times that each image of the search is shown, the mean of whose scores counts: against noise, and with jitter
    against rounding, bare labels, and noise that is always the same for the same image. Every look is a query."""
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Standard deviation of the noise that each look has on its pixels, in a range of [-1, 1]."""

    def looking(self, target: Scores, rng: Rng) -> Scores:
        """The target as the search sees it."""
        plain = self.looks == 1 and not self.jitter
        return target if plain else LookingAgain(target, self.looks, self.jitter, rng.fork("looks"))

    @torch.no_grad()
    def looked_at(self, prior: Generator, target: Scores, guesses: Guesses, labels: Tensor) -> Guesses:
        """The best sample of each label, by what repeated looks make of the best few: the best of many noisy scores
        is mostly luck, which a search that keeps its best would never get rid of."""
        z = guesses.z.flatten(0, 1)
        x = [shown(prior(some.to(prior.device)).float().clamp(-1, 1), target.shape) for some in z.split(self.batch)]
        own = labels.repeat_interleave(guesses.z.shape[1])
        sure = torch.cat([target(some) for some in x]).double().cpu().gather(1, own[:, None])
        sure, best = sure.view(len(labels), -1).max(1, keepdim=True)
        chosen = guesses.z.gather(1, best[:, :, None].expand(-1, -1, guesses.z.shape[2]))
        return Guesses(chosen, sure, guesses.n)


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
    course: Course | None = None
    """How the search went."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Inverted(Result):
    """One image for each label, and the same evidence of what stands beside it."""

    method: str
    labels: Tensor
    """(m,)."""
    classes: tuple[str, ...]
    x: Tensor
    """The images, (m, *shape), as the search made them."""
    u: Tensor
    """Where they lie in the space that was searched, (m, ...)."""
    asked: int
    """Images that the target was shown."""
    looks: dict[str, Evidence]
    """Of the inversions, and of what they are compared with; real images where there are some."""
    rows: dict[str, Tensor]
    """Pictures to stand below one another, (m, *shape) each."""
    notes: tuple[str, ...] = ()
    gap: tuple[float, float] | None = None
    """How far the prior's samples are from real images, and halves of these from each other: Frechet distances."""
    private: Tensor | None = None
    """Some real images of each label, (m, few, *shape)."""
    course: Course | None = None

    def summary(self) -> str:
        found = self.looks[self.method]
        hits = int((found.target.rank == 1).sum())
        told = f"{hits} of {len(self.labels)} labels: the target takes the image for its own"
        if found.references:
            told += f"; others do in {_agreed(found):.0%} of cases"
            beside = {name: words for name, words in CONTROLS.items() if name in self.looks and name != self.method}
            told += "".join(f", in {_agreed(self.looks[name]):.0%} for {words}" for name, words in beside.items())
        return f"{told}. {' '.join(self.notes)} {self._far()}".strip()

    def _far(self) -> str:
        """A warning where the prior makes other images than the target knows."""
        if self.gap is None or self.gap[0] <= ELSEWHERE * self.gap[1]:
            return ""
        return (
            f"The prior is of another domain, or a poor one: its samples are {self.gap[0]:.3g} from real images, whose "
            f"halves are {self.gap[1]:.3g} from each other (Frechet distances in {NAME})."
        )

    def measures(self) -> tuple[Measure, ...]:
        asked = Measure(name="shown-to-the-target", value=self.asked, note="images, with gradients or without")
        others = {name.replace(" ", "-"): look for name, look in self.looks.items() if name != self.method}
        controls = [measure for name, look in others.items() for measure in look.measures(f"{name}.")]
        far = (None, None) if self.gap is None else self.gap
        note = f"Frechet distance in {NAME} of the prior's samples to real images; chance: of halves of these"
        gap = Measure(name="prior-gap", value=far[0], chance=far[1], note=note)
        found = self.looks[self.method]
        beyond = (leaked(self.verdicts, found),) if found.references else ()
        return (*found.measures(), *beyond, asked, gap, *controls)

    def tables(self) -> tuple[Table, ...]:
        measured = {name: {m.name: m for m in e.measures()} for name, e in self.looks.items()}
        names = [m.name for m in self.looks[self.method].measures()]
        rows: list[tuple[Scalar, ...]] = []
        for name in names:
            values = [m[name].value if name in m else None for m in measured.values()]
            one = measured[self.method][name]
            rows.append((name, *(None if v is None else round(v, 4) for v in values), one.chance, one.note))
        table = Table(
            title="The images, and what they are compared with",
            columns=("measure", *measured, "by chance", "of what"),
            rows=tuple(rows),
        )
        each = self.looks[self.method].table(tuple(map(printable, self.classes)))
        with_verdict = tuple((*row, told) for row, told in zip(each.rows, self.verdicts, strict=True))
        return (table, each.model_copy(update={"columns": (*each.columns, "verdict"), "rows": with_verdict}))

    @property
    def verdicts(self) -> list[str]:
        """What each label's image comes to."""
        return verdicts(self.looks, self.method, CONTROLS)

    def figures(self) -> tuple[Figure | Picture, ...]:
        curve = () if self.course is None else (self.course.figure(),)
        gallery = () if len(self.labels) <= SHOWN else (self._gallery(),)
        return (self._overview(), *curve, *self._each(), *gallery)

    def _each(self) -> tuple[Picture, ...]:
        """Label by label: real images, what was found, what anybody has, and the verdict."""
        shape, pictures = tuple(self.x.shape[1:]), []
        for i, told in enumerate(self.verdicts[:SHOWN]):
            private = [] if self.private is None else [*self.private[i]]
            named = [("private", x) for x in private] + [(k, v[i]) for k, v in self.rows.items() if k != "real"]
            x = torch.cat([shown(one[None], shape) for _, one in named])
            title = f"{printable(self.classes[int(self.labels[i])], 40)}: {told}"
            pictures.append(Picture(title, x, tuple(name for name, _ in named), self._ranked(i), len(named)))
        return tuple(pictures)

    def _ranked(self, i: int) -> str:
        """The places that each reference gives one label's image and its controls."""
        looks = {name: look for name, look in self.looks.items() if name != "real"}
        lines = [f"{name}: {_places(look, i)}" for name, look in looks.items()]
        return f"Place of the class, by the target and by others. {'; '.join(lines)}."

    def _gallery(self) -> Picture:
        some = slice(min(GALLERY, len(self.labels)))
        captions = tuple(printable(self.classes[int(k)], 20) for k in self.labels[some])
        return Picture(
            "All that was found", self.x[some], captions, f"{len(captions)} of {len(self.labels)} labels.", 10
        )

    def _overview(self) -> Picture:
        some = slice(min(SHOWN, len(self.labels)))
        x = torch.cat([shown(row[some], tuple(self.x.shape[1:])) for row in self.rows.values()])
        names = [printable(self.classes[int(k)], 20) for k in self.labels[some]]
        captions = tuple(f"{row}: {name}" for row in self.rows for name in names)
        told = f"A row each: {', '.join(self.rows)}. A column for each label."
        return Picture("Found, and what it is compared with", x, captions, told, len(names))

    def tensors(self) -> dict[str, Tensor]:
        return {"x": self.x, "u": self.u, "labels": self.labels}

    @property
    def queries(self) -> int:
        return self.asked


def _places(look: Evidence, i: int) -> str:
    """Such as 1, others 1 and 3."""
    others = " and ".join(str(int(r.rank[i])) for r in look.references.values())
    return f"{int(look.target.rank[i])}{f', others {others}' if others else ''}"


def _agreed(found: Evidence) -> float:
    """The share of labels and references that take the image for its label."""
    ranks = torch.stack([r.rank for r in found.references.values()])
    return float((ranks == 1).double().mean())


def told(method: str, target: Classifier | Scores, given: Beside, found: Found) -> Inverted:
    """The result of an inversion, with the same evidence of it and of its controls.

    Of the real images, the first of each label is a control itself; the others are what all are compared with.
    """
    real = None if given.private is None else matched(given.private, target)
    first = None if real is None else _first(real, found.labels)
    others = None if real is None or first is None else _without(real, first)
    judges, spaces = _references(target, given, others), _spaces(given, others, found.labels)
    rows = {} if real is None or first is None else {"real": real.x[first]}
    rows |= {method: found.x} | ({} if found.start is None else {"best sample": found.start})
    if given.public is not None:
        rows["nearest public"] = _nearest(given.public.x, found.x)

    def evident(x: Tensor) -> Evidence:
        seen = shown(x, target.shape)
        if others is not None and spaces:
            return evidence(seen, found.labels, others, asked(target), judges, spaces)
        own, *rest = (judge.ranks(seen, found.labels) for judge in (asked(target), *judges))
        references = dict(zip((judge.name for judge in judges), rest, strict=True))
        return Evidence(label=found.labels, target=own, references=references, distances={})

    return Inverted(
        method=method,
        labels=found.labels,
        classes=target.classes,
        x=found.x,
        u=found.u,
        asked=found.asked,
        looks={name: evident(x) for name, x in rows.items()},
        rows=rows,
        notes=found.notes,
        gap=_gap(given, real),
        private=None if real is None else _some(real, found.labels),
        course=found.course,
    )


def _gap(given: Beside, real: Labelled | None) -> tuple[float, float] | None:
    """How far the prior is from real images, beside a floor; None where there are too few to tell."""
    half = 0 if real is None else len(real) // 2
    if real is None or half < FEWEST or not isinstance(given, Against):
        return None
    rows = torch.randperm(len(real), generator=Rng(0, "halves").block())
    one, other = (random_features(real.x[some]) for some in (rows[:half], rows[half : 2 * half]))
    fake = random_features(shown(given.prior.sample(half, Rng(0, "gap")).clamp(-1, 1), tuple(real.x.shape[1:])))
    return frechet(one, fake), frechet(one, other)


def matched(private: Labelled, target: Classifier | Scores) -> Labelled:
    """Real images under the target's own numbers and in its shape.

    Raises BadInput where a classifier at hand does not know them: what is then wrong is not the attack.
    """
    x = shown(private.x, target.shape)
    real = Labelled(x, private.names, labels=private.labels, classes=private.classes)
    if isinstance(target, Classifier):
        fit_target(target, real)
    return Labelled(x, private.names, labels=named_alike(target.classes, real), classes=target.classes)


def _references(target: Classifier | Scores, given: Beside, real: Labelled | None) -> list[Reference]:
    """The judges; and, with real images of every class, neighbours in a space that no training made."""
    for judge in given.judges:
        if judge.classes != target.classes:
            expected, got = f"its {len(target.classes)}", f"{len(judge.classes)}, such as {printable(judge.classes[0])}"
            raise BadInput("a judge knows other classes than the target", expected=expected, got=got)
    judges = [asked(judge, f"judge {i}: {judge}") for i, judge in enumerate(given.judges, 1)]
    if real is not None and len(real.labels.unique()) == len(target.classes):
        judges.append(neighbours(random_convolutions(), real.x, real.labels, len(target.classes)))
    return judges


def _spaces(given: Beside, real: Labelled | None, labels: Tensor) -> list[Space]:
    """In which distances to real images are told: the first judge's, and one that no training made.

    None where a label has fewer than two real images to be near to.
    """
    if real is None or int(real.labels.bincount(minlength=int(labels.max()) + 1)[labels].min()) < 2:
        return []
    return [penultimate(judge) for judge in given.judges[:1]] + [random_convolutions()]


def _first(real: Labelled, labels: Tensor) -> Tensor:
    """The number of the first real image of each label; raises BadInput for a class without one."""
    found = []
    for k in labels.tolist():
        mine = (real.labels == k).nonzero()
        if not len(mine):
            raise BadInput(f"there is no private image of the class {printable(real.classes[k])}")
        found.append(mine[0, 0])
    return torch.stack(found)


def _some(real: Labelled, labels: Tensor) -> Tensor:
    """The first few real images of each label, (m, few, *shape): as many as the rarest has."""
    rows = [(real.labels == k).nonzero()[:, 0] for k in labels.tolist()]
    few = min(FEW, *(len(mine) for mine in rows))
    return torch.stack([real.x[mine[:few]] for mine in rows])


def _without(real: Labelled, rows: Tensor) -> Labelled:
    """All but these."""
    return real.take(torch.ones(len(real), dtype=torch.bool).index_fill(0, rows, False))


def _nearest(public: Tensor, x: Tensor) -> Tensor:
    """Of public images, the nearest to each of x (m, *shape) by pixels."""
    seen = shown(x, tuple(public.shape[1:]))
    return public[torch.cdist(seen.flatten(1), public.flatten(1)).argmin(1)]
