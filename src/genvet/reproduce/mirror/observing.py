"""What section III of the paper looks at, in numbers: the mapping's layers, paths of searches in Z, and the critic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from scipy.stats import spearmanr
from torch import Tensor

from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.maths.duplicates import nearest
from genvet.maths.identity_losses import cross_entropy
from genvet.maths.natural import damaged
from genvet.nets.first_guesses import first_guesses, shown
from genvet.nets.inverting import Pace, invert
from genvet.nets.latent_spaces import LatentSpace
from genvet.nets.p_space import SLOPE, PSpace, to_p
from genvet.nets.spaces import random_convolutions
from genvet.nets.stylegan2 import build
from genvet.reproduce.cells import Cell, Numbers, Place, Step
from genvet.reproduce.mirror.measuring import natural
from genvet.reproduce.mirror.networks import Prior, Target

TRAINED, FRESH = "trained", "never trained"
PLACES = {
    "p0": "before the last but one leaky ReLU",
    "w0": "behind it",
    "p": "before the last one: P",
    "w": "behind it: W",
}
"""Of the mapping, in the order of its layers."""
BINS, REACH = 24, 4.0
"""Of the histograms, in standard deviations to either side."""
LEVELS = (1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99)
"""Percent, of the Q-Q plots."""
POINTS = 10
"""Places on a path that are told, besides its start."""
PATHS = 4
KINDS = ("public", "private", "samples", "blurred", "more blurred", "noised")
"""Pictures that the critic is shown: the damaged ones are public."""


class Normality(Cell):
    """How normal one prior's mapping is, layer by layer, and what the box of one standard deviation leaves of it."""

    prior: Prior
    trained: bool
    n: Annotated[int, Field(ge=100)]

    @property
    def name(self) -> str:
        return f"{self.prior.name}.{'trained' if self.trained else 'fresh'}.normality"

    def needs(self) -> tuple[Step, ...]:
        return (self.prior,) if self.trained else ()

    def where(self) -> Mapping[str, object]:
        return {"network": TRAINED if self.trained else FRESH, "block": self.prior.seed}

    @torch.no_grad()
    def __call__(self, place: Place) -> Numbers:
        generator = self.prior.generator(place) if self.trained else self._fresh()
        assert isinstance(generator, StyleGenerator)
        rng = Rng(1, "moments")
        p, layers = PSpace.of(generator, self.n, rng), both_sides(generator, generator.latent.sample(0, self.n, rng))
        w = layers["w"]
        boxed = p.clip(w, 1.0)
        lengths = [to_p(x).sub(p.mean).norm(dim=1).mean() for x in (boxed, w)]
        return {
            "p.kurtosis": float(p.kurtosis.mean()),
            "directions": p.directions,
            "inside": float((boxed == w).all(1).float().mean()),
            "clipped": float((boxed != w).float().mean()),
            "shrunk": float(lengths[0] / lengths[1]),
            **{f"{name}.skew": skewness(x) for name, x in layers.items()},
            **{f"{name}.{k}": v for name, x in layers.items() for k, v in of_one(x[:, 0]).items()},
        }

    def _fresh(self) -> StyleGenerator:
        size = self.prior.settings.get("latent", 128)
        fresh = build(self.prior.size, channels=1, z_dim=size, w_dim=size, mapping_layers=2, rng=Rng(self.prior.seed))
        fresh.module.eval().requires_grad_(False)
        assert isinstance(fresh, StyleGenerator)
        return fresh


def both_sides(generator: StyleGenerator, z: Tensor) -> dict[str, Tensor]:
    """Each of `PLACES` for latents (n, dim): what the last two layers give, before their leaky ReLU and behind it."""
    mapping: Any = generator.module.mapping
    seen: list[Tensor] = []
    hooks = [
        mapping.get_submodule(f"fc{i}").register_forward_hook(lambda _, __, out: seen.append(out.float()))
        for i in range(mapping.layers - 2, mapping.layers)
    ]
    try:
        generator.mapping(z)
    finally:
        for hook in hooks:
            hook.remove()
    (before, p), gain = seen, mapping.gain
    return {
        "p0": before,
        "w0": torch.where(before < 0, SLOPE * before, before),
        "p": p * gain,
        "w": torch.where(p < 0, SLOPE * p, p) * gain,
    }


def skewness(x: Tensor) -> float:
    """Mean absolute skewness of columns (n, d): 0 for normal ones."""
    unit = (x - x.mean(0)) / x.std(0).clamp_min(1e-12)
    return float(unit.pow(3).mean(0).abs().mean())


def of_one(column: Tensor) -> dict[str, float]:
    """The histogram and the quantiles of one number of the layer, standardised, (n,)."""
    unit = (column - column.mean()) / column.std().clamp_min(1e-12)
    counts = torch.histc(unit.clamp(-REACH, REACH), BINS, -REACH, REACH) / len(unit)
    quantiles = unit.double().quantile(torch.tensor(LEVELS).double() / 100)
    return {f"h{i}": float(c) for i, c in enumerate(counts)} | {
        f"q{level}": float(q) for level, q in zip(LEVELS, quantiles, strict=True)
    }


class Path(Cell):
    """Searches in Z for one label, from the best samples: where they go, with and without a clip."""

    prior: Prior
    target: Target
    clipped: bool
    samples: int
    steps: int

    @property
    def name(self) -> str:
        return f"{self.target.name}.{self.prior.net}.path-{'clipped' if self.clipped else 'free'}"

    def needs(self) -> tuple[Step, ...]:
        return (self.prior, self.target)

    def where(self) -> Mapping[str, object]:
        return {"clipped": self.clipped, "block": self.prior.seed}

    def __call__(self, place: Place) -> Numbers:
        generator, classifier = self.prior.generator(place), self.target.classifier(place)
        space, label = LatentSpace(generator=generator, border="box" if self.clipped else "none"), torch.zeros(1).long()
        trail: list[Tensor] = []

        def scores(x: Tensor) -> Tensor:
            return classifier.logits(shown(x, classifier.shape)).double().log_softmax(1)

        def loss(u: Tensor, row: Tensor, step: Tensor) -> Tensor:
            trail.append(u.detach())
            return cross_entropy(classifier.logits(shown(space.images(u), classifier.shape)), label[0 * row])

        def look(u: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
            own = scores(space.images(u))[:, 0]
            return -own, own.exp()

        begin = space.start(first_guesses(generator, scores, label, PATHS, self.samples, Rng(1, "path")).z[0])
        ended = invert(begin, loss, look, lambda u: space.kept(u), Pace(steps=self.steps, rate=0.25, batch=PATHS))
        trail.append(ended.u)
        marks = [trail[round(i * (len(trail) - 1) / POINTS)][:, 0] for i in range(POINTS + 1)]
        return {**self.told(torch.stack(marks), space, place)}

    @torch.no_grad()
    def told(self, marks: Tensor, space: LatentSpace, place: Place) -> dict[str, float]:
        """Of points (times, paths, dim): how long they are, how sure the target is, how near public pictures are."""
        classifier, features = self.target.classifier(place), random_convolutions()
        public = features(self.target.identities(place).public.x)
        test = features(self.target.identities(place).test.x)
        unit = nearest(test, public)[0].mean()
        moved = marks - marks[0]
        _, _, directions = torch.linalg.svd(moved.flatten(0, 1), full_matrices=False)
        flat = moved @ directions[:2].T if len(directions) > 1 else moved[..., :2]
        found = {}
        for i, z in enumerate(marks):
            x = space.rendered(z[:, None])
            sure = classifier(shown(x, classifier.shape))[:, 0]
            found[f"length.{i}"] = float(z.norm(dim=1).mean() / z.shape[1] ** 0.5)
            found[f"sure.{i}"] = float(sure.mean())
            found[f"public.{i}"] = float((nearest(features(x), public)[0] / unit).mean())
            found |= {
                f"{axis}{k}.{i}": float(v) for k in range(len(z)) for axis, v in zip("xy", flat[i, k], strict=True)
            }
        return found


class Likeness(Cell):
    """What the prior's critic says of pictures of several kinds, and whether it says how near samples are to real."""

    prior: Prior
    n: Annotated[int, Field(ge=20)]

    @property
    def name(self) -> str:
        return f"{self.prior.name}.likeness"

    def needs(self) -> tuple[Step, ...]:
        return (self.prior,)

    def where(self) -> Mapping[str, object]:
        return {"network": TRAINED, "block": self.prior.seed}

    @torch.no_grad()
    def __call__(self, place: Place) -> Numbers:
        who, critic, space = self.prior.identities(place), self.prior.critic(place), random_convolutions()
        public, rng = who.public.x, Rng(1, "samples")
        real = public[torch.randperm(len(public), generator=rng.fork("public").block())[: self.n]]
        x = self.prior.generator(place).sample(self.n, rng).clamp(-1, 1)
        kinds = (
            real,
            who.test.x[: self.n],
            x,
            *(damaged(real, *how, rng) for how in (("blur", 1.0), ("blur", 2.0), ("noise", 32.0))),
        )

        def scores(some: Tensor) -> Tensor:
            return torch.cat([critic(part)[:, 0] for part in some.split(50)])

        apart = nearest(space(x), space(public))[0]
        found = {"critic-ranks": float(spearmanr(scores(x).numpy(), apart.numpy()).statistic)}
        niqe = natural(place.data, self.prior.domain, self.prior.size, self.prior.private)
        if niqe is not None:
            found["critic-niqe"] = float(
                spearmanr(scores(x).numpy(), niqe.scores(x).numpy(), nan_policy="omit").statistic
            )
        every = {kind: scores(some) for kind, some in zip(KINDS, kinds, strict=True)}
        mean, spread = every["public"].mean(), every["public"].std().clamp_min(1e-6)
        return found | {f"critic.{kind}": float((values.mean() - mean) / spread) for kind, values in every.items()}
