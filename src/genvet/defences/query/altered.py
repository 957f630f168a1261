"""What guards of a classifier's answers have in common: the same view, which tells something else."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from genvet.core.errors import Unsupported
from genvet.core.scores import Answers, Scores

Change = Callable[[Tensor, Tensor], Tensor]
"""Images (n, *shape) and their scores (n, classes) -> the scores that are told of them."""


class Altered:
    """Scores whose answers are changed on their way out; whoever asks is charged as before."""

    def __init__(self, view: Scores, change: Change, answers: Answers | None = None) -> None:
        if view.answers == "label":
            raise Unsupported("this view answers with labels alone, which hold no scores to change")
        self._view, self._change = view, change
        self.shape, self.classes = view.shape, view.classes
        self.answers: Answers = answers or view.answers

    @property
    def used(self) -> int:
        """Images that were answered."""
        return self._view.used

    @property
    def left(self) -> int | None:
        """Images that will still be answered; None where nobody says."""
        return self._view.left

    def __call__(self, x: Tensor) -> Tensor:
        scores = self._view(x)
        return self._change(x, scores) if len(x) else scores


def normalised(scores: Tensor) -> Tensor:
    """Scores (n, classes) that sum to 1 again; those that are all 0 stay so."""
    return scores / scores.sum(1, keepdim=True).clamp_min(1e-12)
