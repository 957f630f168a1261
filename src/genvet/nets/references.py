"""Who is asked which class a picture shows: classifiers, and neighbours in a space that saw public pictures alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.errors import BadInput
from genvet.core.scores import Scores
from genvet.maths.ranks import Ranks, of_scores
from genvet.nets.spaces import BATCH, Space, logits


@dataclass(frozen=True, eq=False)
class Reference:
    """Pictures (n, c, h, w) in [-1, 1] -> a score of each class (n, classes), the higher the likelier."""

    name: str
    classes: int
    scores: Callable[[Tensor], Tensor]

    @torch.inference_mode()
    def ranks(self, x: Tensor, labels: Tensor) -> Ranks:
        """Of the label among all classes, for each picture, clipped to [-1, 1]; ties count against it."""
        return of_scores(torch.cat([self.scores(part.clamp(-1, 1)).cpu() for part in x.split(BATCH)]), labels)


def asked(classifier: Classifier | Scores, name: str = "") -> Reference:
    """A classifier: the target, or one that was trained apart from it; one with a budget is charged."""
    if not isinstance(classifier, Classifier):
        return Reference(name or f"a classifier that tells {classifier.answers}", len(classifier.classes), classifier)
    return Reference(name or str(classifier), len(classifier.classes), logits(classifier))


def neighbours(space: Space, x: Tensor, labels: Tensor, classes: int, k: int = 3, name: str = "") -> Reference:
    """The class whose k nearest pictures (n, c, h, w) are nearest in the mean, in this space.

    In a space that saw public pictures alone, or none, this shares no features with a target that could be fooled: a
    picture that classifiers take for a class, and this does not, may show what they have in common, not what the
    class looks like. It is weaker than they are: compare with what it says of real pictures.
    """
    count = torch.bincount(labels.cpu(), minlength=classes)
    if len(count) > classes or int(count.min()) < 1:
        missing = (count == 0).nonzero().flatten().tolist()[:5]
        raise BadInput("not every class has pictures", expected=f"{classes} classes", got=f"none of {missing}")
    order = labels.cpu().argsort(stable=True)
    rows, ends = space(x[order]), count.cumsum(0)[:-1].tolist()

    def scores(some: Tensor) -> Tensor:
        apart = torch.cdist(space(some), rows)
        nearest = [
            part.topk(min(k, part.shape[1]), largest=False).values.mean(1) for part in apart.tensor_split(ends, 1)
        ]
        return -torch.stack(nearest, 1)

    return Reference(name or f"the {k} nearest of each class in {space.name}", classes, scores)
