"""What is measured of the images of an inversion: who recognises them, how near they are, how they look.

Every number is of one label where it can be, since labels are what ways to invert are compared by.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.data import Labelled
from genvet.core.generator import Generator, StyleGenerator
from genvet.core.rng import Rng
from genvet.maths.class_distances import class_distances
from genvet.maths.coverage import NEIGHBOUR, STATISTICS, expected_coverage
from genvet.maths.duplicates import nearest
from genvet.maths.natural import SMALLEST_PATCH, NaturalImages
from genvet.maths.piqe import SMALLEST, piqe
from genvet.maths.quality import frechet
from genvet.maths.reidentification import SIZE, accepted_public, random_people, similar_people
from genvet.nets.first_guesses import shown
from genvet.nets.p_space import PSpace, to_p
from genvet.nets.references import asked, neighbours
from genvet.nets.spaces import Space, logits, penultimate, random_convolutions
from genvet.reproduce.mirror.identities import Domain, identities

TOP = 5
FITTED = 1000
"""Public pictures that NIQE is refitted to, or a few more."""
GROUPS: dict[str, dict[str, str]] = {
    "who recognises them": {
        "target": "the target takes it for the label: raised by design",
        "judges": "others do: the mean over two",
        "judges5": "the label is among the five likeliest of others",
        "neighbours": "three nearest private pictures are of the label, in features of a witness",
        "neighbours.random": "the same in random convolutions",
    },
    "how near they are to private pictures": {
        "nearest": "to the nearest, in random convolutions",
        "centroid": "to the mean of the label's, in random convolutions",
        "features": "to that mean, in the last hidden layer of the first judge",
        "logits.target": "to that mean, in logits of the target",
        "logits.judge": "to that mean, in logits of the first judge",
    },
    "how they look": {
        "public": "to the nearest public picture, in random convolutions",
        "niqe": "NIQE refitted to public pictures (lower is more natural)",
        "piqe": "PIQE (0 is best, 100 worst)",
        "length": "length of p over that of ordinary latents",
    },
    "whether they find their own again among ten": {
        "random": "among random people, in features of a witness",
        "similar": "among the most similar people, in features of a witness",
        "accepted": "among public pictures that the target accepts, in features of a witness",
        "random.judge": "among random people, in the first judge's last hidden layer",
        "similar.judge": "among the most similar people, in the first judge's last hidden layer",
        "accepted.judge": "among public pictures that the target accepts, in the first judge's last hidden layer",
    },
}
"""In words, by what they are about; distances are in units of what real private pictures have. A witness is a
classifier of public identities: it has learned to tell such pictures apart, and has seen nobody who is private."""
OF_ALL: dict[str, str] = {
    "precision": "precision, in random convolutions",
    "recall": "recall, in random convolutions",
    "density": "density, in random convolutions",
    "coverage": "coverage, in random convolutions",
}
"""Measures of all labels together; they stand with how images look."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Held:
    """What images are held against."""

    real: Labelled
    """Private pictures that no classifier learned from, but for one of each identity: that one is a control."""
    public: Labelled
    target: Classifier
    judges: tuple[Classifier, ...]
    witness: Classifier
    """Of public identities."""
    block: int


def measured(x: Tensor, held: Held, niqe: NaturalImages | None) -> dict[str, float]:
    """Every measure of images (m, c, h, w) of the first m labels."""
    seen, labels = shown(x.float(), held.target.shape).clamp(-1, 1), torch.arange(len(x))
    found = recognised(seen, labels, held) | near(seen, labels, held) | looks(seen, held, niqe)
    found |= again(seen, labels, held)
    told = {f"{name}@{k}": float(v) for name, values in found.items() for k, v in enumerate(values)}
    return told | of_all(seen, held)


def recognised(x: Tensor, labels: Tensor, held: Held) -> dict[str, Tensor]:
    """By the target, by the judges, and by neighbours in features that have nothing of the private pictures."""
    real, classes = held.real, len(held.real.classes)
    ranks = torch.stack([asked(judge).ranks(x, labels).rank for judge in held.judges])
    found = {"target": asked(held.target).ranks(x, labels).rank == 1, "judges": (ranks == 1).double().mean(0)}
    for name, space in {"neighbours": penultimate(held.witness), "neighbours.random": random_convolutions()}.items():
        found[name] = neighbours(space, real.x, real.labels, classes).ranks(x, labels).rank == 1
    return found | ({"judges5": (ranks <= TOP).double().mean(0)} if classes > 2 * TOP else {})


def near(x: Tensor, labels: Tensor, held: Held) -> dict[str, Tensor]:
    """Distances over the mean of those that real pictures of these labels have: theirs are 1 in the mean."""
    own = random_convolutions()
    spaces = {"features": penultimate(held.judges[0])}
    spaces |= {"logits.target": logits(held.target), "logits.judge": logits(held.judges[0])}
    apart = class_distances(own(x), labels, own(held.real.x), held.real.labels)
    found = {
        "nearest": apart.nearest * apart.nearest_unit / apart.nearest_unit.mean(),
        "centroid": apart.centroid * apart.centroid_unit / apart.centroid_unit.mean(),
    }
    for name, space in spaces.items():
        apart = class_distances(space(x), labels, space(held.real.x), held.real.labels)
        found[name] = apart.centroid * apart.centroid_unit / apart.centroid_unit.mean()
    return found


def looks(x: Tensor, held: Held, niqe: NaturalImages | None) -> dict[str, Tensor]:
    """How near images are to public ones, of whomever, and what they are without any reference."""
    space = random_convolutions()
    public = space(held.public.x)
    found = {"public": nearest(space(x), public)[0] / nearest(space(held.real.x), public)[0].mean()}
    found |= {} if niqe is None else {"niqe": niqe.scores(x)}
    return found | ({"piqe": piqe(x)} if min(x.shape[2:]) > SMALLEST else {})


def again(x: Tensor, labels: Tensor, held: Held) -> dict[str, Tensor]:
    """Whether the nearest of ten pictures is the label's own, in three galleries and two spaces; by chance 1 in 10."""
    real, rng = held.real, Rng(held.block, "galleries")
    size = min(SIZE, len(real.classes), len(held.public) + 1)
    scores = torch.cat([held.target.logits(part).detach() for part in held.public.x.split(500)]).log_softmax(1)
    spaces: dict[str, Space] = {"": penultimate(held.witness), ".judge": penultimate(held.judges[0])}
    found: dict[str, Tensor] = {}
    for ending, space in spaces.items():
        own, rows = space(real.x), space(x)
        galleries = {
            "random": random_people(own, real.labels, rng, size),
            "similar": similar_people(own, real.labels, rng, size),
            "accepted": accepted_public(own, real.labels, space(held.public.x), scores, rng, size),
        }
        found |= {f"{name}{ending}": g.ranks(rows, labels).rank == 1 for name, g in galleries.items()}
    return found


def of_all(x: Tensor, held: Held) -> dict[str, float]:
    """What is measured of all labels together, beside what as many fresh real pictures would cover."""
    space, real = random_convolutions(), held.real.x[held.real.labels < len(x)]
    rows, fake = space(real), space(x)
    if len(rows) <= NEIGHBOUR:
        return {}
    found = {name: statistic(rows, fake) for name, (statistic, _) in STATISTICS.items()}
    return found | {"coverage.expected": expected_coverage(len(rows), len(fake))}


def gap(prior: Generator, real: Labelled) -> dict[str, float]:
    """How far the prior's samples are from private pictures, and halves of these from each other: Frechet distances."""
    space, half = random_convolutions(), len(real) // 2
    order = torch.randperm(len(real), generator=Rng(0, "halves").block())
    one, other = (space(real.x[rows]) for rows in (order[:half], order[half : 2 * half]))
    fake = space(shown(prior.sample(half, Rng(0, "gap")).clamp(-1, 1), tuple(real.x.shape[1:])))
    return {"gap": frechet(one, fake), "gap.floor": frechet(one, other)}


@torch.no_grad()
def lengths(generator: Generator, u: Tensor, of_w: bool, truncation: float = 1.0) -> dict[str, float]:
    """How long the p of each label's latents (m, times, dim) is, over the root mean square of ordinary ones."""
    if not isinstance(generator, StyleGenerator):
        return {}
    p = PSpace.of(generator, 5000, Rng(0, "lengths"))
    w = u if of_w else generator.mapping(u.flatten(0, 1)).view(*u.shape[:2], -1)
    average: Tensor = generator.module.mapping.w_avg  # type: ignore[assignment, union-attr]
    long = (to_p(average + truncation * (w - average)) - p.mean).norm(dim=-1).mean(1) / p.sigma.norm()
    return {f"length@{k}": float(v) for k, v in enumerate(long)}


@lru_cache(maxsize=2)
def natural(root: Path, domain: Domain, size: int, private: int) -> NaturalImages | None:
    """NIQE's Gaussian of public pictures, whatever damage does to it; None where they are too small for its patches."""
    if size < SMALLEST_PATCH:
        return None
    public = identities(root, domain, size, private).public
    some = public.x[:: -(-len(public) // FITTED)]
    return NaturalImages.fit(some, max(SMALLEST_PATCH, size // 2), Rng(0, "natural"), anyway=True)
