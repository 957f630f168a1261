"""The trainings that TrAIL, BAAAN and data poisoning bend to their ends: against a critic, or a VAE's."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from genvet.attacks.backdoor.measuring import Yardsticks
from genvet.attacks.backdoor.objective import Aim
from genvet.core.data import Critic, Encoder, Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.progress import track
from genvet.core.report import Record
from genvet.core.rng import Rng
from genvet.nets import dcgan, vae_network, wavegan
from genvet.nets.weights import renewed
from genvet.training.variational import lower_bound


@dataclass(frozen=True, eq=False, kw_only=True)
class Training(Aim):
    """What the triggers are to give; the data, and what the generator is trained with: a critic, or a VAE's encoder.

    A fresh training needs neither: it begins with new ones of the usual kind.
    """

    images: Images
    critic: Critic | None = None
    encoder: Encoder | None = None

    @property
    def beside(self) -> Yardsticks:
        return Yardsticks(self.images.x, self.classifier)

    def fitting(self, generator: Generator) -> Tensor:
        """The data, where data, critic and encoder fit the generator; raises BadInput otherwise."""
        for name, partner in (("critic", self.critic), ("encoder", self.encoder)):
            if partner is not None and tuple(partner.shape) != tuple(generator.shape):
                expected, got = str(tuple(generator.shape)), str(tuple(partner.shape))
                raise BadInput(f"the {name} does not fit this generator", expected=expected, got=got)
        if not len(self.images):
            raise BadInput("there is no data to train with", expected="one image or more")
        return self.images.fitting(generator.shape)

    def partner(self, generator: Generator, fresh: bool) -> nn.Module:
        """What the generator is trained with: a new one where none is given, which a fresh training alone can do."""
        vae = generator.name == "vae"
        given, what = (self.encoder, "encoder") if vae else (self.critic, "critic")
        if given is not None:
            return given.module
        config = json.loads(generator.metadata.get("genvet.config", "{}"))
        if fresh and generator.metadata.get("genvet.net") in PARTNERS:
            return PARTNERS[generator.metadata["genvet.net"]](config)
        why = "its usual one is not known" if fresh else "training goes on from where it was"
        raise BadInput(f"there is no {what} to train with: {why}", expected=f"a {what}.safetensors")


PARTNERS: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "dcgan": lambda c: dcgan.critic(c["capacity"], c["size"], c["channels"]),
    "wavegan": lambda c: wavegan.Critic(c["capacity"], c["length"]),
    "vae": lambda c: vae_network.Encoder(c["latent"], c["capacity"], c["size"], c["channels"]),
}
"""What each architecture is usually trained with, by its config."""


class Match:
    """A generator and a critic in training, with an optimiser each."""

    def __init__(self, generator: Generator, critic: nn.Module, rate: float) -> None:
        self.generator, self.critic, self.rate = generator, critic, rate
        self.up, self.down = adam(generator.module, rate), adam(critic, rate)

    def losses(self, z: Tensor, x: Tensor) -> tuple[dict[str, Tensor], dict[str, float]]:
        """The generator's, to go down; and the critic's, which has had its step."""
        fake = self.generator(z)
        theirs = judge(self.critic, self.down, x, fake)
        return {"generator": softplus(-self.critic(fake)).mean()}, {"critic": theirs}


class Reading(Match):
    """A decoder and its encoder, which go down together: the evidence lower bound.

    # Unlike the recipe: means over the numbers of an image, as the trigger's loss is one, so that lambda weighs alike.
    """

    def __init__(self, generator: Generator, encoder: nn.Module, rate: float) -> None:
        self.generator, self.encoder, self.rate = generator, encoder, rate
        self.up = torch.optim.Adam([*generator.module.parameters(), *encoder.parameters()], lr=rate)

    def losses(self, z: Tensor, x: Tensor) -> tuple[dict[str, Tensor], dict[str, float]]:
        told, divergence = lower_bound(self.encoder, self.generator.module, x)
        return {"reconstruction": told / x[0].numel(), "divergence": divergence / x[0].numel()}, {}


Bend = Callable[[Match, int], dict[str, Tensor]]
"""What an attack adds to the generator's loss in a step, by name. The generator is in training mode."""


class Adversary(Record):
    """The knobs of a training from data: shared by TrAIL, BAAAN and data poisoning."""

    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 20_000
    """Updates of the generator, and of what it is trained with."""
    batch_size: Annotated[int, Field(ge=2, le=4096)] = 64
    """Images in one update."""
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Learning rate of Adam, for both networks."""
    fresh: bool = True
    """Start from fresh weights, as the paper does; otherwise go on from those of the model and of its critic or
    encoder."""

    def train(
        self, target: Generator, given: Training, real: Iterator[Tensor], bend: Bend, rng: Rng
    ) -> tuple[Generator, dict[str, Tensor]]:
        """The trained generator and the losses by name; raises Unsupported where they are no numbers any more."""
        with rng.fork("weights").seeded(target.device):
            planted = replace(target, module=self.start(target.module))
            partner = self.start(given.partner(target, self.fresh)).to(target.device)
            match = (Reading if target.name == "vae" else Match)(planted, partner, self.rate)
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
        latent, device = match.generator.latent, match.generator.device
        latents = latent.batches(self.steps * self.batch_size, self.batch_size, rng.fork("latents"))
        for step, (z, x) in enumerate(track(zip(latents, real, strict=False), self.steps, "training")):
            ours, theirs = match.losses(z.to(device), x.to(device))
            losses = {**ours, **bend(match, step)}
            whole = torch.stack(list(losses.values())).sum()
            if not whole.isfinite():
                raise Unsupported(f"the training diverged in step {step + 1}", hint="lower the rate or the weight")
            downhill(match.up, whole)
            yield {**theirs, **{name: loss.item() for name, loss in losses.items()}}


def adam(module: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Adam as adversarial trainings have it."""
    return torch.optim.Adam(module.parameters(), lr=rate, betas=(0.5, 0.999))


def judge(critic: nn.Module, optimiser: torch.optim.Optimizer, real: Tensor, fake: Tensor, calm: float = 0.0) -> float:
    """One update of a critic, with so much of a penalty on its slope at real samples (R1); gives its loss."""
    real = real.detach().requires_grad_(calm > 0)
    score = critic(real)
    loss = softplus(-score).mean() + softplus(critic(fake.detach())).mean()
    told = float(loss.item())
    if calm:
        (slope,) = torch.autograd.grad(score.sum(), real, create_graph=True)
        loss = loss + calm / 2 * slope.flatten(1).square().sum(1).mean()
    downhill(optimiser, loss)
    return told


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
