"""Metropolis-Hastings refinement: chains side by side against one chain after the other, in refined samples a second.

    python -m benchmarks.bench_extraction --chains 2,16,256,1024 --draws 20

The loop is what the algorithm describes, as it stands: for each sample a chain, for each of its draws one latent, one
image, one score. What the target itself takes for its answers is told beside it: no attack on it can cost less. Targets
are a DCGAN of capacity 16 at 28 pixels, and the small network of 25 Gaussians; neither was trained: that costs as much.
Times are processor time, which other work disturbs least.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from genvet.attacks.extraction.asking import Asking
from genvet.attacks.extraction.refining import Calibrated, Refining
from genvet.core.data import Critic
from genvet.core.generator import Generator
from genvet.core.queries import Endpoint
from genvet.core.rng import Rng
from genvet.maths.density_ratio import calibrated
from genvet.nets import dcgan, mlp

PLAIN = 8
"""Samples by the plain loop."""


def networks() -> dict[str, tuple[Generator, Critic]]:
    """Targets with their critics."""
    with Rng(0).seeded():
        images = dcgan.build(latent=100, capacity=16), dcgan.critic(capacity=16)
        points = mlp.build(), mlp.critic()
    found = {"DCGAN, 28 px": images, "MLP, points": points}
    for generator, critic in found.values():
        for network in (generator.module, critic):
            network.eval().requires_grad_(False)
    return {name: (generator, Critic(critic, generator.shape)) for name, (generator, critic) in found.items()}


def knowing(critic: Critic, generator: Generator) -> Calibrated:
    """The critic as the attack has it, with real samples to start from that are none."""
    pilot = generator.sample(256, Rng(1)).clone()
    fit = calibrated("identity", torch.zeros(2), torch.zeros(2))
    z = {"isotonic": 0.0, "logistic": 0.0, "identity": 0.0}
    return Calibrated(critic, fit, z, pilot + 0.1 * torch.randn_like(pilot), pilot, 128)


@torch.no_grad()
def plain(generator: Generator, critic: Critic, starts: Tensor, draws: int) -> float:
    """Seconds of processor time a sample, of the loop as it is written down."""
    rng, began = torch.default_generator.manual_seed(0), time.process_time()
    for i in range(PLAIN):
        x, score = starts[i], float(critic(starts[i : i + 1]))
        for _ in range(draws):
            proposed = generator(torch.randn(1, generator.latent.dim, generator=rng))
            there = float(critic(proposed))
            if float(torch.rand(1, generator=rng)) <= min(1.0, torch.exp(torch.tensor(there - score)).item()):
                x, score = proposed[0], there
    assert len(x)
    return (time.process_time() - began) / PLAIN


def side_by_side(generator: Generator, how: Calibrated, chains: int, draws: int, batch: int) -> float:
    """The same of the attack's own refinement, with so many chains at once."""
    attack = Refining(refined=chains, chain=draws)
    asking = Asking(Endpoint(generator), "declared", batch, Rng(2))
    began = time.process_time()
    attack._chains(how, asking, Rng(3))
    return (time.process_time() - began) / chains


@torch.no_grad()
def answers(generator: Generator, chains: int, draws: int, batch: int) -> float:
    """Seconds of processor time a sample, of the target's answers alone."""
    z, began = generator.latent.sample(0, batch, Rng(2)), time.process_time()
    for _ in range(-(-chains * draws // batch)):
        generator(z)
    return (time.process_time() - began) / chains


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", type=lambda text: tuple(map(int, text.split(","))), default=(2, 16, 256, 1024))
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--batch", type=int, default=256)
    given = parser.parse_args(words)
    print(f"Metropolis-Hastings, {given.draws} draws a sample, {torch.get_num_threads()} threads:")
    for name, (generator, critic) in networks().items():
        how = knowing(critic, generator)
        plain(generator, critic, how.starts, 2)  # warms up
        beside = plain(generator, critic, how.starts, given.draws)
        print(f"  {name:14} one after the other  {1 / beside:8.1f} refined samples a second of CPU")
        for chains in given.chains:
            took = side_by_side(generator, how, chains, given.draws, given.batch)
            least = answers(generator, chains, given.draws, given.batch)
            times = f"{beside / took:.1f} times as fast as the loop; its answers alone would allow {beside / least:.1f}"
            print(f"  {name:14} {chains:5} side by side   {1 / took:8.1f}; {times}")


if __name__ == "__main__":
    main()
