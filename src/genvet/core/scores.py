"""Scores: a classifier as an outsider sees it, who sends images and gets answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from genvet.core.errors import BadInput, BudgetSpent

if TYPE_CHECKING:
    from genvet.core.classifier import Classifier

Answers = Literal["scores", "top_k", "label"]
"""What is answered: the probabilities of all classes, of the likeliest few, or the likeliest class alone."""


@runtime_checkable
class Scores(Protocol):
    """Images (n, *shape) in [-1, 1] -> (n, classes): probabilities; 0 where none is told, and 1 for a bare label."""

    shape: tuple[int, ...]
    classes: tuple[str, ...]
    answers: Answers
    used: int
    """Images that were answered."""

    @property
    def left(self) -> int | None:
        """Images that will still be answered; None where nobody says."""

    def __call__(self, x: Tensor) -> Tensor: ...


class Oracle:
    """Scores of a classifier at hand: counted, within a budget, without gradients."""

    def __init__(
        self, classifier: Classifier, answers: Answers = "scores", k: int = 5, budget: int | None = None
    ) -> None:
        self._ask = classifier.probabilities
        self.shape, self.classes, self.answers = classifier.shape, classifier.classes, answers
        if k < 1:
            raise BadInput("so few classes are never told", expected="1 or more", got=str(k))
        self._k, self._budget = min(k, len(self.classes)), budget
        self.used = 0

    @property
    def left(self) -> int | None:
        """Images that will still be answered; None where there is no budget."""
        return None if self._budget is None else self._budget - self.used

    def __call__(self, x: Tensor) -> Tensor:
        """(n, classes); raises BudgetSpent before anything is answered that is not paid for."""
        if self._budget is not None and self.used + len(x) > self._budget:
            raise BudgetSpent(self.used, self._budget)
        self.used += len(x)
        return told(self._ask(x.detach()), self.answers, self._k)


def told(p: Tensor, answers: Answers, k: int) -> Tensor:
    """What is told of probabilities (n, classes).

    >>> told(torch.tensor([[0.5, 0.3, 0.2]]), "label", 2).tolist()
    [[1.0, 0.0, 0.0]]
    """
    if answers == "scores":
        return p
    if answers == "label":
        return F.one_hot(p.argmax(1), p.shape[1]).to(p)
    best = p.topk(k, 1)
    return torch.zeros_like(p).scatter(1, best.indices, best.values)
