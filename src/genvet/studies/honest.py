"""What an endpoint's policy costs a client who means well: refusals, what an image costs, and how far it is changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.errors import Refused
from genvet.core.queries import STATUS, Queries, Reply
from genvet.core.report import Figure, Measure
from genvet.core.rng import Rng
from genvet.core.technique import Picture, Probe, Result
from genvet.maths.averages import mean_of
from genvet.maths.full_reference import psnr, ssim
from genvet.maths.statistics import clopper_pearson
from genvet.nets.between import first_or_none
from genvet.nets.distortion import FEWEST, between
from genvet.nets.random_features import NAME, random_features
from genvet.studies.undefended import Bare, clean

SHOWN = 8
SAME = 120
"""From so many decibels on, two images are one."""
NO_MODEL = "needs the model without its policy"
NO_LATENTS = "the endpoint draws its latents itself: no answer can be held against the image of its latent"


@dataclass(frozen=True, eq=False, kw_only=True)
class Costs(Result):
    """What came back for ordinary queries."""

    asked: int
    status: Tensor | None
    """Of each query, (n,); None where only images came back."""
    answered: int
    x: Tensor
    """All images."""
    pairs: tuple[Tensor, Tensor] | None
    """Answers and the images of the same latents without the policy."""
    clean: tuple[Tensor, Tensor] | None
    """Two sets of images of other latents without the policy."""
    why: str

    def summary(self) -> str:
        told = f"{self.answered} of {self.asked} ordinary queries were answered"
        changed = {m.name: m for m in self._changed()}
        if (near := changed["psnr"].value) is not None:
            beside = "the images are those without the policy" if near > SAME else f"PSNR {near:.1f} dB"
            told += f"; {beside}" + " against the model without its policy" * (near <= SAME)
        shift = changed["frechet"]
        if shift.value is not None:
            told += f"; Frechet distance {shift.value:.3g} (floor {shift.chance:.3g}) in {NAME}"
        return told + "."

    def measures(self) -> tuple[Measure, ...]:
        return (*self._shares(), *self._changed())

    def _shares(self) -> Iterator[Measure]:
        names = STATUS if self.status is not None else STATUS[:1]
        for number, name in enumerate(names):
            hits = self.answered if self.status is None else int((self.status == number).sum())
            low, high = clopper_pearson(hits, self.asked)
            yield Measure(name=name, value=hits / self.asked, low=low, high=high, n=self.asked, note="ordinary queries")
        images = len(self.x)
        note = "queries that are charged for an image"
        yield Measure(name="price", value=self.asked / images if images else None, n=images, note=note)

    def _changed(self) -> Iterator[Measure]:
        for name, unit, measure, most in (("psnr", "dB", psnr, None), ("ssim", "", ssim, 1.0)):
            if self.pairs is None or (name == "ssim" and self.pairs[0].ndim != 4) or not len(self.pairs[0]):
                yield Measure(name=name, value=None, unit=unit, note=self.why or "pictures alone")
                continue
            found = mean_of(measure(*self.pairs), high=most or torch.inf)
            ends = {"low": found.low, "high": found.high} if len(self.pairs[0]) > 1 else {}
            note = "against the image of the same latent without the policy"
            yield Measure(name=name, value=found.value, unit=unit, n=len(self.pairs[0]), note=note, **ends)
        if self.clean is None or len(self.x) < FEWEST:
            few = f"fewer than {FEWEST} images came back"
            yield Measure(name="frechet", value=None, note=NO_MODEL if self.clean is None else few)
        else:
            rows = [random_features(part) for part in (self.x, *self.clean)]
            shift = between("frechet", *rows)
            note = f"in {NAME}, to images of other latents without the policy; chance: of two sets of these"
            yield shift.model_copy(update={"note": note})

    def figures(self) -> tuple[Figure | Picture, ...]:
        if not len(self.x):
            return ()
        if self.pairs is None or not len(self.pairs[0]):
            return (Picture("What came back", self.x[:SHOWN], columns=SHOWN),)
        shown = torch.cat([part[:SHOWN] for part in reversed(self.pairs)])
        told = "From top to bottom: without the policy; what came back."
        return (Picture("What came back", shown, caption=told, columns=min(SHOWN, len(self.pairs[0]))),)

    @property
    def queries(self) -> int:
        return self.asked


class Honest(Probe):
    """Tells what a policy costs an honest client: refusals, the price of an image, and distortion."""

    source: ClassVar[str] = "GenVet: the honest user's side of Hu and Pang, ACSAC 2021, appendix A.5"
    smoke: ClassVar[dict[str, Any]] = {"queries": 24}

    queries: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    """Ordinary queries that the endpoint is sent."""
    batch: Annotated[int, Field(ge=1, le=65_536)] = 64
    """Queries at once."""

    def __call__(self, target: Queries, given: Bare, rng: Rng) -> Costs:
        bare, others = given.undefended, None
        if bare is not None:
            n = max(FEWEST, self.queries)
            one, other = bare.sample(2 * n, rng.fork("clean")).clamp(-1, 1).chunk(2)
            others = one, other
        if not getattr(target, "chooses", True):
            return self._drawn_there(target, others, rng)
        z, labels = target.latent.sample(0, self.queries, rng), target.latent.labels(0, self.queries)
        status, images, owner = self._asked(target, z, labels)
        pairs = None
        if bare is not None:
            x, some = first_or_none(Reply(images, owner, status))
            pairs = x[some], clean(bare, z, labels)[some]
        return Costs(
            asked=self.queries,
            status=status,
            answered=int((status == 0).sum()),
            x=images,
            pairs=pairs,
            clean=others,
            why="" if bare is not None else NO_MODEL,
        )

    def _asked(self, target: Queries, z: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Status (n,), images (m, *shape), and the query that each answers (m,)."""
        status, images, owner = [], [torch.empty(0, *target.shape)], [torch.empty(0, dtype=torch.long)]
        for start in range(0, len(z), self.batch):
            some = slice(start, start + self.batch)
            try:
                reply = target.ask(z[some], None if labels is None else labels[some])
            except Refused:  # all of them at once
                status.append(torch.full((len(z[some]),), STATUS.index("blocked")))
                continue
            status.append(reply.status.cpu())
            images.append(reply.images.float().cpu().clamp(-1, 1))
            owner.append(reply.owner.cpu() + start)
        return torch.cat(status), torch.cat(images), torch.cat(owner)

    def _drawn_there(self, target: Queries, others: tuple[Tensor, Tensor] | None, rng: Rng) -> Costs:
        """Where only images of the endpoint's own latents come back."""
        before = target.used
        x = target.sample(self.queries, rng).float().cpu().clamp(-1, 1)
        asked = max(target.used - before, 1)
        answered = min(len(x), asked)
        return Costs(asked=asked, status=None, answered=answered, x=x, pairs=None, clean=others, why=NO_LATENTS)
