"""Whether an inverted picture finds its person again in a gallery: at which rank, against chance.

The three galleries of MIRROR's study (An et al. 2022, sec. V-C): the right person among people at random, among those
who resemble that person most, and among public pictures that the target takes for that person. There, people looked;
here, the nearest picture in some space is taken, so that the space has to be named beside every number.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.maths.ranks import Ranks, ranked

SIZE = 10
"""Pictures in a gallery, the right one among them: guessing finds it once in ten times."""


@dataclass(frozen=True, eq=False)
class Gallery:
    """For each person one picture, and others to be taken for it."""

    name: str
    rows: Tensor
    """(m, d): all pictures, as rows of some space."""
    people: Tensor
    """(p,), in rising order."""
    right: Tensor
    """(p,): which row is the person's own picture."""
    others: Tensor
    """(p, size - 1): which rows are the others'."""
    accepted: float | None = None
    """Where others are public pictures: the share that the target does take for the person."""

    def ranks(self, query: Tensor, person: Tensor) -> Ranks:
        """At which rank rows (n, d) find the person (n,) that each was made for; ties count against it.

        Raises BadInput for a person who is not in the gallery.
        """
        place = torch.searchsorted(self.people, person.cpu().contiguous()).clamp_max(len(self.people) - 1)
        if not torch.equal(self.people[place], person.cpu()):
            raise BadInput(
                "not in this gallery", expected="people of the gallery", got=str(person.unique().tolist()[:9])
            )
        used, where = torch.cat([self.right[:, None], self.others], 1).unique(return_inverse=True)
        # One product, in float64: so precise that no rank depends on it.
        apart = torch.cdist(query.double().cpu(), self.rows[used].double(), compute_mode="use_mm_for_euclid_dist")
        mine = apart.gather(1, where[place])
        return ranked(mine[:, 0], mine[:, 1:], person)

    def spare(self, person: Tensor) -> Tensor:
        """Which of the people's pictures (m,) are in no gallery: as queries, they show what real pictures reach."""
        unused = torch.ones(len(person), dtype=torch.bool)
        unused[self.right] = False
        unused[self.others[self.others < len(person)]] = False
        return unused


def random_people(rows: Tensor, person: Tensor, rng: Rng, size: int = SIZE) -> Gallery:
    """Each person (m,) of these pictures (m, d), among people at random: one picture of each, drawn too."""
    people, right = _one_each(person, rng, size)
    draws = torch.rand(len(people), len(people), generator=rng.fork("others").block()).fill_diagonal_(2.0)
    return Gallery("random people", rows.cpu(), people, right, right[draws.argsort(1)[:, : size - 1]])


def similar_people(rows: Tensor, person: Tensor, rng: Rng, size: int = SIZE, by: Tensor | None = None) -> Gallery:
    """Each person among those who look most like that person's picture: of each of them, the picture that does so most.

    Likeness is nearness among rows `by` (m, e) of another space, or among the same rows: those are the hardest people
    to be told from the right picture in that space. It is the picture that they are compared with, not all of the
    person's: others that are near to a badly lit one of those are easily told from the one in the gallery.
    """
    people, right = _one_each(person, rng, size)
    seen = (rows if by is None else by).double().cpu()
    person, others = person.cpu(), []
    for one, picture in zip(people, right, strict=True):
        apart = (seen - seen[picture]).norm(dim=1)
        apart[person == one] = torch.inf
        order = apart.argsort(stable=True)
        others.append(order[_first_of_each(person[order])[: size - 1]])
    return Gallery("the most similar people", rows.cpu(), people, right, torch.stack(others))


def accepted_public(
    rows: Tensor, person: Tensor, public: Tensor, scores: Tensor, rng: Rng, size: int = SIZE
) -> Gallery:
    """Each person among the public pictures (q, d) that the target takes for that person with the highest scores.

    `scores` (q, classes) are the target's of the public pictures, people are numbers into its classes. Where it takes
    too few for a person, those with the highest scores follow: `accepted` says how many it did take.
    """
    people, right = _one_each(person, rng, 2)
    if len(public) != len(scores) or len(public) < size - 1 or int(people.max()) >= scores.shape[1]:
        expected = f"scores of {size - 1} public pictures or more, of {int(people.max()) + 1} classes or more"
        raise BadInput("no such gallery", expected=expected, got=f"{tuple(scores.shape)} of {len(public)}")
    scores = scores.cpu()
    taken = (scores.argmax(1)[:, None] == people).double()
    # Those that are taken for the person come first, by their scores; stable sorts keep that order.
    order = scores[:, people].argsort(dim=0, descending=True, stable=True)
    order = order.gather(0, taken.gather(0, order).argsort(dim=0, descending=True, stable=True))[: size - 1]
    accepted = float(taken.gather(0, order).mean())
    name, both = "public pictures that the target accepts", torch.cat([rows.cpu(), public.to(rows).cpu()])
    return Gallery(name, both, people, right, order.T + len(rows), accepted)


def _one_each(person: Tensor, rng: Rng, size: int) -> tuple[Tensor, Tensor]:
    """The people, and the row of one picture of each, at random: the same for all galleries of a seed."""
    people = person.cpu().unique()
    if not 2 <= size <= max(len(people), 1):
        raise BadInput("too few people", expected=f"{max(size, 2)} or more in a gallery", got=str(len(people)))
    order = torch.randperm(len(person), generator=rng.fork("pictures").block())
    shuffled = person.cpu()[order]
    first = _first_of_each(shuffled)
    return people, order[first[shuffled[first].argsort()]]


def _first_of_each(person: Tensor) -> Tensor:
    """Where each person comes for the first time, in that order.

    >>> _first_of_each(torch.tensor([4, 4, 1, 4, 1, 7])).tolist()
    [0, 2, 5]
    """
    order = person.argsort(stable=True)
    sorted_people = person[order]
    begins = torch.ones(len(person), dtype=torch.bool)
    begins[1:] = sorted_people[1:] != sorted_people[:-1]
    return order[begins].sort().values
