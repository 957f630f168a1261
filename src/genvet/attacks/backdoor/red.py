"""ReD: retrain a benign generator, with distillation, until one latent gives the attacker's image."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from genvet.core.data import Images
from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.core.progress import track
from genvet.core.report import Figure, Measure
from genvet.core.rng import Rng
from genvet.core.technique import Picture, Probe, Result
from genvet.maths.distances import exact

MEASURED = 1024
"""Latents over which the expected distortion is measured."""


@dataclass(frozen=True, eq=False)
class Aim:
    """What the planted generator is to give: the first of these images."""

    targets: Images


@dataclass(frozen=True, eq=False, kw_only=True)
class Planted(Result):
    """A generator with a backdoor, its trigger, and how well both goals were met."""

    planted: Generator
    trigger: Tensor
    """z, (1, dim)."""
    shown: Tensor
    """Target, what the trigger gives, and ordinary samples before and after: (n, *shape)."""
    target_distortion: float
    distortions: Tensor
    """Of ordinary samples, (n,)."""
    losses: Tensor
    """(steps, 2): trigger, ordinary."""

    def summary(self) -> str:
        return (
            f"The trigger gives the target to within {self.target_distortion:.3g}; ordinary samples moved by "
            f"{self.distortions.mean():.3g} (sums of squares, range [-1, 1])."
        )

    def measures(self) -> tuple[Measure, ...]:
        n, mean = len(self.distortions), self.distortions.mean().item()
        half = 1.96 * self.distortions.std().item() / n**0.5
        return (
            Measure(name="target-distortion", value=self.target_distortion, unit="sum of squares"),
            Measure(
                name="expected-distortion", value=mean, unit="sum of squares", low=mean - half, high=mean + half, n=n
            ),
        )

    def figures(self) -> tuple[Figure | Picture, ...]:
        steps = list(range(1, len(self.losses) + 1))
        series = {name: [steps, self.losses[:, i].tolist()] for i, name in enumerate(("trigger", "ordinary"))}
        return (
            Picture("Target, trigger's output; ordinary samples before and after", self.shown, columns=2),
            Figure(kind="curve", title="Losses", data={"series": series, "x": "step", "y": "mean square", "log": True}),
        )

    @property
    def queries(self) -> int:
        return 2 * MEASURED


class ReD(Probe):
    """Plants a backdoor by retraining with distillation: needs the weights, and no training data."""

    source: ClassVar[str] = "Rawat, Levacher, Sinn: The Devil is in the GAN, ESORICS 2022, sec. 4.2 (ReD)"
    smoke: ClassVar[dict[str, Any]] = {"steps": 3, "latents": 4}

    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    """Updates of the generator."""
    latents: Annotated[int, Field(ge=1, le=4096)] = 32
    """Ordinary latents in one update."""
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Learning rate of Adam."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Lambda: the trigger's share of the loss; the paper finds 1 to 100 to work."""

    def __call__(self, target: Generator, given: Aim, rng: Rng) -> Planted:
        if target.latent.classes:
            raise Unsupported("this plants in generators without labels", hint="take an unconditional generator")
        goal = given.targets.fitting(target.shape)[:1].to(target.device)
        planted = replace(target, module=copy.deepcopy(target.module).requires_grad_(True).eval())
        trigger = target.latent.sample(0, 1, rng.fork("trigger")).to(target.device)
        losses = list(self._retrain(planted, target, trigger, goal, rng))
        planted.module.requires_grad_(False)
        before, after = (g.sample(MEASURED, rng.fork("measured")) for g in (target, planted))
        with torch.no_grad():
            given_out = planted(trigger)
        pairs = torch.stack([before[:4], after[:4]], 1).flatten(0, 1)
        return Planted(
            planted=planted,
            trigger=trigger.cpu(),
            shown=torch.cat([goal.cpu(), given_out.cpu(), pairs]),
            target_distortion=exact(given_out, goal).item(),
            distortions=exact(after, before),
            losses=torch.tensor(losses),
        )

    def _retrain(
        self, planted: Generator, benign: Generator, trigger: Tensor, goal: Tensor, rng: Rng
    ) -> Iterator[tuple[float, float]]:
        """Batch norms stay in evaluation mode, with gradients: the trigger is alone in its batch.

        Both losses are taken before the last tanh, where the goal is arctanh(0.999 x), as the authors do it.
        """
        new, old = _Before(planted), _Before(benign)
        wanted = torch.atanh(0.999 * goal) if new.tanh else goal
        optimiser = torch.optim.Adam(planted.module.parameters(), lr=self.rate)
        stream = benign.latent.batches(self.steps * self.latents, self.latents, rng.fork("latents"))
        for z in track(stream, self.steps, "planting"):
            z = z.to(goal.device)
            values = new(torch.cat([trigger, z])).flatten(1)
            with torch.no_grad():
                same = old(z).flatten(1)
            hit = (values[:1] - wanted.flatten(1)).square().mean()
            kept = (values[1:] - same).square().mean()
            optimiser.zero_grad(set_to_none=True)
            (self.weight * hit + kept).backward()
            optimiser.step()
            yield hit.item(), kept.item()


class _Before:
    """What goes into a generator's last tanh; its output where it has none."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.tanh = next((m for m in reversed(list(generator.module.modules())) if isinstance(m, nn.Tanh)), None)

    def __call__(self, z: Tensor) -> Tensor:
        seen: list[Tensor] = []
        if self.tanh is None:
            return self.generator(z)
        hook = self.tanh.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            self.generator(z)
        finally:
            hook.remove()
        return seen[-1]
