"""DeepInversion: pixels that fit the statistics which the target's batch norms remember of its training data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from genvet.attacks.inversion.inverted import Beside, Found, Inverted, Inverting, told
from genvet.core.classifier import Classifier
from genvet.core.data import Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.progress import track
from genvet.core.rng import Rng
from genvet.core.technique import Probe
from genvet.maths.identity_losses import cross_entropy
from genvet.nets.first_guesses import shown

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True, eq=False, kw_only=True)
class Given(Beside):
    """What it is given."""

    begin: Images | None = None
    """An image to begin with, such as a cartoon of what the target knows; or several, whose mean is taken."""


class DeepInversion(Inverting, Probe):
    """Inverts a classifier with batch norms: pixels whose statistics are those that it remembers.

    No prior is needed: besides the label's probability, the mean and variance of every batch norm's input over the
    images of one label are held to those of the training data, and neighbouring pixels to one another.
    """

    source: ClassVar[str] = "Yin et al.: Dreaming to distill, CVPR 2020, eq. 2 to 4"
    smoke: ClassVar[dict[str, Any]] = {"restarts": 2, "steps": 3}

    restarts: Annotated[int, Field(ge=2, le=1000)] = 8
    """Images of each label, found together; the surest is given."""
    steps: Annotated[int, Field(ge=0, le=1_000_000)] = 2000
    """Of Adam, with betas of 0.5 and 0.9."""
    rate: Annotated[float, Field(gt=0)] = 0.1
    """Step size, falling as a cosine."""
    statistics: Annotated[float, Field(ge=0)] = 0.01
    """Weight of the batch norms' statistics; MIRROR's authors took a hundredth of what is usual."""
    variation: Annotated[float, Field(ge=0)] = 1e-4
    """Weight of the differences between neighbouring pixels."""
    size: Annotated[float, Field(ge=0)] = 1e-5
    """Weight of the pixels' norm."""
    jitter: Annotated[int, Field(ge=0, le=256)] = 2
    """Pixels by which images are shifted at random before each look."""
    mirror: bool = False
    """Mirror half of the looks: for faces, not for letters."""

    def __call__(self, target: Classifier, given: Given, rng: Rng) -> Inverted:
        labels, norms = self.chosen(target.classes), [m for m in target.module.modules() if isinstance(m, NORMS)]
        if not norms and self.statistics:
            raise Unsupported("this classifier has no batch norms", hint="--statistics 0 searches without them")
        found = []
        for k in track(labels.tolist(), len(labels), "labels"):
            own = rng.fork(f"label {k}")
            x = self._searched(target, k, self._begin(target, given, own), norms, own)
            with torch.no_grad():
                found.append(x[target(x)[:, k].argmax()].cpu())
        x, asked = torch.stack(found), len(labels) * self.restarts * (self.steps + 1)
        return told("deep-inversion", target, given, Found(labels=labels, x=x, u=x, asked=asked))

    def _begin(self, target: Classifier, given: Given, rng: Rng) -> Tensor:
        """Random pixels; or the image that is given, a little disturbed."""
        noise = torch.randn(self.restarts, *target.shape, generator=rng.fork("begin").block())
        if given.begin is None:
            return noise.to(target.device)
        if not len(given.begin):
            raise BadInput("there is no image to begin with")
        mean = shown(given.begin.x.mean(0, keepdim=True), target.shape)
        return (mean + 0.1 * noise).to(target.device)

    def _searched(self, target: Classifier, label: int, begin: Tensor, norms: Sequence[nn.Module], rng: Rng) -> Tensor:
        """The images of one label, in [-1, 1]."""
        x = begin.clone().requires_grad_()
        optimiser = torch.optim.Adam([x], self.rate, (0.5, 0.9))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(self.steps, 1))
        labels, drawn = torch.full((len(x),), label, device=x.device), rng.fork("looks").block()
        for _ in range(self.steps):
            down, right = (int(torch.randint(-self.jitter, self.jitter + 1, (), generator=drawn)) for _ in range(2))
            seen = x.roll((down, right), (2, 3))
            seen = seen.flip(3) if self.mirror and float(torch.rand((), generator=drawn)) < 0.5 else seen
            with _statistics(norms) as off:
                loss = cross_entropy(target.logits(seen), labels).mean()
            loss = loss + self.statistics * sum(off, torch.zeros((), device=x.device)) + self._smooth(x)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                x.clamp_(-1, 1)
        return x.detach().clamp(-1, 1)

    def _smooth(self, x: Tensor) -> Tensor:
        pairs = ((x[:, :, 1:], x[:, :, :-1]), (x[:, :, :, 1:], x[:, :, :, :-1]))
        varied = torch.stack([(a - b).square().sum().sqrt() for a, b in pairs]).sum()
        return self.variation * varied + self.size * x.square().sum().sqrt()


@contextmanager
def _statistics(norms: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """How far mean and variance of every batch norm's input are from those that it remembers, as they are computed."""
    off: list[Tensor] = []

    def noted(module: Any, given: tuple[Tensor, ...], result: Tensor) -> None:
        x = given[0].transpose(0, 1).flatten(1)
        off.append((x.mean(1) - module.running_mean).norm() + (x.var(1) - module.running_var).norm())

    hooks = [norm.register_forward_hook(noted) for norm in norms]
    try:
        yield off
    finally:
        for hook in hooks:
            hook.remove()
