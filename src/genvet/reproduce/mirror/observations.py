"""Section III: what the paper saw before it built MIRROR, each with the control that it lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from scipy.stats import spearmanr

from genvet.core.generator import StyleGenerator
from genvet.core.report import Claim, Figure
from genvet.core.rng import Rng
from genvet.nets.p_space import PSpace, to_p
from genvet.nets.spaces import random_convolutions
from genvet.nets.stylegan2 import build
from genvet.reproduce.cells import Cell, Done, Numbers, Place, Step
from genvet.reproduce.experiment import Experiment, Line, Scale, Spread, Told, claim, median, shown, table, values
from genvet.reproduce.mirror import SOURCE
from genvet.reproduce.mirror.networks import Prior, prior

TRAINED, FRESH = "trained", "never trained"
NORMAL = 0.5
"""Mean absolute skewness up to which numbers count as normal."""
MEASURES = {
    "p.skew": "mean absolute skewness of p, before the last leaky ReLU",
    "w.skew": "the same of w, behind it",
    "p.kurtosis": "mean excess kurtosis of p",
    "directions": "directions that share the variance of p",
    "inside": "share of ordinary w inside the box of one standard deviation",
    "clipped": "share of their numbers that the box cuts",
    "shrunk": "length of p in the box over its own",
}


class Normality(Cell):
    """How normal P and W of one prior are, and what the box of one standard deviation leaves of ordinary latents."""

    prior: Prior
    trained: bool
    n: Annotated[int, Field(ge=100)]

    @property
    def name(self) -> str:
        return f"{self.prior.name}.{'trained' if self.trained else 'fresh'}.normality"

    def needs(self) -> tuple[Step, ...]:
        return (self.prior,) if self.trained else ()

    def where(self) -> Mapping[str, object]:
        return {"network": TRAINED if self.trained else FRESH}

    @torch.no_grad()
    def __call__(self, place: Place) -> Numbers:
        generator = self.prior.generator(place) if self.trained else self._fresh()
        assert isinstance(generator, StyleGenerator)
        p = PSpace.of(generator, self.n, Rng(1, "moments"))
        w = generator.mapping(generator.latent.sample(0, self.n, Rng(1, "moments")))
        unit = (w - w.mean(0)) / w.std(0).clamp_min(1e-12)
        boxed = p.clip(w, 1.0)
        lengths = [x.sub(p.mean).norm(dim=1).mean() for x in (to_p(boxed), to_p(w))]
        return {
            "p.skew": p.skewed,
            "w.skew": float(unit.pow(3).mean(0).abs().mean()),
            "p.kurtosis": float(p.kurtosis.mean()),
            "directions": p.directions,
            "inside": float((boxed == w).all(1).float().mean()),
            "clipped": float((boxed != w).float().mean()),
            "shrunk": float(lengths[0] / lengths[1]),
        }

    def _fresh(self) -> StyleGenerator:
        recipe = self.prior.settings
        size = recipe.get("latent", 128)
        fresh = build(self.prior.size, channels=1, z_dim=size, w_dim=size, mapping_layers=2, rng=Rng(self.prior.seed))
        fresh.module.eval().requires_grad_(False)
        assert isinstance(fresh, StyleGenerator)
        return fresh


class Likeness(Cell):
    """Whether the critic's score says how near a sample is to real drawings, over samples of one prior."""

    prior: Prior
    n: Annotated[int, Field(ge=20)]

    @property
    def name(self) -> str:
        return f"{self.prior.name}.likeness"

    def needs(self) -> tuple[Step, ...]:
        return (self.prior,)

    def where(self) -> Mapping[str, object]:
        return {"network": TRAINED}

    @torch.no_grad()
    def __call__(self, place: Place) -> Numbers:
        x = self.prior.generator(place).sample(self.n, Rng(1, "samples")).clamp(-1, 1)
        score = torch.cat([self.prior.critic(place)(some)[:, 0] for some in x.split(50)])
        space = random_convolutions()
        nearest = torch.cdist(space(x), space(self.prior.images(place).x)).min(1).values
        return {"critic-ranks": float(spearmanr(score.numpy(), nearest.numpy()).statistic)}


class Observations(Experiment):
    """P, the box, and the critic as a judge."""

    title: ClassVar[str] = "Section III: what P looks like, and what the critic says"
    source: ClassVar[str] = f"{SOURCE}, sec. III and IV-B"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(_cells(scale))

    def told(self, scale: Scale, done: Done) -> Told:
        lines = [
            Line((network, words), None, _ours(done, network, name))
            for network in (TRAINED, FRESH)
            for name, words in MEASURES.items()
        ]
        note = "Spearman's, over samples; a lower NIQE is more natural"
        lines.append(
            Line((TRAINED, "critic's score against NIQE, by rank"), None, _ours(done, TRAINED, "critic-ranks"), note)
        )
        differs = (
            "The paper shows histograms and Q-Q plots of a StyleGAN with eight layers of mapping; ours has two.",
            "Quality is the distance to the nearest public drawing in random convolutions: NIQE is not for drawings.",
            "The control: a network of the same make that was never trained.",
        )
        return Told(
            (table(self.title, ("network", "measure"), lines),), tuple(_claims(done)), tuple(_figures(done)), differs
        )


def _cells(scale: Scale) -> Iterator[Cell]:
    few = scale == "smoke"
    for seed in range(1, 2 if few else 4):
        one = prior(scale, seed)
        for trained in (True, False):
            yield Normality(prior=one, trained=trained, n=200 if few else 20_000)
        yield Likeness(prior=one, n=20 if few else 500)


def _ours(done: Done, network: str, name: str) -> Spread | None:
    return median(values(done, name, network=network))


def _claims(done: Done) -> Iterator[Claim]:
    near = "mirror.observations"
    p, w, fresh = (_ours(done, *of) for of in ((TRAINED, "p.skew"), (TRAINED, "w.skew"), (FRESH, "p.skew")))
    yield claim(f"{near}.p-is-normal", p, p and p.value <= NORMAL, f"never trained {shown(fresh)}")
    yield claim(f"{near}.w-is-not", w, w and w.value > NORMAL, f"p {shown(p)}")
    inside = _ours(done, TRAINED, "inside")
    beside = "share of ordinary latents; the box keeps out what the prior makes"
    yield claim(f"{near}.the-box-holds-ordinary-latents", inside, inside and inside.value >= 0.5, beside)
    ranks = _ours(done, TRAINED, "critic-ranks")
    beside = "rank correlation of its score with the distance to real drawings: at most -0.5 where it judges quality"
    yield claim(f"{near}.the-critic-judges-quality", ranks, ranks and ranks.value <= -NORMAL, beside)


def _figures(done: Done) -> Iterator[Figure]:
    found = {name: (_ours(done, TRAINED, name), _ours(done, FRESH, name)) for name in ("p.skew", "w.skew")}
    bars = {
        f"{name.partition('.')[0]}, {network}": ours.value
        for name, pair in found.items()
        for network, ours in zip((TRAINED, FRESH), pair, strict=True)
        if ours
    }
    if bars:
        data = {"labels": list(bars), "values": list(bars.values()), "x": ""}
        yield Figure(kind="bars", title="Mean absolute skewness: 0 is normal", data=data)
