"""The one place of a private training where data come in: noisy steps of the critic, and the budget that they spend."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn import functional as F

from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.training.accounting import Course, spent
from genvet.training.clipping import Clipped, Loss, Weights, adapted, clipped, parted_noise
from genvet.training.promising import Promising

Fakes = tuple[Tensor, ...]
"""A pool of samples, with their labels where there are any."""
Seen = Callable[[Tensor], Tensor]
"""What the critic is shown of images."""


class Spending(nn.Module):
    """What a checkpoint has to keep of a budget: the noise, the rate, the steps taken, and the norm of the moment."""

    noise: Tensor
    rate: Tensor
    steps: Tensor
    norm: Tensor

    def __init__(self, noise: float, rate: float, norm: float) -> None:
        super().__init__()
        for name, value in (("noise", noise), ("rate", rate), ("norm", norm)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def of(self, recipe: Promising, steps: int | None = None) -> float:
        """Epsilon after these steps, or those that were taken."""
        taken = int(self.steps) if steps is None else steps
        return spent(float(self.noise), float(self.rate), taken, recipe.delta, recipe.accountant)


class Shield:
    """Moves a critic by clipped gradients and noise; nothing else may look at the images."""

    def __init__(
        self,
        recipe: Promising,
        critic: nn.Module,
        images: tuple[Tensor, ...],
        rng: Rng,
        noise: float,
        gamma: float = 0.0,
        every: int = 1,
    ) -> None:
        """`images` (n, c, h, w), and their one-hot labels where there are any.

        `gamma` is the weight of R1, which is part of the loss in one of `every` steps, so many times as strong.
        """
        self.recipe, self.critic, self.images, self.rng = recipe, critic, images, rng
        self.rate = recipe.batch / len(images[0])
        self.spending = Spending(noise, self.rate, recipe.clip).to(images[0].device)
        labelled = len(images) > 1
        self.every, self.lazy = every, pair_loss(critic, gamma * every, labelled)
        self.plain = pair_loss(critic, 0.0, labelled)
        self._course: Course | None = None
        self._planned = 0

    def step(self, fakes: Fakes, optimiser: torch.optim.Optimizer, seen: Seen) -> Tensor:
        """One noisy update; gives the mean loss of the images that took part, for the eye alone."""
        number = int(self.spending.steps)
        self._afford(number + 1)
        n, pool = len(self.images[0]), len(fakes[0])
        drawn = self.rng.fork("images").block(number)
        rows = (torch.rand(n, generator=drawn) < self.rate).nonzero()[:, 0].to(self.images[0].device)
        # Each image has a sample of its own drawn for it from a pool that does not depend on who takes part: were they
        # paired in order, or made together behind a batch norm, one image more would change the others' pairs.
        picked = torch.randint(pool, (n,), generator=drawn).to(self.images[0].device)
        shown = (seen(fakes[0]), *fakes[1:])
        found = self.summed(self.pairs(rows, picked[rows], shown, seen))
        self.noised(found)
        self.released(shown, picked)
        self.move(found, len(rows), optimiser)
        return found.loss / max(len(rows), 1)

    @property
    def loss(self) -> Loss:
        """That of this step."""
        return self.plain if int(self.spending.steps) % self.every else self.lazy

    def pairs(self, rows: Tensor, picked: Tensor, fakes: Fakes, seen: Seen) -> tuple[Tensor, ...]:
        """Images of these rows, each with its sample; and the labels of both, where there are any."""
        beside = (*(t[rows] for t in self.images[1:]), *(t[picked] for t in fakes[1:]))
        return seen(self.images[0][rows]), fakes[0][picked], *beside

    def summed(self, records: tuple[Tensor, ...]) -> Clipped:
        """The clipped gradients of these pairs."""
        norm, together = self.spending.norm.float(), self.recipe.together
        return clipped(self.critic, self.loss, records, norm, self.recipe.clipping, together)

    def parted(self) -> tuple[float, float]:
        """The noise of the sum, in norms, and that of the count, which is of no account where the norm stays."""
        noise = float(self.spending.noise)
        return parted_noise(noise, self.recipe.batch) if self.recipe.clipping == "adaptive" else (noise, 0.0)

    def noised(self, found: Clipped) -> None:
        """Noise on the sum, over the batch that is expected: how many there were is nobody's business."""
        add_noise(self.critic, found.sums, self.parted()[0] * float(self.spending.norm), self.recipe.batch)

    def released(self, fakes: Fakes, picked: Tensor) -> None:
        """Called when the noisy gradients are there, which anybody may see, with each image's place in the pool."""

    def move(self, found: Clipped, count: int, optimiser: torch.optim.Optimizer) -> None:
        """A step down the noisy gradients, and one of the norm where it adapts."""
        optimiser.step()
        if self.recipe.clipping == "adaptive":
            told = self.parted()[1] * torch.randn((), device=found.within.device)
            batch, quantile = self.recipe.batch, self.recipe.quantile
            self.spending.norm.copy_(adapted(self.spending.norm, found.within, count, batch, quantile, told))
        self.spending.steps.add_(1)

    def _afford(self, steps: int) -> None:
        """Stop before a step that the budget is not enough for, and before the first of too many; raises BadInput."""
        if self._course is None:
            noise, each = float(self.spending.noise), self.recipe.critic_steps
            both = self.recipe.epsilon is not None and self.recipe.noise is not None
            taken = self.recipe.affordable(len(self.images[0]), noise) if both else self.recipe.steps
            self._planned = max(taken * each, steps)
            whole = self.spending.of(self.recipe, self._planned)
            self._check(whole, self._planned)
            self._course = Course(noise, self.rate, self.recipe.delta, whole)
        if steps > self._planned:
            self._check(self.spending.of(self.recipe, steps), steps)

    def _check(self, epsilon: float, steps: int) -> None:
        allowed = self.recipe.epsilon
        if allowed is not None and epsilon > allowed:
            taken = int(self.spending.steps)
            raise BadInput(
                f"the budget is not enough: {steps} noisy steps at noise {float(self.spending.noise):.4g} spend "
                f"epsilon {epsilon:.4g}, and {taken} have spent {self.spending.of(self.recipe):.4g}",
                expected=f"{allowed:g} at most",
                hint="what a training has spent stays spent: ask for no more steps than it began with",
            )

    def so_far(self) -> Tensor:
        """Epsilon, at most, of the steps that were taken."""
        assert self._course is not None, "asked before the first step"
        return torch.tensor(self._course.after(int(self.spending.steps)))


def add_noise(network: nn.Module, sums: Weights, deviation: float, batch: int) -> None:
    """Give every weight its noisy mean gradient."""
    for name, weight in network.named_parameters():
        weight.grad = (sums[name] + deviation * torch.randn_like(weight)) / batch


def pair_loss(critic: nn.Module, gamma: float = 0.0, labelled: bool = False) -> Loss:
    """The loss of one pair of a real image and a sample, (c, h, w) each, with their labels where there are any.

    One loss, one gradient, one norm: a record changes the sum by no more than the norm. R1 is part of it, so that it is
    no further look at the data.
    """

    def score(weights: Weights, x: Tensor, labels: tuple[Tensor, ...]) -> Tensor:
        given = (x[None], *(label[None] for label in labels))
        found: Tensor = functional_call(critic, weights, given)
        return found.reshape(())

    def loss(weights: Weights, real: Tensor, fake: Tensor, *labels: Tensor) -> Tensor:
        of_real, of_fake = (labels[:1], labels[1:]) if labelled else ((), ())
        whole = F.softplus(-score(weights, real, of_real)) + F.softplus(score(weights, fake, of_fake))
        if gamma:
            slope = grad(score, argnums=1)(weights, real, of_real)
            whole = whole + gamma / 2 * slope.square().sum()
        return whole

    return loss
