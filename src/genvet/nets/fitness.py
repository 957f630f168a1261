"""Whether a classifier is fit to be attacked: on real images it must beat chance, or its input is not what it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.data import Labelled
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.maths.statistics import above_chance, clopper_pearson

LEVEL = 0.01
"""Of the exact one-sided test; each remedy that is tried out is tested at this, shared out among all of them."""
Remedy = Callable[[Tensor], Tensor]
_TURNED = "its rows and columns were swapped"
REMEDIES: dict[str, Remedy] = {
    "its values were in [0, 1] (range=0:1)": lambda x: (x + 1) / 2,
    "its values were in [0, 255] (range=0:255)": lambda x: (x + 1) * 127.5,
    "its values were in [-1, 1] (range=-1:1)": lambda x: 2 * x - 1,
    "its values had torchvision's mean and std": lambda x: (
        ((x + 1) / 2 - torch.tensor([0.485, 0.456, 0.406])[:, None, None].to(x))
        / torch.tensor([0.229, 0.224, 0.225])[:, None, None].to(x)
    ),
    "black and white were swapped": lambda x: -x,
    "its channels were in the other order (order=bgr)": lambda x: x.flip(1),
    _TURNED: lambda x: x.transpose(2, 3),
}
"""What may be wrong with images, and what would undo it."""
_IN_COLOUR = tuple(name for name in REMEDIES if "channels" in name or "torchvision" in name)


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

    def __str__(self) -> str:
        between = f"{self.low:.3f} to {self.high:.3f}"
        return f"accuracy {self.accuracy:.3f} ({between}) on {self.n} real images, chance {self.chance:.3f}"


def fit_target(classifier: Classifier, images: Labelled, level: float = LEVEL) -> Fitness:
    """Its accuracy on labelled real images; raises BadInput where that is not above chance, and says what looks wrong.

    Labels go by the names of classes, or by their numbers where no name is known and there are as many.
    """
    if images.x.ndim == 4:
        classifier.fitting(tuple(images.x.shape[1:]))
    labels = named_alike(classifier, images)
    counts = labels.bincount(minlength=len(classifier.classes))
    chance = float(counts.max()) / max(len(labels), 1)
    if not len(labels) or chance ** len(labels) > level:
        expected = "more of them, of two classes or more"
        raise BadInput("too few real images to tell a target from chance", expected=expected, got=str(len(labels)))
    found = _fitness(_answers(classifier, images.x), labels, chance)
    if found.p_value <= level:
        return found
    remedy = _remedy(classifier, images.x, labels, chance, level)
    hint = (
        f"it would be above chance if {remedy}" if remedy else "no usual range, order or numbering helps: size or crop?"
    )
    what = f"the target does not know real images of its classes: {found}"
    raise BadInput(what, expected=f"above chance, p <= {level:g}", got=f"p = {found.p_value:.2g}", hint=hint)


def named_alike(classifier: Classifier, images: Labelled) -> Tensor:
    """The labels in the classifier's own numbering; raises BadInput where its classes are others."""
    number = {name: i for i, name in enumerate(classifier.classes)}
    if all(name in number for name in images.classes):
        return torch.tensor([number[name] for name in images.classes])[images.labels.cpu()]
    if len(images.classes) == len(number) and not any(name in number for name in images.classes):
        return images.labels.cpu()
    known, given = (printable(", ".join(names[:5]), 100) for names in (classifier.classes, images.classes))
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
    fitting = {name: change for name, change in REMEDIES.items() if x.shape[1] == 3 or name not in _IN_COLOUR}
    if x.shape[2] != x.shape[3]:
        fitting.pop(_TURNED, None)
    answers = {name: _answers(classifier, change(x)) for name, change in fitting.items()}
    tried = {name: _fitness(given, labels, chance) for name, given in answers.items()}
    tried["its classes were numbered otherwise"] = _renumbered(_answers(classifier, x), labels, len(classifier.classes))
    best = max(tried, key=lambda name: tried[name].accuracy)
    return f"{best}: accuracy {tried[best].accuracy:.3f}" if tried[best].p_value <= level / len(tried) else ""


def _renumbered(answers: Tensor, labels: Tensor, classes: int) -> Fitness:
    """Under the numbering that fits one half of the images best, as it does on the other half."""
    from scipy.optimize import linear_sum_assignment

    together = np.zeros((classes, classes))
    np.add.at(together, (answers[::2].numpy(), labels[::2].numpy()), 1)
    _, numbering = linear_sum_assignment(-together)
    others = labels[1::2]
    chance = float(others.bincount().max()) / len(others) if len(others) else 1.0
    return _fitness(torch.from_numpy(numbering)[answers[1::2]], others, chance)
