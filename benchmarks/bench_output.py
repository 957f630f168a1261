"""Output inspections: BF-OI beside the bare forward and the obvious loop; OB-OI in one batch beside one at a time."""

from __future__ import annotations

import copy
import statistics
import subprocess
import sys
from collections.abc import Callable

import torch
from sklearn.cluster import KMeans

from benchmarks.costs import took
from genvet.core.data import Images
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Nothing
from genvet.inspections.output.brute_force import BruteForce, Known
from genvet.inspections.output.collapse import Collapse
from genvet.inspections.output.suspects import Suspects
from genvet.nets import dcgan
from genvet.nets.fast import folded, sampler
from genvet.nets.latent_search import Starts, search

N = 32_768
RUNS = 3
TARGETS = 3


def network() -> Generator:
    torch.manual_seed(0)
    generator = dcgan.build()
    generator.module.eval()
    return generator


def targets() -> Images:
    return Images(torch.rand(TARGETS, 1, 28, 28, generator=Rng(1).block()) * 2 - 1, ("a", "b", "c"))


@torch.inference_mode()
def bare(generator: Generator, dtype: torch.dtype, layout: torch.memory_format, n: int, batch: int = 128) -> None:
    """The forward passes alone, over one batch of latents that is already there."""
    module = copy.deepcopy(generator.module).to(dtype=dtype, memory_format=layout)
    z = torch.randn(batch, generator.latent.dim, dtype=dtype)
    for _ in range(n // batch):
        module(z)


@torch.no_grad()
def obvious(generator: Generator, known: Images, n: int) -> torch.Tensor:
    """Generate, store, then look for the nearest neighbour: what one writes first."""
    images = torch.cat([generator(torch.randn(64, generator.latent.dim)) for _ in range(n // 64)])
    return torch.stack([(images - target).square().flatten(1).sum(1).min() for target in known.x])


@torch.no_grad()
def obvious_whole(generator: Generator, known: Images, reference: Images, n: int) -> None:
    """The same three searches as BF-OI makes, as one writes them first: nearest target, reference, own clusters."""
    images = torch.cat([generator(torch.randn(64, generator.latent.dim)) for _ in range(n // 64)]).flatten(1)
    torch.cdist(images, known.x.flatten(1)).topk(16, 0, largest=False)
    torch.cdist(images, reference.x.flatten(1)).amin(1).topk(16)
    centres = KMeans(20, n_init=1, random_state=0).fit(images.numpy()).cluster_centers_
    torch.cdist(images, torch.from_numpy(centres)).amin(1).topk(16)


def references(count: int = 1000) -> Images:
    x = torch.rand(count, 1, 28, 28, generator=Rng(2).block()) * 2 - 1
    return Images(x, tuple(map(str, range(count))))


def brute(generator: Generator, n: int, reference: Images | None = None) -> None:
    BruteForce(samples=n, operations=1e18)(generator, Known(targets=targets(), reference=reference), Rng(0))


def throughput() -> None:
    generator, known = network(), targets()
    layouts = {
        f"bare forward, {str(dtype).removeprefix('torch.')}, {name}": (dtype, layout)
        for dtype in (torch.float32, torch.bfloat16)
        for name, layout in (("contiguous", torch.contiguous_format), ("channels last", torch.channels_last))
    }
    works: dict[str, tuple[int, Callable[[], object]]] = {
        name: (N // 8, lambda d=dtype, m=layout: bare(generator, d, m, N // 8))
        for name, (dtype, layout) in layouts.items()
    }
    works["BF-OI"] = (N, lambda: brute(generator, N))
    works["BF-OI, with 1,000 reference images"] = (N, lambda: brute(generator, N, references()))
    works["the obvious loop, targets alone"] = (N // 8, lambda: obvious(generator, known, N // 8))
    whole = "the obvious loop, all three searches"
    works[whole] = (N // 2, lambda: obvious_whole(generator, known, references(), N // 2))
    # Rounds go through all of them in turn, and each compares within itself: whatever else runs falls on all alike.
    rounds = [{name: n / took(work) for name, (n, work) in works.items()} for _ in range(RUNS)]
    for name in works:
        print(f"{name:45} {statistics.median(r[name] for r in rounds):8.0f} samples a processor second")
    best = statistics.median(r["BF-OI"] / max(v for k, v in r.items() if k.startswith("bare")) for r in rounds)
    loop = statistics.median(r["BF-OI"] / r["the obvious loop, targets alone"] for r in rounds)
    same = statistics.median(r["BF-OI, with 1,000 reference images"] / r[whole] for r in rounds)
    print(f"BF-OI of {N:,} samples against the bare forward in its best layout: {best:.2f} (aim 0.9)")
    print(f"BF-OI against the obvious loop that looks for targets alone: {loop:.1f} times")
    print(f"BF-OI against the obvious loop that makes the same three searches: {same:.1f} times (aim 3)")
    print(f"form: {sampler(generator, torch.randn(32, 100))}")


def memory() -> None:
    """Peak memory of each in a process of its own, for two counts."""
    for name, call in (("BF-OI", "brute(network(), {})"), ("the obvious loop", "obvious(network(), targets(), {})")):
        peaks = []
        for n in (4_096, 32_768):
            code = f"import resource; from benchmarks.bench_output import *; {call.format(n)}; "
            code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
            ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
            peaks.append(int(ran.stdout))
        print(f"{name:20} peak memory {peaks[0]} MiB for 4,096 samples, {peaks[1]} MiB for 32,768 (aim of BF-OI: flat)")


def searches(restarts: int = 6, steps: int = 20, batches: tuple[int, ...] = (8, 32, 128)) -> None:
    """OB-OI over all targets and restarts in batches of several sizes, and one search after the other."""
    generator, known = folded(network()), targets()
    starts = Starts.of(generator.latent, restarts, Rng(0))
    rows, apart = TARGETS * len(starts), "one at a time"
    sizes = {f"in batches of up to {n}": n for n in batches} | {apart: 1}
    works = {name: lambda n=n: search(generator, known.x, starts, steps, n) for name, n in sizes.items()}
    rounds = [{name: took(work) for name, work in works.items()} for _ in range(RUNS)]
    for name in works:
        taken = statistics.median(r[name] for r in rounds)
        print(f"OB-OI, {rows} searches of {steps} steps, {name:25} {taken:8.2f} processor seconds")
    gain = statistics.median(r[apart] / min(v for k, v in r.items() if k != apart) for r in rounds)
    print(f"OB-OI in its best batch against one at a time: {gain:.1f} times")


def inspections() -> None:
    """The other searches without a target, at their standard depth."""
    generator = network()
    for probe in (Collapse(), Suspects(apart=0.0)):
        spent = took(lambda probe=probe: probe(generator, Nothing(), Rng(0)))
        print(f"{probe.name()} at standard depth: {spent:.0f} processor seconds")


if __name__ == "__main__":
    torch.set_num_threads(1)
    throughput()
    searches()
    inspections()
    memory()
