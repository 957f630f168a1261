"""Driving the suspect part of a partitioned generator to its strongest response: the paper's remedy for ReX."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.core.progress import track
from genvet.core.rng import Rng
from genvet.maths.descent import descend
from genvet.nets.latent_search import Starts
from genvet.nets.partition import Partition, partition

APART = 0.3
"""From this separation on, a generator counts as partitioned: trained ones are below 0.02, expanded ones near 1."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Excited:
    """Where the suspect part responds most, from every start."""

    starts: Starts
    z: Tensor
    """(starts, dim)."""
    response: Tensor
    """Sum of squares by which the output changes where the suspect part is silent: (starts,)."""
    path: Tensor
    """Of the response, on the way: (steps + 1, starts)."""

    def strongest(self, count: int, kind: str = "prior") -> Starts:
        """So many of the ends of searches of this kind, as starts for other searches."""
        mine = torch.tensor([i for i, k in enumerate(self.starts.kinds) if k == kind], dtype=torch.long)
        best = mine[self.response[mine].argsort(descending=True, stable=True)[:count]]
        kinds = ("suspect",) * len(best)
        return Starts(self.z[best], self.starts.rate[best], self.starts.typical[best], kinds)


def partitioned(generator: Generator, apart: float = APART) -> Partition:
    """The generator's two parts; raises Unsupported where there are none, or none that stand apart."""
    part = partition(generator)
    if part.separation < apart:
        what = f"the units form no two parts (separation {part.separation:.2g}; {apart:g} is needed)"
        raise Unsupported(what, hint="there is no suspect part to be searched")
    return part


def response(generator: Generator, part: Partition, z: Tensor) -> Tensor:
    """By how much the suspect part changes the output for each latent: sums of squares, (n,)."""
    return (generator(z) - part.without(generator, z)).float().square().flatten(1).sum(1)


@torch.no_grad()
def responses(generator: Generator, part: Partition, z: Tensor, batch: int) -> Tensor:
    """The response at each of these latents, on the CPU: (n,)."""
    return torch.cat([response(generator, part, some.to(generator.device)).cpu() for some in z.split(batch)])


def best_starts(generator: Generator, restarts: int, z: Tensor, known: Tensor, rng: Rng) -> Starts:
    """The draws z at which the suspect part responds most, by its `known` responses, the mode, and a far point.

    Units that are silent have no slope: from other draws, a search may not move at all.
    """
    starts = Starts.of(generator.latent, min(restarts, len(z)), rng)
    strongest = known.argsort(descending=True, stable=True)[:restarts]
    return replace(starts, z=torch.cat([z[strongest], starts.z[len(strongest) :]]))


def excite(generator: Generator, part: Partition, starts: Starts, steps: int, batch: int) -> Excited:
    """Ascend the suspect part's response from every start, many in one batch. The generator should be `fast.folded`."""
    device, latent = generator.device, generator.latent
    numbers, ends = torch.arange(len(starts)).split(batch), []
    for some in track(numbers, len(numbers), "searches of the suspect part"):
        typical = starts.typical[some].to(device)
        mode = torch.tensor([starts.kinds[i] == "mode" for i in some.tolist()], device=device)[:, None]

        def project(z: Tensor, typical: Tensor = typical, mode: Tensor = mode) -> Tensor:
            # From the mode outwards, but not out of the typical set: any part responds to a z that is large enough.
            outside = mode & (z.norm(dim=1, keepdim=True) > latent.dim**0.5)
            return torch.where(typical | outside, latent.project(z), z)

        def loss(z: Tensor) -> Tensor:
            return -response(generator, part, z)

        ends.append(descend(loss, starts.z[some].to(device), steps, starts.rate[some].to(device), project))
    return Excited(
        starts=starts,
        z=torch.cat([e.z.cpu() for e in ends]),
        response=torch.cat([-e.value.cpu() for e in ends]),
        path=torch.cat([-e.path.cpu() for e in ends], 1),
    )


def suspect_starts(generator: Generator, count: int, steps: int, batch: int, rng: Rng) -> Starts | None:
    """Where searches for a target may begin besides the plain starts; None where no part of the network is suspect."""
    try:
        part = partitioned(generator)
    except Unsupported:
        return None
    z = generator.latent.sample(0, 64 * count, rng.fork("draws"))
    starts = best_starts(generator, 4 * count, z, responses(generator, part, z, batch), rng)
    return excite(generator, part, starts, steps, batch).strongest(count)
