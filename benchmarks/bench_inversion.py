"""MIRROR's search: labels and restarts in one batch, beside one restart at a time and beside two plain loops.

    python -m benchmarks.bench_inversion --batches 1,8,16,32,64 --size 32 --public path/to/mirror

The plain loop is what the paper describes, as it stands: eight restarts of one label, torch's Adam, a clamp
in P after each step, and no look at the whole target. The textbook step does what such code usually does beside that:
no weight is frozen, so that every backward pass finds the slopes of all weights as well, w is truncated in the first
eight layers, half of the batches are mirrored, and the best loss is read after each step. With --public, a checkout of
njuaplusplus/mirror (github.com), the textbook step goes through that checkout's own generator at the same widths; its
loop itself asks for CUDA, 512 numbers in w and weights from the net, and is not run. Times are processor time, which
other work disturbs least.
"""

from __future__ import annotations

import argparse
import importlib
import random
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genvet.attacks.inversion.mirror import Mirror
from genvet.core.classifier import Classifier
from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.nets import classifiers, stylegan2
from genvet.nets.latent_spaces import LatentSpace
from genvet.nets.p_space import PSpace

LABELS, RESTARTS, STEPS = 8, 8, 12
W, WIDTHS = 128, {"fmaps_base": 1024, "fmaps_max": 128}


def networks(size: int) -> tuple[StyleGenerator, Classifier]:
    """A prior with the training recipe's widths, and a target; neither was trained, which costs as much."""
    prior = stylegan2.build(
        size, channels=1, z_dim=W, w_dim=W, channel_base=1024, channel_max=128, mapping_layers=2, rng=Rng(0)
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


def textbook(
    images: Callable[[Tensor], Tensor],
    learned: Sequence[nn.Module],
    box: tuple[Tensor, ...],
    begin: Tensor,
    target: Classifier,
) -> None:
    """The same searches by the step that public code takes; `learned` are the networks, whose weights stay free."""
    for network in learned:
        network.requires_grad_(True)
    for label in range(LABELS):
        u = begin[label * RESTARTS : (label + 1) * RESTARTS].clone().requires_grad_()
        optimiser, labels = torch.optim.Adam([u], 0.25), torch.full((RESTARTS,), label)
        best, best_u = 1e4, u.detach().clone()
        for _ in range(STEPS):
            x = images(u)
            x = x.flip(3) if random.random() > 0.5 else x
            optimiser.zero_grad()
            learned[0].zero_grad()  # of the generator; nobody asks for those of the target, which pile up
            loss = 10 * F.cross_entropy(target.logits(x), labels)
            loss.backward()
            optimiser.step()
            u.data = torch.minimum(torch.maximum(u.data, box[0]), box[1])
            if loss.item() < best:
                best, best_u = loss.item(), u.data.clone()
    assert best_u.isfinite().all()
    for network in learned:
        network.requires_grad_(False).zero_grad()


def public(path: Path, prior: StyleGenerator) -> nn.Module:
    """The generator of a checkout of njuaplusplus/mirror, of the widths that ours has here."""
    sys.path.insert(0, str(path))
    built = importlib.import_module("genforce.models.stylegan2_generator").StyleGAN2Generator
    channels, size, _ = prior.shape
    generator: nn.Module = built(
        size, z_space_dim=W, w_space_dim=W, mapping_layers=2, mapping_fmaps=W, image_channels=channels, **WIDTHS
    )
    return generator.eval()


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=lambda text: tuple(map(int, text.split(","))), default=(1, 8, 16, 32, 64))
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--public", type=Path, help="a checkout of njuaplusplus/mirror, whose generator is run")
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
    usual = steps_of_others(prior, p, target, begin, given.public)
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
                + "".join(f", {theirs / cpu:.2f} as the {name}" for name, theirs in usual.items())
            )


def steps_of_others(
    prior: StyleGenerator, p: PSpace, target: Classifier, begin: Tensor, checkout: Path | None
) -> dict[str, float]:
    """Processor seconds of the textbook step, through our generator and through that of a checkout."""
    pulled = LatentSpace(generator=prior, name="w", truncation=0.7, cutoff=8)
    w, far = begin[:, 0], torch.full_like(begin[:1], 1e6)
    box = p.clip(-far, 1.0)[0], p.clip(far, 1.0)[0]
    ways: dict[str, tuple[Callable[[Tensor], Tensor], nn.Module]] = {
        "textbook step": (lambda u: pulled.images(u[:, None]), prior.module)
    }
    if checkout:
        theirs = public(checkout, prior)
        ways["public step"] = (
            lambda u: theirs(u, trunc_psi=0.7, trunc_layers=8, use_w_space=True)["image"].clamp(-1, 1),
            theirs,
        )
    found = {}
    for name, (images, generator) in ways.items():
        wall, found[name] = took(partial(textbook, images, (generator, target.module), box, w, target))
        per = 1e3 / len(begin) / STEPS
        print(f"  {name}, 8 at a time {found[name] * per:7.2f}  (by the clock {wall * per:.2f})")
    return found


if __name__ == "__main__":
    main()
