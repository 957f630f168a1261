"""What an attacker does about rounded or noisy answers: show each image several times, and take the mean."""

from __future__ import annotations

import torch
from torch import Tensor

from genvet.core.rng import Rng
from genvet.core.scores import Answers, Scores

LOOKS = 8
OWN = Rng(0, "/looks of whoever knows a guard")
ANSWERS: Answers = "scores"
"""A bare label becomes the share of copies that show it."""


class LookingAgain:
    """Scores whose every answer is the mean over several looks at the image, a little changed each time.

    Noise that is drawn anew for each query averages away over plain repeats. Where it follows from the image, a repeat
    brings the same answer, and only changed copies bring another draw; where answers are rounded, the share of copies
    on either side of a step tells how near the step is. All looks are charged; what is left is
    counted in images, not in looks.
    """

    def __init__(self, view: Scores, looks: int, jitter: float, rng: Rng) -> None:
        self._view, self.looks, self.jitter, self._rng = view, looks, jitter, rng
        self.shape, self.classes, self.answers = view.shape, view.classes, ANSWERS
        self._shown = self.used = 0

    @property
    def left(self) -> int | None:
        """Images that can still be shown as often as each is."""
        return None if self._view.left is None else self._view.left // self.looks

    def __call__(self, x: Tensor) -> Tensor:
        if not len(x):
            return self._view(x)
        copies = x.repeat_interleave(self.looks, 0)
        if self.jitter:
            copies = (copies + self.jitter * self._moved(x)).clamp(-1, 1)
        answered = self._view(copies)
        self._shown, self.used = self._shown + len(x), self.used + len(copies)
        return answered.view(len(x), self.looks, -1).mean(1)

    def _moved(self, x: Tensor) -> Tensor:
        """Noise on the pixels of every look, by the number of the image: batches make no difference."""
        drawn = [
            torch.randn(self.looks, *x.shape[1:], generator=self._rng.block(self._shown + i)) for i in range(len(x))
        ]
        return torch.cat(drawn).to(x)
