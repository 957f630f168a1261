"""Who is asked about: members, non-members and the knobs of every attack on them; no record may be in two sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.data import Images, Split
from genvet.core.errors import BadInput, Unsupported
from genvet.core.printable import printable
from genvet.core.technique import Technique
from genvet.maths.membership import Told, needed
from genvet.maths.overlap import Pair, overlap
from genvet.nets.spaces import Space, penultimate, pixels, random_convolutions

RATES = (0.01, 0.001)
"""Of false alarms: what is caught at them is told wherever there are enough non-members."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Records:
    """Whose membership is asked about: two sets, or one file that tells them apart."""

    members: Images | None = None
    """Records that the generator was trained on."""
    non_members: Images | None = None
    """Records of the same kind that it never saw."""
    split: Split | None = None
    """Both in one: an npz that marks its members, or a folder with members/ and non-members/."""
    unseen: Images | None = None
    """More records that it never saw: beside the non-members, no attack may tell them from these."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Cohort:
    """All records, in one row: members, non-members, and the unseen ones of the control."""

    x: Tensor
    names: tuple[str, ...]
    members: int
    non_members: int
    people: tuple[Tensor, Tensor] | None = None
    notes: tuple[str, ...] = ()

    def told(self, score: Tensor) -> Told:
        """The scores of both sets."""
        return Told(score[: self.members], score[self.members : self.known], self.people)

    def control(self, score: Tensor) -> Told | None:
        """The same with the unseen ones in the place of the members."""
        return Told(score[self.known :], score[self.members : self.known]) if len(score) > self.known else None

    @property
    def known(self) -> int:
        return self.members + self.non_members

    @property
    def inside(self) -> Tensor:
        """(known,)."""
        return torch.arange(self.known) < self.members


class Exposing(Technique):
    """The knobs of every membership attack."""

    fpr: Annotated[float, Field(gt=0, lt=0.5)] | None = None
    """Tell what is caught at this rate of false alarms too; 0.01 and 0.001 are, where there are enough non-members."""
    persons: Literal["marked", "apart"] = "marked"
    """Records as they are marked; or apart: non-members who show a member's person are left out, so that it is persons
    who are told apart and not pictures. Takes a split that says whom its records show."""
    near: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """A record of both sets is refused: nearer than so many times the fifth nearest; 0 looks for equal ones alone."""

    def cohort(self, given: Records, shape: tuple[int, ...] | None) -> Cohort:
        """All records; raises BadInput for too few of them, for other shapes, and for records that are in two sets.

        A view that does not tell its shape is taken to make images like the members.
        """
        split = _split(given)
        if self.persons == "apart":
            split = _apart(split)
        shape = tuple(split.members.x.shape[1:]) if shape is None else shape
        if self.fpr is not None and len(split.non_members) < needed(self.fpr):
            raise BadInput(
                f"too few non-members for a false-positive rate of {self.fpr:g}",
                expected=f"{needed(self.fpr)} or more",
                got=str(len(split.non_members)),
            )
        sets = {"members": split.members, "non-members": split.non_members}
        sets |= {} if given.unseen is None else {"unseen": given.unseen}
        parts = {name: images.fitting(shape).float().cpu() for name, images in sets.items()}
        for one, other in (("members", "non-members"), ("members", "unseen"), ("non-members", "unseen")):
            if other in parts:
                pairs = overlap(parts[one], parts[other], self.near)
                if pairs:
                    raise _twice(one, other, sets, pairs)
        return Cohort(
            x=torch.cat(list(parts.values())),
            names=tuple(name for images in sets.values() for name in images.names),
            members=len(split.members),
            non_members=len(split.non_members),
            people=split.people,
            notes=_shared(split.people),
        )

    def rates(self, non_members: int) -> dict[float, bool]:
        """Rates of false alarms, and whether there are enough non-members for each."""
        return {rate: non_members >= needed(rate) for rate in dict.fromkeys((*RATES, *filter(None, (self.fpr,))))}


def _split(given: Records) -> Split:
    if given.split is None and given.members is not None and given.non_members is not None:
        split = Split(given.members, given.non_members)
    elif given.split is not None and given.members is None and given.non_members is None:
        split = given.split
    else:
        expected = "--members and --non-members, or --split"
        raise BadInput("who is a member, and who is not?", expected=expected, hint="give one of both ways")
    if min(len(split.members), len(split.non_members)) < 2:
        got = f"{len(split.members)} and {len(split.non_members)}"
        raise BadInput("too few records", expected="two members and two non-members, or more", got=got)
    return split


def _apart(split: Split) -> Split:
    """Without those non-members who show a person that some member shows."""
    if split.people is None:
        hint = "an npz with `subject` beside `member`, or members/ and non-members/ with a folder for each person"
        raise BadInput("nobody says whom the records show", expected="a split by --split that does", hint=hint)
    ones, others = split.people
    kept = ~torch.isin(others, ones)
    if int(kept.sum()) < 2:
        hint = "hold out whole persons: genvet train --hold-out"
        raise BadInput("too few non-members show another person than members", expected="2 or more", hint=hint)
    return Split(split.members, split.non_members.take(kept), (ones, others[kept]))


def _twice(one: str, other: str, sets: Mapping[str, Images], pairs: list[Pair]) -> BadInput:
    """Names the first few records that are in two sets."""
    first, second = sets[one].names, sets[other].names
    told = [
        f"{printable(second[p.second], 60)} is {'' if p.kind == 'exact' else 'nearly '}{printable(first[p.first], 60)}"
        for p in pairs[:5]
    ]
    exact = sum(p.kind == "exact" for p in pairs)
    return BadInput(
        f"{len(pairs)} of the {other} are among the {one} ({exact} exactly): {'; '.join(told)}",
        expected="sets that share no record",
        hint="take them out of one set; --near tells how near is too near",
    )


def _shared(people: tuple[Tensor, Tensor] | None) -> tuple[str, ...]:
    """A warning where one person is in both sets."""
    if people is None:
        return ()
    ones, others = (set(part.tolist()) for part in people)
    both = len(ones & others)
    if not both:
        return ("No person is in both sets.",)
    return (f"{both} of {len(ones | others)} persons are in both sets: what is told apart are pictures, not persons.",)


SpaceName = Literal["pixels", "random", "classifier"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Seen(Records):
    """The same, for attacks that compare records with samples."""

    classifier: Classifier | None = None
    """Its last hidden layer is the space, by --space classifier."""


class Comparing(Exposing):
    """The knobs of attacks that compare records with samples."""

    space: SpaceName = "pixels"
    """Where distances are taken: pixels, convolutions that nobody trained, or a classifier's last hidden layer."""

    def seen(self, given: Seen) -> Space:
        """The space in which distances are taken; raises Unsupported where there is no classifier for it."""
        if self.space == "classifier":
            if given.classifier is None:
                raise Unsupported("there is no classifier whose space could be taken", hint="give one by --classifier")
            return penultimate(given.classifier)
        return pixels() if self.space == "pixels" else random_convolutions()
