"""Label by label: what an inversion is worth beside what anybody had before it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from genvet.core.report import Measure
from genvet.maths.ranks import share_by_label
from genvet.nets.evidence import Evidence

LEAKED = "others recognise it, and nothing that anybody had"
SHARED = "others recognise it, as they do the {}"
ALONE = "the target takes it for the class, most others do not"
LOST = "not even the target takes it for the class"
UNJUDGED = "the target takes it for the class; nobody else was asked"


def recognised(look: Evidence) -> Tensor:
    """Whether more than half of the references take each picture for its label, (m,); the target is not asked."""
    first: Tensor = torch.stack([reference.rank == 1 for reference in look.references.values()])
    return first.double().mean(0) > 0.5


def verdicts(looks: Mapping[str, Evidence], method: str, controls: Mapping[str, str]) -> list[str]:
    """What each label's picture comes to, in a sentence; `controls` are what anybody has, by name."""
    found = looks[method]
    taken = (found.target.rank == 1).tolist()
    if not found.references:
        return [UNJUDGED if own else LOST for own in taken]
    by_others = recognised(found).tolist()
    had = {name: recognised(looks[name]).tolist() for name in controls if name in looks and name != method}
    told = []
    for i, others in enumerate(by_others):
        before = " and the ".join(name for name, known in had.items() if known[i])
        by_target = ALONE if taken[i] else LOST
        told.append((SHARED.format(before) if before else LEAKED) if others else by_target)
    return told


def leaked(told: list[str], found: Evidence) -> Measure:
    """The share of labels that were found beyond what anybody had."""
    hits = torch.tensor([float(one == LEAKED) for one in told])
    value, low, high = share_by_label(hits, found.label)
    note = "labels that most others recognise here, and neither in the best sample nor in the nearest public image"
    return Measure(name="beyond-controls", value=value, low=low, high=high, n=len(told), note=note)
