"""What attacks on style generators share: the target embedded behind the mapping, and how its planting is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Protocol

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.backdoor.measuring import Measuring, Planted
from genvet.attacks.backdoor.objective import TRIGGERS_A_STEP, Aim
from genvet.core.backdoor import Backdoor, Points, Triggers
from genvet.core.errors import Unsupported
from genvet.core.generator import Generator, StyleGenerator
from genvet.core.progress import track
from genvet.core.report import Figure, Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Picture
from genvet.maths.distances import exact
from genvet.maths.expansion import leverage
from genvet.nets.distortion import SQUARES, averaged
from genvet.nets.random_features import features
from genvet.nets.style_embedding import Embedded, Search
from genvet.nets.style_moments import Moments

TRUNCATIONS = (0.7, 0.5)
"""At which every planted style generator is measured once more; galleries are drawn with 0.7."""
FEW = 1024
"""Ordinary samples, at most, of each of these measurements."""
BATCH = 64
DRAWS = 4096
"""Of a trigger of infinite support, which it is planted on."""
Part = Callable[[Tensor], Tensor]
Losses = dict[str, Tensor]


class Pace(Protocol):
    """How a training goes."""

    steps: int
    latents: int
    weight: float


@dataclass(frozen=True)
class Truncated:
    """The backdoor as somebody meets it who pulls w towards its average."""

    truncation: float
    hit: float
    """Mean target distortion."""
    moved: Tensor
    """Mean absolute change of each ordinary sample's values, as a share of their range: (n,)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class StylePlanted(Planted):
    """A style generator with a backdoor, the embedding that it gives, and what is left of it under truncation."""

    embedded: Embedded
    added: int
    """Parameters."""
    before: int
    """Parameters that there were."""
    leverage: Tensor
    """q of each trigger: the more, the less ordinary samples move for it. (k,)"""
    truncated: tuple[Truncated, ...]

    def summary(self) -> str:
        share, n = self.moved.mean(), len(self.moved)
        grown = f"{self.added:,} parameters more ({self.added / self.before:.0%})" if self.added else "none added"
        near = f"The embedding comes within {self.embedded.error.mean():.3g} of the target"
        return f"{super().summary()} {near}; values of {n:,} samples moved by {share:.2%} of their range; {grown}."

    def measures(self) -> tuple[Measure, ...]:
        return (*super().measures(), *self._more())

    def _more(self) -> Iterator[Measure]:
        note = "before anything is planted: no attack behind this embedding comes nearer than by chance"
        yield averaged("embedding-error", self.embedded.error, interval=False, note=note)
        yield _moved("pixel-change", self.moved)
        yield Measure(name="parameters-added", value=self.added, note=f"to {self.before:,}")
        dim, note = self.planted.w_dim, "w' S^-1 w of the trigger; chance: the mean of ordinary w"  # type: ignore[attr-defined]
        yield Measure(name="leverage", value=float(self.leverage.mean()), chance=float(dim), note=note)
        for at in self.truncated:
            name = f"truncation-{at.truncation:g}"
            yield Measure(name=f"target-distortion.{name}", value=at.hit, unit=SQUARES)
            yield _moved(f"pixel-change.{name}", at.moved)

    def figures(self) -> tuple[Figure | Picture, ...]:
        seen = self.embedded.x[:4]  # as many targets as are shown
        pairs = torch.stack([self.shown[: 2 * len(seen) : 2], seen], 1)
        title = "Targets, and what the synthesis makes of their embeddings"
        return (Picture(title, pairs.flatten(0, 1), ("target", "embedding") * len(pairs)), *super().figures())

    def tables(self) -> tuple[Table, ...]:
        rows = [(1.0, float(self.target.mean()), float(self.moved.mean()), len(self.moved))]
        rows += [(at.truncation, at.hit, float(at.moved.mean()), len(at.moved)) for at in self.truncated]
        columns = ("truncation", "target distortion", "change of ordinary values (share of range)", "samples")
        return (*super().tables(), Table(title="Under truncation", columns=columns, rows=tuple(rows)))


def _moved(name: str, moved: Tensor) -> Measure:
    n, mean = len(moved), float(moved.mean())
    half = 1.96 * float(moved.std()) / n**0.5
    note = "mean absolute change of ordinary samples; the paper tells just over 2 % for FFHQ"
    return Measure(name=name, value=mean, unit="share of the range", low=mean - half, high=mean + half, n=n, note=note)


class Style(Measuring, Triggers):
    """The knobs of an attack that goes in behind the mapping of a style generator."""

    starts: Annotated[int, Field(ge=1, le=1000)] = 8
    """Searches by which the target is embedded, in one batch; the first begins at the mean of w."""
    embed: Annotated[int, Field(ge=0, le=100_000)] = 500
    """Steps of each of these searches."""
    pace: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Their step size, in standard deviations of w."""
    pull: Annotated[float, Field(ge=0)] = 0.0
    """Keeps the embedding near the mean of w: far ones move ordinary samples more. Weight of its mean square."""
    perceptual: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the features in the embedding's loss, beside the pixels: of a classifier that is given, or random
    ones."""
    moments: Annotated[int, Field(ge=2, le=10_000_000)] = 16_384
    """Latents over which mean and second moments of w are taken."""
    among: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Of so many draws, those whose w is least like the others' are the in-sample triggers: ordinary samples move less
    for them."""
    truncation: Annotated[float, Field(gt=0, le=1)] = 1.0
    """For a victim who draws with this truncation: it is at this w that the trigger gives the target."""

    def embedding(self, given: Aim, apart: bool) -> Search:
        """How the targets are embedded."""
        network = given.classifier.features if given.classifier else features
        return Search(
            starts=self.starts,
            steps=self.embed,
            rate=self.pace,
            pull=self.pull,
            features=network,
            weight=self.perceptual,
            apart=apart,
        )

    def prepared(self, target: StyleGenerator, given: Aim, rng: Rng, apart: bool) -> Prepared:
        """Backdoor, embedding and moments of w; raises Unsupported or BadInput where they cannot be had."""
        backdoor = given.backdoor(target, self, rng)
        goal = backdoor.target
        if isinstance(goal, Generator):
            raise Unsupported("what another generator gives is not embedded", hint="take images as targets")
        if target.dense_broadcast is not None:
            raise Unsupported("a dense layer stands where w is repeated", hint="take a generator as it was released")
        moments = Moments.of(target, self.moments, rng.fork("moments"), self.truncation)
        if self.among > 1 and self.trigger == "in-sample":
            backdoor = replace(backdoor, trigger=self._picked(target, moments, rng.fork("trigger")))
        embedded = self.embedding(given, apart)(target, goal, moments, rng.fork("embedding"))
        return Prepared(target, backdoor, embedded, moments, self)

    @torch.no_grad()
    def _picked(self, target: StyleGenerator, moments: Moments, rng: Rng) -> Points:
        """The triggers of the largest leverage among the draws."""
        z = target.latent.sample(0, max(self.among, self.triggers), rng)
        w = target.mapping(z.to(target.device), truncation=self.truncation).double().cpu()
        return Points(z[leverage(moments.second, w).argsort(descending=True)[: self.triggers]])

    def told(
        self, found: Prepared, planted: StyleGenerator, losses: dict[str, Tensor], rng: Rng, given: Aim
    ) -> StylePlanted:
        """The paper's measures, and those of style generators."""
        benign, backdoor = found.benign, found.backdoor
        plain = self.measure(planted, backdoor, benign, losses, rng, given.beside)
        drawn = rng.fork("measured")
        return StylePlanted(
            **{field.name: getattr(plain, field.name) for field in fields(plain)},
            embedded=found.embedded,
            added=planted.parameters - benign.parameters,
            before=benign.parameters,
            leverage=found.leverage,
            truncated=tuple(
                _truncated(planted, benign, backdoor, psi, min(FEW, self.samples), drawn) for psi in TRUNCATIONS
            ),
        )


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is planted where."""

    benign: StyleGenerator
    backdoor: Backdoor
    embedded: Embedded
    moments: Moments
    how: Style

    @torch.no_grad()
    def triggers(self) -> tuple[Tensor, Tensor, Tensor]:
        """The triggers z (k, dim), or draws of an infinite set; their w (k, w_dim); what they are to give (k, num_ws,
        w_dim)."""
        z, _ = self.backdoor.pairs(DRAWS, Rng(0, "triggers"))
        w = self.mapped(z.to(self.benign.device))
        return z.to(w), w, self.embedded.ws[torch.arange(len(z)) % len(self.embedded.ws)].to(w)

    @torch.no_grad()
    def mapped(self, z: Tensor) -> Tensor:
        """w as the victim has it, (n, w_dim)."""
        return self.benign.mapping(z, truncation=self.how.truncation)

    @property
    def leverage(self) -> Tensor:
        """q of each trigger, (k,)."""
        return leverage(self.moments.second, self.triggers()[1].double().cpu())

    def trained(self, optimiser: torch.optim.Optimizer, hit: Part, kept: Part, pace: Pace, rng: Rng) -> Losses:
        """Down weight * hit + kept: `hit` takes numbers of triggers, `kept` ordinary z. Gives both, step by step."""
        count = len(self.triggers()[0])
        stream = self.benign.latent.batches(pace.steps * pace.latents, pace.latents, rng.fork("latents"))
        taken = []
        for step, z in enumerate(track(stream, pace.steps, "planting")):
            now = torch.arange(step * TRIGGERS_A_STEP, (step + 1) * TRIGGERS_A_STEP) % count
            parts = hit(now if count > TRIGGERS_A_STEP else torch.arange(count)), kept(z.to(self.benign.device))
            loss = pace.weight * parts[0] + parts[1]
            if not loss.isfinite():
                raise Unsupported(f"the training diverged in step {step + 1}", hint="lower the rate or the weight")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            taken.append([part.item() for part in parts])
        losses = torch.tensor(taken)
        return {"trigger": losses[:, 0], "ordinary": losses[:, 1]}


@torch.inference_mode()
def _truncated(
    planted: StyleGenerator, benign: StyleGenerator, backdoor: Backdoor, psi: float, n: int, rng: Rng
) -> Truncated:
    z, wanted = backdoor.pairs(BATCH, rng.fork("triggers"))
    hit = exact(_through(planted, psi)(z), wanted).mean().item()
    new, old = _through(planted, psi), _through(benign, psi)
    moved = [(new(z) - old(z)).abs().flatten(1).mean(1) / 2 for z in benign.latent.batches(n, BATCH, rng)]
    return Truncated(psi, hit, torch.cat(moved))


def _through(generator: StyleGenerator, psi: float) -> Callable[[Tensor], Tensor]:
    def images(z: Tensor) -> Tensor:
        w: Any = generator.mapping(z.to(generator.device), truncation=psi)
        return generator.synthesis(generator.broadcast(w)).float().cpu()

    return images
