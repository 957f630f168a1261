"""How a search came to what it found: the best so far of every label, over queries or steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.report import Figure
from genvet.maths.statistics import clopper_pearson
from genvet.nets.inverting import Ended

POINTS = 100
"""Of a curve, at most."""
HALF = 0.5
"""A label whose probability is above it has no rival."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Course:
    """The best so far at some points of a search."""

    at: Tensor
    """Images that the target had been shown, or steps: (t,), rising."""
    best: Tensor
    """Of every label, (t, m)."""
    over: str = "images shown to the target, for all labels"
    of: str = "probability"

    @classmethod
    def of_steps(cls, ended: Ended, labels: int) -> Course:
        """Of the surest of all restarts of each label."""
        best = ended.trail.view(len(ended.marks), labels, -1).amax(2)
        return cls(at=ended.marks.cpu(), best=best.cpu(), over="steps of each search")

    @classmethod
    def of_rounds(cls, noted: Sequence[tuple[int, Tensor]]) -> Course | None:
        """Of what was noted round by round; none where nothing was."""
        if not noted or not noted[0][1].numel():
            return None
        some = [*noted[: -1 : 1 + len(noted) // POINTS], noted[-1]]
        return cls(at=torch.tensor([at for at, _ in some]), best=torch.stack([best for _, best in some]).cpu())

    def figure(self) -> Figure:
        """The mean; of probabilities, also the share of labels that have no rival, with its interval."""
        best, at, n = self.best.double(), self.at.tolist(), self.best.shape[1]
        series = {f"mean {self.of}": [at, best.mean(1).tolist()]}
        if self.of == "probability":
            hits = (best > HALF).sum(1).tolist()
            bounds = [clopper_pearson(h, n) for h in hits]
            series |= {
                "share of labels above one half": [at, [h / n for h in hits]],
                "95 % interval of the share: low": [at, [b.low for b in bounds]],
                "high": [at, [b.high for b in bounds]],
            }
        caption = f"The best so far of {n} labels, as the target told it. What others make of it is another matter."
        data = {"series": series, "x": self.over, "y": "best so far"}
        return Figure(kind="curve", title="How the search went", caption=caption, data=data)
