"""Membership: the nearest of a million samples in flat memory, and latent recovery in one batch beside one at a time.

    python -m benchmarks.bench_membership --samples 40000 --records 2000

Of the samples a part is looked at, and the time for a million is told from it: each sample costs the same. Times are
processor time, which other work disturbs least; memory is the most that the process held beyond what it began with.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.costs import most, took
from genvet.attacks.membership.latent_recovery import LatentRecovery
from genvet.core.generator import Generator
from genvet.core.queries import Samples
from genvet.core.rng import Rng
from genvet.nets import dcgan
from genvet.nets.nearest_samples import nearest_samples
from genvet.nets.spaces import pixels

MILLION = 1_000_000
STEPS, RESTARTS = 10, 4


def network() -> Generator:
    """A DCGAN of capacity 16 at 28 pixels, which was not trained: that costs as much."""
    generator = dcgan.build(capacity=16)
    generator.module.eval().requires_grad_(False)
    return generator


class Ready:
    """Samples that were made before, so that the search among them is timed by itself."""

    shape = (1, 28, 28)

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def sample(self, n: int, rng: Rng) -> Tensor:
        return self.x[:n]


def nearest(samples: int, records: int) -> None:
    """Records against samples as they pass by: with their making and without."""
    target = network().seen_as(Samples)
    x = torch.rand(records, 1, 28, 28, generator=torch.manual_seed(0)) * 2 - 1
    nearest_samples(target, x, pixels(), 4096, Rng(0))  # warms up
    before = most()
    whole = took(lambda: nearest_samples(target, x, pixels(), samples, Rng(0)))
    held = most() - before
    ready = Ready(target.sample(4096, Rng(0)))
    search = took(lambda: nearest_samples(ready, x, pixels(), samples, Rng(0)))
    print(f"{records} records, nearest of {samples} samples, in parts of 4096")
    print(f"  made and searched  {whole:7.1f} s; a million would take {whole * MILLION / samples:.0f} s")
    print(f"  searched alone     {search:7.1f} s; a million would take {search * MILLION / samples:.0f} s")
    print(f"  memory: {held} MiB more at the end than after the first part")


def plain(generator: Generator, x: Tensor) -> None:
    """One search after the other, as the papers describe it: torch's Adam on the network as it is."""
    for image in x:
        for z in generator.latent.sample(0, RESTARTS, Rng(0)):
            free = z[None].clone().requires_grad_()
            optimiser = torch.optim.Adam([free], 0.1)
            for _ in range(STEPS):
                loss = (generator(free) - image).square().sum()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()


def recovery(records: int, batches: Sequence[int]) -> None:
    """Searches of all records and restarts, so many at once."""
    generator = network()
    x = torch.rand(records, 1, 28, 28, generator=torch.manual_seed(0)) * 2 - 1
    searches = records * RESTARTS * STEPS
    print(f"latent recovery of {records} records, {RESTARTS} restarts, {STEPS} steps: milliseconds a search and step")
    plain(generator, x[:1])
    beside = 1e3 * took(lambda: plain(generator, x[:2])) / (2 * RESTARTS * STEPS)
    print(f"  plain loop         {beside:7.2f}")
    alone = 0.0
    for batch in batches:
        attack = LatentRecovery(restarts=RESTARTS, steps=STEPS, batch=batch)
        some = x[: max(1, min(records, batch))]  # one at a time, one record says it all
        share = len(some) / records
        attack.recovered(generator, some[:1], Rng(0))
        seconds = took(lambda attack=attack, some=some: attack.recovered(generator, some, Rng(0)))  # type: ignore[misc]
        each = 1e3 * seconds / (searches * share)
        alone = alone or each
        times = f"{alone / each:5.1f} times as fast as {batches[0]} at a time, {beside / each:5.1f} as the plain loop"
        print(f"  {batch:4} at a time  {each:7.2f}  {times}")


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=40_960)
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--recovered", type=int, default=64)
    parser.add_argument("--batches", type=lambda text: tuple(map(int, text.split(","))), default=(1, 8, 32, 128, 256))
    given = parser.parse_args(words)
    nearest(given.samples, given.records)
    recovery(given.recovered, given.batches)


if __name__ == "__main__":
    main()
