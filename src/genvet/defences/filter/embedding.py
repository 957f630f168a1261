"""Blocks outputs that lie near a protected image in a named space: pixels, random convolutions, or your network's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.data import Encoder
from genvet.core.errors import BadInput, Unsupported
from genvet.core.queries import Queries
from genvet.core.rng import Rng
from genvet.core.technique import Guard
from genvet.defences.filter.protecting import Given as Protected
from genvet.defences.filter.protecting import Protecting
from genvet.nets.filtered import Filtered
from genvet.nets.protected import Embedded, Index
from genvet.nets.spaces import Space, encoded, penultimate, pixels, random_convolutions


@dataclass(frozen=True, eq=False)
class Given(Protected):
    """The same, with a network where the space is one's own."""

    classifier: Classifier | None = None
    """Its last hidden layer is the space, by --space classifier."""
    encoder: Encoder | None = None
    """Its mean latents are the space, by --space encoder."""


class Embedding(Protecting, Guard):
    """Holds back outputs that lie near a protected image in a space of features.

    Rows are kept in eight bits a number unless asked otherwise; the few that come nearest are computed again in
    float64.
    """

    source: ClassVar[str] = (
        "Webster et al.: Detecting Overfitting of Deep Generative Networks via Latent Recovery, 2019, sec. 3; "
        "Deep analysis of the threat: training data leakage, sec. 2.4.3"
    )
    smoke: ClassVar[dict[str, Any]] = {"rate": 0.1}

    space: Literal["random", "pixels", "classifier", "encoder"] = "random"
    """Convolutions that nobody trained, pixels, a classifier's last hidden layer, or the latents of a VAE's encoder."""
    whole: bool = False
    """Keep rows in full, four bytes a number."""

    def __call__(self, view: Queries, given: Given, rng: Rng) -> Filtered:
        if self.mirrored and len(view.shape) != 3:
            raise Unsupported("mirror images are of pictures alone")
        return self.stood(view, given, rng)

    def index(self, x: Tensor, given: Given) -> Index:
        return Embedded(x, self._space(given, tuple(x.shape[1:])), self.whole)

    def _space(self, given: Given, shape: tuple[int, ...]) -> Space:
        if self.space == "classifier":
            if given.classifier is None:
                raise Unsupported("there is no classifier whose space could be taken", hint="give one by --classifier")
            return penultimate(given.classifier.fitting(shape))
        if self.space == "encoder":
            if given.encoder is None:
                raise Unsupported("there is no encoder whose space could be taken", hint="give one by --encoder")
            if tuple(given.encoder.shape) != shape:
                got = f"{tuple(given.encoder.shape)}"
                raise BadInput("the encoder does not fit this generator", expected=f"{shape} a sample", got=got)
            return encoded(given.encoder, "the encoder that was given")
        return pixels() if self.space == "pixels" else random_convolutions()
