"""Pictures that show a face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from genvet.core.dataset import SIDE, Dataset
from genvet.core.errors import Unsupported
from genvet.core.modelfile import Evidence
from genvet.core.progress import track
from genvet.core.report import Measure
from genvet.core.rng import Rng
from genvet.core.technique import Audit, Nothing, Picture, Result
from genvet.defences.data.evidence import first, share
from genvet.defences.data.looking import chosen
from genvet.nets import face_finder

SHOWN = 24


@dataclass(frozen=True, eq=False, kw_only=True)
class Faced(Result):
    """Where faces were found."""

    found: tuple[tuple[str, int], ...]
    """Pictures with faces, and how many each shows."""
    looked: int
    of: int
    agreeing: int
    shown: Tensor

    def summary(self) -> str:
        drawn = f" drawn of {self.of:,}" * (self.looked < self.of)
        power = ""
        if self.agreeing == face_finder.AGREEING:
            (hits, n), (alarms, m) = face_finder.FOUND, face_finder.ALARMS
            power = (
                f"; on others' pictures it finds {hits / n:.0%} of faces (ORL), and sees {alarms / m:.1%} in CIFAR-10"
            )
        n = len(self.found)
        return f"Faces from the front in {n:,} of {self.looked:,} pictures{drawn}, by {face_finder.NAME}{power}."

    def measures(self) -> tuple[Measure, ...]:
        found = [share("faces", len(self.found), self.looked)]
        if self.agreeing == face_finder.AGREEING:
            found += [
                share("power", *face_finder.FOUND, "ORL, by benchmarks/audit_detectors.py"),
                share("alarms", *face_finder.ALARMS, "CIFAR-10, where few pictures show a face"),
            ]
        return tuple(found)

    def figures(self) -> tuple[Picture, ...]:
        if not len(self.shown):
            return ()
        captions = tuple(name for name, _ in self.found)[: len(self.shown)]
        return (Picture("What was taken for a face", self.shown, captions),)

    def evidence(self) -> tuple[Evidence, ...]:
        return first(
            Evidence(rule="data.face", message=f"{n} face{'s' * (n > 1)}", place=name) for name, n in self.found
        )


class Faces(Audit):
    """Faces from the front, by a cascade that comes with scikit-image and needs no download.

    Faces from the side, turned, covered, or smaller than a twentieth of the picture are not found.
    """

    source: ClassVar[str] = (
        "Training data leakage, sec. 2.3 (personal data); Viola, Jones: Rapid object detection, CVPR 2001; "
        "Ahonen et al.: Face recognition with local binary patterns, ECCV 2004"
    )
    extra: ClassVar[str] = face_finder.EXTRA
    module: ClassVar[str] = face_finder.MODULE

    most: Annotated[int, Field(ge=1, le=1_000_000)] = 2000
    """Pictures that are looked at; of more, so many are drawn."""
    agreeing: Annotated[int, Field(ge=1, le=20)] = face_finder.AGREEING
    """Windows of the cascade that have to agree on a place: more raise fewer false alarms, and find fewer faces."""

    def __call__(self, dataset: Dataset, given: Nothing, rng: Rng) -> Faced:
        if not len(dataset):
            raise Unsupported("there are no pictures")
        which, found, shown = chosen(len(dataset), self.most, rng), list[tuple[str, int]](), list[Tensor]()
        for i in track(which, len(which), "looking for faces"):
            x = dataset.whole(i)
            boxes = face_finder.faces(x, self.agreeing)
            if boxes:
                found.append((dataset.items[i].name, len(boxes)))
                if len(shown) < SHOWN:
                    shown.append(cut(x, boxes[0]))
        channels = max((len(x) for x in shown), default=1)
        return Faced(
            found=tuple(found),
            looked=len(which),
            of=len(dataset),
            agreeing=self.agreeing,
            shown=torch.stack([x.expand(channels, -1, -1) for x in shown]) if shown else torch.empty(0, 1, 1, 1),
        )


def cut(x: Tensor, box: face_finder.Box) -> Tensor:
    """That part of a picture, as a small square."""
    part = x[:, box.top : box.bottom, box.left : box.right]
    return F.interpolate(part[None], (SIDE, SIDE), mode="bilinear", antialias=True)[0]
