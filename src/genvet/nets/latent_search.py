"""Driving a generator to given images: many images and many starts in one batch, every search on its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.progress import track
from genvet.core.rng import Rng
from genvet.maths.descent import Descent, descend, masked
from genvet.maths.likeness import Distance, square


@dataclass(frozen=True, eq=False)
class Starts:
    """Where the searches for one image begin, how far a step may go, and which stay in the typical set."""

    z: Tensor
    rate: Tensor
    typical: Tensor
    kinds: tuple[str, ...]
    """prior, mode or far; suspect, where a part of the network was driven to its strongest response."""

    @classmethod
    def of(cls, latent: Latent, restarts: int, rng: Rng) -> Starts:
        """Draws from the prior; and where z and c z are different inputs, its centre and a point far outside."""
        z, kinds, rate = latent.sample(0, restarts, rng), ["prior"] * restarts, [0.1] * restarts
        if latent.distribution != "sphere":
            far = 10 * latent.sample(0, 1, rng.fork("far"))
            z = torch.cat([z, torch.zeros(1, latent.dim), far])
            kinds, rate = [*kinds, "mode", "far"], [*rate, 0.1, 1.0]
        scale = 0.5 if latent.distribution == "uniform" else 1.0
        typical = torch.tensor([kind == "prior" for kind in kinds])
        return cls(z, scale * torch.tensor(rate)[:, None], typical[:, None], tuple(kinds))

    def __len__(self) -> int:
        return len(self.kinds)

    def __add__(self, more: Starts) -> Starts:
        pairs = ((self.z, more.z), (self.rate, more.rate), (self.typical, more.typical))
        z, rate, typical = (torch.cat(pair) for pair in pairs)
        return Starts(z, rate, typical, self.kinds + more.kinds)


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """How near every start came to every image."""

    value: Tensor
    """Sums of squares (m, starts)."""
    z: Tensor
    """(m, starts, dim)."""
    path: Tensor
    """Sums of squares on the way (steps + 1, m, starts)."""

    @property
    def nearest(self) -> Tensor:
        return self.value.amin(1)

    def best(self) -> tuple[Tensor, Tensor]:
        """The latents (m, dim) that came nearest, and the numbers of their starts."""
        start = self.value.argmin(1)
        return self.z[torch.arange(len(self.z)), start], start


def search(
    generator: Generator, images: Tensor, starts: Starts, steps: int, batch: int = 128, distance: Distance = square
) -> Found:
    """Search from every start for each of the images (m, *shape). The generator should be `fast.folded`."""
    numbers = torch.arange(len(images) * len(starts)).split(batch)
    parts = track(numbers, len(numbers), "searches")
    descents = [_search(generator, images, starts, some, steps, distance) for some in parts]
    shape = (len(images), len(starts))
    return Found(
        value=torch.cat([d.value.cpu() for d in descents]).view(shape),
        z=torch.cat([d.z.cpu() for d in descents]).view(*shape, -1),
        path=torch.cat([d.path.cpu() for d in descents], 1).view(-1, *shape),
    )


def _search(
    generator: Generator, images: Tensor, starts: Starts, numbers: Tensor, steps: int, distance: Distance
) -> Descent:
    """The searches of these numbers: each image has as many as there are starts, one after the other."""
    device = generator.device
    image, start = numbers // len(starts), numbers % len(starts)
    target, typical = images[image].to(device), starts.typical[start].to(device)
    labels = generator.labels_of(start)  # each start has a class of its own, as far as they go

    def loss(z: Tensor) -> Tensor:
        return distance(generator(z, labels).float(), target)

    def project(z: Tensor) -> Tensor:
        return torch.where(typical, generator.latent.project(z), z)

    return descend(loss, starts.z[start].to(device), steps, starts.rate[start].to(device), project)


def masked_share(generator: Generator, image: Tensor, rng: Rng, batch: int = 16, points: int = 16) -> float:
    """At which share of ordinary latents the gradient towards an image cannot be trusted."""
    target, lies = image.to(generator.device), []
    for some in torch.split(torch.arange(points), batch):
        labels = generator.labels_of(some)

        def loss(z: Tensor, labels: Tensor | None = labels) -> Tensor:
            return (generator(z, labels).double() - target).square().flatten(1).sum(1)

        z = generator.latent.sample(0, points, rng)[some].to(generator.device)
        lies.append(masked(loss, z).float())
    return float(torch.cat(lies).mean())


@torch.no_grad()
def images_at(generator: Generator, z: Tensor, start: Tensor) -> Tensor:
    """What the latents give, with the labels that the searches numbered `start` had: on the CPU."""
    return generator(z.to(generator.device), generator.labels_of(start)).float().cpu()
