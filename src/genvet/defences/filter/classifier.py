"""Blocks outputs that a classifier takes for one of some classes, such as a person, a face or a document."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, ClassVar

import torch
from torch import Tensor

from genvet.core.classifier import Classifier as Network
from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.core.queries import Queries
from genvet.core.rng import Rng
from genvet.core.technique import Guard
from genvet.defences.filter.protecting import Filter, plain
from genvet.maths.held_out import cut_at, cut_given
from genvet.nets.filtered import Filtered


@dataclass(frozen=True, eq=False)
class Given:
    """What tells sensitive outputs, and what is not sensitive."""

    classifier: Network
    """Tells the classes that are held back."""
    unseen: Images | None = None
    """Real images that show none of them: they set the threshold."""


class Classifier(Filter, Guard):
    """Holds back outputs that a classifier gives too high a probability of some classes.

    The distance is the probability of all other classes. A class that the classifier never saw is put down to one that
    it knows: what it holds back then is told by unseen images alone.
    """

    source: ClassVar[str] = "Deep analysis of the threat: training data leakage (StyleGAN), sec. 2.4.3"
    smoke: ClassVar[dict[str, Any]] = {"rate": 0.1, "classes": "a"}

    classes: str = ""
    """Names of the classes that are held back, parted by commas."""

    def __call__(self, view: Queries, given: Given, rng: Rng) -> Filtered:
        network = given.classifier.fitting(view.shape)
        kept = self._others(network)

        def distance(x: Tensor) -> Tensor:
            told = torch.cat([network.logits(some.float().to(network.device)).cpu() for some in x.split(500)])
            return told.double().softmax(1)[:, kept].sum(1)  # of the others: near 0, one minus a float32 is no number

        @torch.inference_mode()
        def apart(x: Tensor) -> Tensor:
            return distance(x.clamp(-1, 1)) if len(x) else torch.empty(0)

        unseen = None if given.unseen is None else plain(given.unseen, "unseen", view.shape)
        if self.threshold is not None:
            cut = cut_given(self.threshold, None if unseen is None else apart(unseen))
        elif unseen is None:
            hint = "or set a threshold yourself: then nobody knows how often it is wrong"
            raise BadInput("nothing tells what ordinary images score", expected="unseen images", hint=hint)
        else:
            cut = cut_at(apart(unseen), self.rate)
        return self.standing(view, apart, cut, rng)

    def _others(self, network: Network) -> list[int]:
        """The classes that are let through; raises BadInput where none is named, or one that there is not."""
        named = [name.strip() for name in self.classes.split(",") if name.strip()]
        for name in named:
            if name not in network.classes:
                near = get_close_matches(name, network.classes, 1)
                shown = printable(", ".join(network.classes), 200)
                hint = f"did you mean {printable(near[0], 60)}?" if near else f"known: {shown}"
                raise BadInput(f"the classifier knows no class {printable(name, 60)!r}", hint=hint)
        if not named or set(named) == set(network.classes):
            shown = printable(", ".join(network.classes), 200)
            raise BadInput(
                "which classes are held back?", expected=f"one or some of {shown}", got=self.classes or "none"
            )
        return [i for i, name in enumerate(network.classes) if name not in named]
