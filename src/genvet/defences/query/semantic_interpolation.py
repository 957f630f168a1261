"""Semantic interpolation: one query brings images with more of each attribute, not the image asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.queries import Queries
from genvet.core.report import Measure
from genvet.core.rng import Rng
from genvet.core.technique import Guard
from genvet.maths.boundaries import Boundary
from genvet.nets.between import Between, Incoming, first_each, pictured
from genvet.nets.editing import Readings
from genvet.nets.latent_planes import SAMPLES, BackAcross, planes


@dataclass(frozen=True)
class Given:
    """A classifier, whose classes are attributes beside the factors that any image has."""

    classifier: Classifier | None = None


class SemanticInterpolation(Guard):
    """Answers with images of latents moved across the plane of each attribute, one image an attribute.

    Each plane is fitted by a linear support vector machine to latents whose images have the highest and the lowest
    scores. The same latent always gets the same answers, which are of another distribution: more of every attribute.
    Who fits the planes again, from the answers and a score of his own, can ask for latents on the other side.
    """

    source: ClassVar[str] = (
        "Hu, Pang: Stealing Machine Learning Models: Attacks and Countermeasures for Generative Adversarial Networks, "
        "ACSAC 2021, A.5.1; Shen et al.: InterFaceGAN, 2020, sec. 3"
    )
    smoke: ClassVar[dict[str, Any]] = {"samples": 160, "attributes": "brightness,contrast"}

    attributes: str = ""
    """Factors and classes, such as brightness,contrast; unless given, every one that differs from image to image. The
    paper has 12 attributes of faces, by networks trained for each."""
    magnitude: Annotated[float, Field(gt=0, le=100)] = 3.0
    """How far latents are moved along a plane's normal; the paper takes 3."""
    samples: Annotated[int, Field(ge=160, le=1_000_000)] = SAMPLES
    """Queries of the guard's own, before it stands; its planes part the quarters with the highest and lowest scores."""

    def __call__(self, view: Queries, given: Given, rng: Rng) -> Between:
        pictured(view, "reading attributes")
        read = Readings(view.shape, given.classifier)
        z = view.latent.sample(0, self.samples, rng.fork("samples"))
        found = planes(z, self._scores(view, z, read), self.asked(read), rng.fork("order"))
        steps = self.magnitude * torch.stack([plane.normal for plane in found.values()])
        about = tuple(_measure(name, plane) for name, plane in found.items())
        return Incoming(view, lambda z: z[:, None] + steps.to(z), brings=len(found), about=about)

    def _scores(self, view: Queries, z: Tensor, read: Readings) -> dict[str, Tensor]:
        labels = view.latent.labels(0, len(z))
        batches = zip(z.split(256), [None] * len(z) if labels is None else labels.split(256), strict=False)
        told = torch.cat([read(first_each(view.ask(some, kinds)).float().cpu()) for some, kinds in batches])
        return dict(zip(read.names, told.unbind(1), strict=True))

    def asked(self, read: Readings) -> tuple[str, ...]:
        """The attributes that are named; none where all count."""
        named = filter(None, (name.strip() for name in self.attributes.split(",")))
        return tuple(read.names[read.column(name)] for name in named)

    def known(self) -> Mapping[str, Callable[[Queries], Queries]]:
        """What an attacker who knows it does: fit a plane to the answers, and ask for latents on its other side."""

        def across(view: Queries) -> Queries:
            read = Readings(view.shape)
            names = tuple(name.strip() for name in self.attributes.split(",") if name.strip())
            return BackAcross(view, read, names, self.magnitude)

        return {"fits a plane, and asks on its other side": across}


def _measure(name: str, plane: Boundary) -> Measure:
    note = "high against low, by the side of the plane, on latents held back"
    return Measure(name=f"plane.{name.replace(' ', '-')}", value=plane.accuracy, chance=0.5, n=plane.n, note=note)
