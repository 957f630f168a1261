"""Whether a classifier is fit to be attacked: on real images it must beat chance, or its input is not what it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.data import Labelled
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.maths.statistics import above_chance, clopper_pearson
from genvet.nets.intake import Entry

LEVEL = 0.01
"""Of the exact one-sided test; each remedy that is tried out is tested at this, shared out among all of them."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's images in [0, 1], as torchvision's networks take them."""
RANGES: dict[str, tuple[Sequence[float], Sequence[float]]] = {
    "its values were in [-1, 1] (range=-1:1)": ([-1], [2]),
    "its values were in [0, 1] (range=0:1)": ([0], [1]),
    "its values were in [0, 255] (range=0:255)": ([0], [255]),
    "its values had torchvision's mean and std": (
        [-m / s for m, s in zip(MEAN, STD, strict=True)],
        [1 / s for s in STD],
    ),
}
"""What black becomes, and how far white is from it, in each channel."""
CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "black and white were swapped": lambda x: -x,
    "its channels were in the other order (order=bgr or rgb)": lambda x: x.flip(1),
    "its rows and columns were swapped": lambda x: x.transpose(2, 3),
}


@dataclass(frozen=True)
class Fitness:
    """How well a target knows real images of its classes."""

    accuracy: float
    low: float
    high: float
    """Ends of the exact 95 % interval."""
    chance: float
    """Of whoever always names the commonest class: nobody does better who looks away."""
    p_value: float
    """Exact and one-sided: of as many hits by chance."""
    n: int
    doubt: str = ""
    """What would make it better by more than luck, as where a target beats chance in spite of a wrong range."""

    def __str__(self) -> str:
        between = f"{self.low:.3f} to {self.high:.3f}"
        doubt = f"; it would be higher if {self.doubt}" if self.doubt else ""
        return f"accuracy {self.accuracy:.3f} ({between}) on {self.n} real images, chance {self.chance:.3f}{doubt}"


def fit_target(classifier: Classifier, images: Labelled, level: float = LEVEL) -> Fitness:
    """Its accuracy on labelled real images; raises BadInput where that is not above chance, and says what looks wrong.

    Labels go by the names of classes, or by their numbers where no name is known and there are as many.
    """
    if images.x.ndim == 4:
        classifier.fitting(tuple(images.x.shape[1:]))
    labels = named_alike(classifier.classes, images)
    counts = labels.bincount(minlength=len(classifier.classes))
    chance = float(counts.max()) / max(len(labels), 1)
    if not len(labels) or chance ** len(labels) > level:
        expected = "more of them, of two classes or more"
        raise BadInput("too few real images to tell a target from chance", expected=expected, got=str(len(labels)))
    found = _fitness(_answers(classifier, images.x), labels, chance)
    if found.p_value <= level:
        return replace(found, doubt=_doubt(classifier, images.x, labels, level))
    remedy = _remedy(classifier, images.x, labels, chance, level)
    hint = (
        f"it would be above chance if {remedy}" if remedy else "no usual range, order or numbering helps: size or crop?"
    )
    what = f"the target does not know real images of its classes: {found}"
    raise BadInput(what, expected=f"above chance, p <= {level:g}", got=f"p = {found.p_value:.2g}", hint=hint)


def named_alike(classes: Sequence[str], images: Labelled) -> Tensor:
    """The labels in the numbering of a classifier's classes; raises BadInput where its classes are others."""
    number = {name: i for i, name in enumerate(classes)}
    if all(name in number for name in images.classes):
        return torch.tensor([number[name] for name in images.classes])[images.labels.cpu()]
    if len(images.classes) == len(number) and not any(name in number for name in images.classes):
        return images.labels.cpu()
    known, given = (printable(", ".join(names[:5]), 100) for names in (classes, images.classes))
    raise BadInput(
        "the labels are not the classes of this target",
        expected=f"some of {len(number)} such as {known}",
        got=f"{len(images.classes)} such as {given}",
    )


def _fitness(answers: Tensor, labels: Tensor, chance: float) -> Fitness:
    hits, n = int((answers == labels).sum()), len(labels)
    low, high = clopper_pearson(hits, n)
    return Fitness(hits / max(n, 1), low, high, chance, above_chance(hits, n, chance), n)


def _answers(classifier: Classifier, x: Tensor) -> Tensor:
    return classifier.probabilities(x).argmax(1)


def _remedy(classifier: Classifier, x: Tensor, labels: Tensor, chance: float, level: float) -> str:
    """The change of images or labels that would help most, where one would; empty otherwise."""
    tried = {name: _fitness(given, labels, chance) for name, given in _with_remedies(classifier, x).items()}
    tried["its classes were numbered otherwise"] = _renumbered(_answers(classifier, x), labels, len(classifier.classes))
    best = max(tried, key=lambda name: tried[name].accuracy)
    return f"{best}: accuracy {tried[best].accuracy:.3f}" if tried[best].p_value <= level / len(tried) else ""


def _doubt(classifier: Classifier, x: Tensor, labels: Tensor, level: float) -> str:
    """The change that sets right more answers than it spoils, beyond luck; by the exact sign test of each."""
    right = _answers(classifier, x) == labels
    found = {name: given == labels for name, given in _with_remedies(classifier, x).items()}
    best = max(found, key=lambda name: int(found[name].sum()))
    gained, lost = int((found[best] & ~right).sum()), int((right & ~found[best]).sum())
    p_value = above_chance(gained, gained + lost, 0.5) if gained else 1.0
    return f"{best}: accuracy {float(found[best].float().mean()):.3f}" if p_value <= level / len(found) else ""


def _with_remedies(classifier: Classifier, x: Tensor) -> dict[str, Tensor]:
    """The answers to images that are changed in each of these ways, where that is a change and they still fit."""
    changed = {name: change(x) for name, change in CHANGES.items()} | dict(_in_ranges(classifier, x))
    fit = {name: y for name, y in changed.items() if y.shape == x.shape and not torch.allclose(y, x, atol=1e-3)}
    return {name: _answers(classifier, y) for name, y in fit.items()}


def _in_ranges(classifier: Classifier, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The images that make a network take the values of another range than the one that was stated."""
    entry: Any = getattr(classifier.module.features, "entry", None)
    for name, (black, reach) in RANGES.items():
        low, wide = (torch.tensor(v).to(x)[:, None, None] for v in (black, reach))
        taken = low + (x + 1) / 2 * wide
        if isinstance(entry, Entry):
            mean, std = (t.to(x).flip(1) if entry.intake.order == "bgr" else t.to(x) for t in (entry.mean, entry.std))
            taken = (taken * std + mean - entry.low) / entry.half - 1
        yield name, taken


def _renumbered(answers: Tensor, labels: Tensor, classes: int) -> Fitness:
    """Under the numbering that fits one half of the images best, as it does on the other half."""
    from scipy.optimize import linear_sum_assignment

    together = np.zeros((classes, classes))
    np.add.at(together, (answers[::2].numpy(), labels[::2].numpy()), 1)
    _, numbering = linear_sum_assignment(-together)
    others = labels[1::2]
    chance = float(others.bincount().max()) / len(others) if len(others) else 1.0
    return _fitness(torch.from_numpy(numbering)[answers[1::2]], others, chance)
