"""MIRROR's search: labels and restarts in one batch, beside one restart at a time and beside a plain loop.

    python -m benchmarks.bench_inversion --batches 1,8,16,32,64 --size 32

The plain loop is what the paper describes, as it stands: eight restarts of one label, torch's Adam, a clamp
in P after each step, and no look at the whole target. Times are processor time, which other work disturbs least.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from genvet.attacks.inversion.mirror import Mirror
from genvet.core.classifier import Classifier
from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.nets import classifiers, stylegan2
from genvet.nets.latent_spaces import LatentSpace
from genvet.nets.p_space import PSpace

LABELS, RESTARTS, STEPS = 8, 8, 12


def networks(size: int) -> tuple[StyleGenerator, Classifier]:
    """A prior with the training recipe's widths, and a target; neither was trained, which costs as much."""
    prior = stylegan2.build(
        size, channels=1, z_dim=128, w_dim=128, channel_base=1024, channel_max=128, mapping_layers=2, rng=Rng(0)
    )
    with Rng(1).seeded():
        target = classifiers.build([str(i) for i in range(60)], 16, size, 1, "resnet")
    for network in (prior, target):
        network.module.eval().requires_grad_(False)
    return prior, target


def took(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds: by the clock, and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def plain(space: LatentSpace, p: PSpace, target: Classifier, begin: Tensor) -> None:
    """Label after label, eight restarts at a time."""
    for label in range(LABELS):
        u = begin[label * RESTARTS : (label + 1) * RESTARTS].clone().requires_grad_()
        optimiser, labels = torch.optim.Adam([u], 0.25), torch.full((RESTARTS,), label)
        for _ in range(STEPS):
            loss = F.cross_entropy(target.logits(space.images(u)), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                u.copy_(p.clip(u, 1.0))


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=lambda text: tuple(map(int, text.split(","))), default=(1, 8, 16, 32, 64))
    parser.add_argument("--size", type=int, default=32)
    given = parser.parse_args(words)
    prior, target = networks(given.size)
    p = PSpace.of(prior, 2000, Rng(2))
    space = LatentSpace(generator=prior, name="w", border="box", p=p)
    rows = LABELS * RESTARTS
    begin = space.kept(space.start(prior.latent.sample(0, rows, Rng(3))))
    plain(space, p, target, begin[:RESTARTS].repeat(LABELS, 1, 1))  # warms up
    print(f"{LABELS} labels, {RESTARTS} restarts, {STEPS} steps at {given.size} px: milliseconds of CPU a row and step")
    wall, cpu = took(lambda: plain(space, p, target, begin))
    beside = cpu
    print(f"  plain loop, 8 at a time  {1e3 * cpu / rows / STEPS:7.2f}  (by the clock {1e3 * wall / rows / STEPS:.2f})")
    labels, alone = torch.arange(LABELS).repeat_interleave(RESTARTS), 0.0
    for dropout in (False, True):
        for batch in given.batches:
            attack = Mirror(steps=STEPS, batch=batch, dropout=dropout)
            wall, cpu = took(lambda attack=attack: attack.ended(target, space, labels, begin, Rng(4)))  # type: ignore[misc]
            alone = cpu if batch == given.batches[0] else alone
            how = f"ours, {batch} at a time{', dropout' * dropout}"
            print(
                f"  {how:24} {1e3 * cpu / rows / STEPS:7.2f}  (by the clock {1e3 * wall / rows / STEPS:.2f}); "
                f"{alone / cpu:.2f} times as fast as {given.batches[0]} at a time, {beside / cpu:.2f} as the plain loop"
            )


if __name__ == "__main__":
    main()
