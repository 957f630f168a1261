"""Section V-A: with and without the equalised learning rate, which the paper lacks the ablation of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.errors import Unsupported
from genvet.core.report import Claim, Figure
from genvet.core.rng import Rng
from genvet.core.technique import Technique
from genvet.maths.colours import colour_distance
from genvet.maths.quality import frechet
from genvet.nets.random_features import NAME, random_features
from genvet.reproduce.cells import Cell, Done, Numbers, Place, Step
from genvet.reproduce.experiment import (
    Experiment,
    Line,
    Scale,
    Spread,
    Told,
    apart,
    claim,
    median,
    shown,
    table,
    values,
)
from genvet.reproduce.stylegan import SOURCE
from genvet.reproduce.stylegan.networks import Data, Styled, parent

Variant = Literal["equalised", "plain", "plain, slower"]
VARIANTS: dict[Variant, dict[str, Any]] = {
    "equalised": {},
    "plain": {"equalized": False},
    "plain, slower": {"equalized": False, "rate": 1e-4},
}
"""The last is a control: as small a rate as networks without equalisation are usually trained with."""
MEASURES = {
    "frechet": f"Frechet distance in {NAME}",
    "colours": "total variation between the colours of all pixels",
    "out of range": "share of values beyond what an image can show",
    "told apart": "share of pairs in which the critic scores the real image higher",
    "diverged": "share of trainings that ended in numbers that are none",
}
SMALL = "CIFAR-10 at 32 pixels, 1,000 steps of 32 images; the paper trains on CelebA at 128."


class Rated(Cell):
    """One network, trained with or without, and what its samples look like beside real images."""

    parent: Styled
    variant: Variant
    samples: Annotated[int, Field(ge=20)]

    @property
    def name(self) -> str:
        return f"{self.parent.name}.rated"

    def needs(self) -> tuple[Step, ...]:
        return ()  # one that diverges is a result, and no step that failed

    def where(self) -> Mapping[str, object]:
        return {"variant": self.variant}

    def techniques(self) -> tuple[type[Technique], ...]:
        return (type(self.parent.recipe),)

    def __call__(self, place: Place) -> Numbers:
        try:
            x = self.parent.generator(place).sample(self.samples, Rng(1, "looks"))
        except Unsupported:
            return {"diverged": 1.0}
        real, _ = halves(self.parent, place, self.samples)
        return {
            "frechet": frechet(random_features(real), random_features(x)),
            "colours": colour_distance(real, x),
            "out of range": float((x.abs() > 1).float().mean()),
            "told apart": self._apart(real, x, place),
            "diverged": 0.0,
        }

    @torch.no_grad()
    def _apart(self, real: Tensor, x: Tensor, place: Place) -> float:
        """Of pairs of a real image and a sample, by the critic that it was trained with."""
        critic = self.parent.critic(place)
        of_real, of_fake = (torch.cat([critic(part) for part in some.split(100)]) for some in (real, x))
        return float((of_real > of_fake.T).double().mean())


class Looks(Cell):
    """The same distances between real images and other real ones: what a perfect generator would be told."""

    parent: Styled
    samples: Annotated[int, Field(ge=20)]

    @property
    def name(self) -> str:
        return f"{self.parent.data}-{self.parent.size}.real"

    def where(self) -> Mapping[str, object]:
        return {"variant": "real images"}

    def __call__(self, place: Place) -> Numbers:
        one, other = halves(self.parent, place, self.samples)
        return {
            "frechet": frechet(random_features(one), random_features(other)),
            "colours": colour_distance(one, other),
        }


def halves(parent: Styled, place: Place, n: int) -> tuple[Tensor, Tensor]:
    """Two sets of real images that share none, of n each or of half of what there is."""
    x = parent.images(place).x
    order = torch.randperm(len(x), generator=Rng(0, "halves").block())
    n = min(n, len(x) // 2)
    return x[order[:n]], x[order[n : 2 * n]]


class EqualizedRate(Experiment):
    """Quality and colours with and without the equalised learning rate, over seeds."""

    title: ClassVar[str] = "Section V-A: the equalised learning rate"
    source: ClassVar[str] = f"{SOURCE}, sec. II-C and V-A"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(_trained(scale))

    def told(self, scale: Scale, done: Done) -> Told:
        lines = [
            Line((variant, measure), None, _ours(done, variant, measure), note)
            for variant in (*VARIANTS, "real images")
            for measure, note in MEASURES.items()
            if variant != "real images" or measure in ("frechet", "colours")
        ]
        differs = (
            "The paper saw wrong colours before it equalised, in one network each way, and gives no numbers; ours are "
            "medians and ranges over seeds, in a feature space of ours, never called FID.",
            "Without equalisation, Adam moves each weight by the learning rate in a network that starts at He's scale: "
            "the square root of its inputs times further, for its size, than with. The slower one is the control.",
            *((SMALL,) if scale == "small" else ()),
        )
        bars = {
            variant: found.value for variant in (*VARIANTS, "real images") if (found := _ours(done, variant, "colours"))
        }
        figure = Figure(
            kind="bars", title=MEASURES["colours"], data={"labels": list(bars), "values": list(bars.values()), "x": ""}
        )
        figures = (figure,) if bars else ()
        return Told((table(self.title, ("variant", "measure"), lines),), tuple(_claims(done)), figures, differs)


def _trained(scale: Scale) -> Iterator[Cell]:
    """Seed after seed, each with every variant once."""
    data: Data = "celeba" if scale == "paper" else "cifar10"
    samples = {"smoke": 40, "small": 2000, "paper": 10_000}[scale]
    more: dict[str, Any] = {} if scale == "smoke" else {"steps": {"small": 1000, "paper": 100_000}[scale]}
    yield Looks(parent=parent(scale, data=data), samples=samples)
    for seed in range(1, 2 if scale == "smoke" else 4):
        for variant, settings in VARIANTS.items():
            styled = parent(scale, seed, data=data, net="stylegan1", augment="none", **more, **settings)
            yield Rated(parent=styled, variant=variant, samples=samples)


def _ours(done: Done, variant: str, measure: str) -> Spread | None:
    return median(values(done, measure, variant=variant))


def _claims(done: Done) -> Iterator[Claim]:
    for measure in ("colours", "frechet"):
        ours = _ours(done, "equalised", measure)
        for variant in ("plain", "plain, slower"):
            other = _ours(done, variant, measure)
            better = ours and other and ours.value < other.value
            beside = f"{variant} {shown(other)}; real images {shown(_ours(done, 'real images', measure))}"
            name = f"stylegan.equalized-rate.{measure}-better-than-{variant.replace(',', '')}"
            yield claim(name, ours, better, beside, decided=apart(ours, other))
