"""The adversarial training that TrAIL, BAAAN and data poisoning bend to their ends."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from genvet.attacks.backdoor.objective import Aim
from genvet.core.data import Critic, Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.progress import track
from genvet.core.report import Record
from genvet.core.rng import Rng
from genvet.nets.weights import renewed


@dataclass(frozen=True, eq=False, kw_only=True)
class Training(Aim):
    """What the triggers are to give; the data, and the critic, that the generator is trained with."""

    images: Images
    critic: Critic

    def fitting(self, generator: Generator) -> Tensor:
        """The data, where data and critic fit the generator; raises BadInput otherwise, Unsupported for a VAE."""
        if generator.name == "vae":
            raise Unsupported("a VAE is not trained against a critic", hint="red and rex plant in any generator")
        if tuple(self.critic.shape) != tuple(generator.shape):
            got = str(tuple(self.critic.shape))
            raise BadInput("the critic does not fit this generator", expected=str(tuple(generator.shape)), got=got)
        if not len(self.images):
            raise BadInput("there is no data to train with", expected="one image or more")
        return self.images.fitting(generator.shape)


class Match:
    """A generator and a critic in training, with an optimiser each."""

    def __init__(self, generator: Generator, critic: nn.Module, rate: float) -> None:
        self.generator, self.critic, self.rate = generator, critic, rate
        self.up, self.down = adam(generator.module, rate), adam(critic, rate)


Bend = Callable[[Match, int], dict[str, Tensor]]
"""What an attack adds to the generator's loss in a step, by name. The generator is in training mode."""


class Adversary(Record):
    """The knobs of an adversarial training: shared by TrAIL, BAAAN and data poisoning."""

    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 20_000
    """Updates of generator and critic."""
    batch_size: Annotated[int, Field(ge=2, le=4096)] = 64
    """Images in one update."""
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Learning rate of Adam, for both networks."""
    fresh: bool = True
    """Start from fresh weights, as the paper does; otherwise go on from those of the model and the critic."""

    def train(
        self, target: Generator, critic: Critic, real: Iterator[Tensor], bend: Bend, rng: Rng
    ) -> tuple[Generator, dict[str, Tensor]]:
        """The trained generator and the losses by name; raises Unsupported where they are no numbers any more."""
        with torch.random.fork_rng(devices=[]):  # dropout and start weights have no generator of their own to be handed
            torch.manual_seed(rng.fork("weights").block().initial_seed())
            module = self.start(target.module)
            planted = replace(target, module=module)
            match = Match(planted, self.start(critic.module), self.rate)
            losses = list(self._steps(match, real, bend, rng))
        planted.module.eval().requires_grad_(False)
        return planted, {name: torch.tensor([loss[name] for loss in losses]) for name in losses[0]}

    def start(self, module: nn.Module) -> nn.Module:
        """A copy to train, with fresh weights where that is asked for."""
        started = copy.deepcopy(module).requires_grad_(True).train()
        return renewed(started) if self.fresh else started

    def batches(self, x: Tensor, rng: Rng) -> Iterator[Tensor]:
        """Batches of the data, drawn with replacement, without end."""
        rows = rng.fork("images").block()
        while True:
            yield x[torch.randint(len(x), (self.batch_size,), generator=rows)]

    def _steps(self, match: Match, real: Iterator[Tensor], bend: Bend, rng: Rng) -> Iterator[dict[str, float]]:
        generator, critic, device = match.generator, match.critic, match.generator.device
        latents = generator.latent.batches(self.steps * self.batch_size, self.batch_size, rng.fork("latents"))
        for step, (z, x) in enumerate(track(zip(latents, real, strict=False), self.steps, "training")):
            fake = generator(z.to(device))
            ours = judge(critic, match.down, x.to(device), fake)
            losses = {"generator": softplus(-critic(fake)).mean(), **bend(match, step)}
            whole = torch.stack(list(losses.values())).sum()
            if not whole.isfinite():
                raise Unsupported(f"the training diverged in step {step + 1}", hint="lower the rate or the weight")
            downhill(match.up, whole)
            yield {"critic": ours, **{name: loss.item() for name, loss in losses.items()}}


def adam(module: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Adam as adversarial trainings have it."""
    return torch.optim.Adam(module.parameters(), lr=rate, betas=(0.5, 0.999))


def judge(critic: nn.Module, optimiser: torch.optim.Optimizer, real: Tensor, fake: Tensor) -> float:
    """One update of a critic; gives its loss."""
    loss = softplus(-critic(real)).mean() + softplus(critic(fake.detach())).mean()
    downhill(optimiser, loss)
    return float(loss.item())


def downhill(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down this loss."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


@contextmanager
def at_rest(module: nn.Module) -> Iterator[None]:
    """Batch norms as they will be when the model is used: a trigger is alone in its batch."""
    module.eval()
    try:
        yield
    finally:
        module.train()
