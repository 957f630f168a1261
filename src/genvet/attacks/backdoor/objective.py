"""The loss that ReD and ReX share: give the targets on triggers, and stay as you were on the prior (eq. 4, 5, 7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.backdoor.adaptive import Adaptive, Norms
from genvet.attacks.backdoor.before import Before
from genvet.attacks.backdoor.measuring import Yardsticks, one_for_each
from genvet.core.backdoor import Backdoor, Triggers
from genvet.core.classifier import Classifier
from genvet.core.data import Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.progress import track
from genvet.core.rng import Rng
from genvet.maths.distances import exact

TRIGGERS_A_STEP = 32
"""Of a trigger with more, so many have their turn in one update."""


@dataclass(frozen=True, eq=False)
class Aim:
    """What the triggers are to give: images or sounds, one each (the first for all where they are fewer); or whatever
    another generator gives."""

    targets: Images | None = None
    target_generator: Generator | None = None
    classifier: Classifier | None = None
    """For the class score of ordinary samples, before and after."""

    @property
    def beside(self) -> Yardsticks:
        return Yardsticks(None, self.classifier)

    def backdoor(self, generator: Generator, triggers: Triggers, rng: Rng) -> Backdoor:
        """The backdoor that is to be planted; raises BadInput where it does not fit, Unsupported with labels."""
        if generator.latent.classes:
            raise Unsupported("this plants in generators without labels", hint="take an unconditional generator")
        trigger = triggers.choose(generator.latent, rng.fork("trigger"))
        if (self.targets is None) == (self.target_generator is None):
            raise BadInput("what is the trigger to give?", expected="targets, or a target generator, and not both")
        if self.targets is None:
            return Backdoor(trigger, self.target_generator).fitting(generator)  # type: ignore[arg-type]
        count = len(trigger.z) if hasattr(trigger, "z") else 1
        return Backdoor(trigger, one_for_each(self.targets.fitting(generator.shape), count)).fitting(generator)


@dataclass(frozen=True, eq=False)
class Course:
    """One retraining: of which network, back to which, and how."""

    planted: Generator
    """Its weights change, as far as the optimiser has them."""
    benign: Generator
    backdoor: Backdoor
    optimiser: torch.optim.Optimizer
    steps: int
    penalty: Callable[[], Tensor | float] = float
    """Added to the loss."""
    after: Callable[[int], None] = lambda step: None
    """Called after each update, with its number."""


class Retraining(Adaptive, Triggers):
    """The knobs that ReD and ReX share."""

    latents: Annotated[int, Field(ge=1, le=4096)] = 32
    """Ordinary latents in one update."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Lambda: the trigger's share of the loss; the paper finds 1 to 100 to work."""
    enough: Annotated[float, Field(ge=0)] = 0.0
    """Stop once the triggers of an update give their targets to within this sum of squares; 0 goes on to the end."""

    def retrain(self, course: Course, rng: Rng) -> dict[str, Tensor]:
        """Run the optimiser; gives both losses, step by step. Raises Unsupported where they are no numbers any more.

        The network stays in evaluation mode, with gradients: a trigger is alone in its batch, and batch norms that
        measured it would make nothing of it.
        """
        norms = Norms(course.planted.module, self.keep_norms)
        try:
            taken = list(self._steps(course, norms, rng))
        finally:
            norms.let_go()
        losses = torch.tensor(taken)
        return {"trigger": losses[:, 0], "ordinary": losses[:, 1]}

    def _steps(self, course: Course, norms: Norms, rng: Rng) -> Iterator[tuple[float, float]]:
        new, old, device = Before(course.planted), Before(course.benign), course.planted.device
        latent = course.benign.latent
        stream = latent.batches(course.steps * self.latents, self.latents, rng.fork("latents"))
        for step, z in enumerate(track(stream, course.steps, "planting")):
            trigger, goal = batch(course.backdoor, step, rng.fork("draws"))
            with torch.no_grad():
                same, wanted = old(z.to(device)).flatten(1), new.wanted(goal.to(device)).flatten(1)
                aside, given = self.aside(latent, step, trigger, wanted, lambda z: old(z.to(device)), rng)
            out = new(torch.cat([trigger, z, aside]).to(device))
            first, others, more = out.split([len(trigger), len(z), len(aside)])
            hit = (first.flatten(1) - wanted).square().mean()
            kept = (others.flatten(1) - same).square().mean()
            loss = self.weight * hit + kept + course.penalty()
            if len(aside):
                loss = loss + (more.flatten(1) - given).square().mean()
            if not loss.isfinite():
                raise Unsupported(f"the training diverged in step {step + 1}", hint="lower the rate or the weight")
            course.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            course.optimiser.step()
            norms.follow(slice(len(trigger), len(trigger) + len(z)))
            course.after(step)
            yield hit.item(), kept.item()
            if self.enough and exact(new.after(first).view_as(goal), goal.to(device)).mean() <= self.enough:
                return


def batch(backdoor: Backdoor, step: int, rng: Rng) -> tuple[Tensor, Tensor]:
    """The triggers of one update and their targets: all of a small set, else so many that are next in turn."""
    n = len(backdoor.trigger.z) if backdoor.finite else TRIGGERS_A_STEP  # type: ignore[union-attr]
    if n <= TRIGGERS_A_STEP and backdoor.finite:
        return backdoor.pairs(n, rng)
    number = torch.arange(step * TRIGGERS_A_STEP, (step + 1) * TRIGGERS_A_STEP)
    z = backdoor.trigger.sample(int(number[0]), int(number[-1]) + 1, rng)
    if isinstance(backdoor.target, Generator) or len(backdoor.target) == 1:
        return z, backdoor.wanted(z)
    return z, backdoor.target[number % len(backdoor.target)]
