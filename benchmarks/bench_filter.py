"""Filters of outputs: milliseconds an image against 64, 1,000 and 60,000 protected ones, beside the obvious loop.

    python -m benchmarks.bench_filter --protected 64,1000,60000 --batches 1,64

Times are processor time, which other work disturbs least; memory is the most that the process held beyond what it held
when the index stood. The loop compares each output with every protected image by the same measure, one after the other;
it is timed on a part of them, each of which costs the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmarks.costs import most, took
from genvet.maths.full_reference import ssim
from genvet.maths.hashes import hashed
from genvet.maths.shifted_ssim import shifted_ssim
from genvet.nets.protected import Embedded, Hashes, Index, Structural
from genvet.nets.spaces import pixels, random_convolutions

SIDE, LOOP = 28, 200
"""Pixels a side; protected images that the loop is timed on."""
FILTERS: dict[str, Callable[[Tensor], Index]] = {
    "ssim": lambda x: Structural(x, reach=2, candidates=16),
    "phash": Hashes,
    "embedding, random convolutions": lambda x: Embedded(x, random_convolutions(), whole=False),
    "embedding, pixels": lambda x: Embedded(x, pixels(), whole=False),
}


def drawn(n: int, seed: int) -> Tensor:
    """Smooth random pictures."""
    x = torch.randn(n, 1, 7, 7, generator=torch.manual_seed(seed))
    return torch.nn.functional.interpolate(x, (SIDE, SIDE), mode="bilinear").mul(0.6).clamp(-1, 1)


def looped(name: str, x: Tensor, protected: Tensor) -> None:
    """One output against one protected image after the other."""
    for t in protected:
        if name == "ssim":
            inner = t[None, :, 2:-2, 2:-2]
            for i in range(5):
                for j in range(5):
                    ssim(x[:, :, i : i + SIDE - 4, j : j + SIDE - 4], inner)
        elif name == "phash":
            (hashed(x) != hashed(t[None])).sum()
        else:
            space = pixels() if name.endswith("pixels") else random_convolutions()
            (space(x) - space(t[None])).norm()


def missed(protected: Tensor, x: Tensor) -> float:
    """The share of outputs whose nearest protected image by SSIM is not among the few that it is computed for."""
    few = Structural(protected, reach=2, candidates=16).nearest(x).distance
    every = torch.stack([1 - shifted_ssim(x, t.expand_as(x), 2) for t in protected], 1).amin(1)
    return float((few > every + 0.01).float().mean())


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = {"type": lambda text: tuple(map(int, text.split(",")))}
    parser.add_argument("--protected", default=(64, 1000, 60_000), **numbers)
    parser.add_argument("--batches", default=(1, 64), **numbers)
    given = parser.parse_args(words)
    x = drawn(max(given.batches), 1)
    print(f"{'filter':32} protected  " + "".join(f"ms at {n:3}  " for n in given.batches) + "the loop  MiB more  bytes")
    for name, build in FILTERS.items():
        for m in given.protected:
            protected = drawn(m, 2)
            index = build(protected)
            index.nearest(x[:1])
            held = most()
            times = [1e3 * took(lambda n=n, index=index: index.nearest(x[:n])) / n for n in given.batches]  # type: ignore[misc]
            more = most() - held
            part = protected[:LOOP]
            looped(name, x[:1], part[:1])
            loop = 1e3 * took(lambda name=name, part=part: looped(name, x[:1], part)) * m / len(part)  # type: ignore[misc]
            shown = "".join(f"{t:9.2f}  " for t in times)
            print(f"{name:32} {m:9}  {shown}{loop:8.0f}  {more:8}  {index.bytes_each:5.0f}", flush=True)
    print(f"SSIM of 16 of 1,000 alone misses the nearest of {missed(drawn(1000, 2), x):.0%} of unrelated outputs")


if __name__ == "__main__":
    main()
