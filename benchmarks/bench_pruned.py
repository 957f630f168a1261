"""What pruning gains in speed: two thirds of the weights at 0, and two thirds taken out with their channels."""

from __future__ import annotations

import torch

from benchmarks.bench_synthesis import measure, ours
from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.nets import stylegan2
from genvet.nets.channels import fitting, shrunk
from genvet.nets.pruning import below, sparsity, weights, without

SIZE, BASE, REPEATS, THRESHOLD = 64, 16384, 5, 1.0
"""The threshold is the founding paper's; of a fresh network with an equalised rate, it takes 68 % of the weights."""


@torch.inference_mode()
def networks() -> dict[str, StyleGenerator]:
    """The whole one, the same with zeros, and a smaller one with about as many weights as the zeros leave."""
    whole = stylegan2.build(SIZE, channel_base=BASE, mapping_layers=2, rng=Rng(0))
    whole.module.eval().requires_grad_(False)
    masks = below(weights(whole), THRESHOLD)
    zeros, share = without(whole, masks), sparsity(masks)
    kept = fitting(whole, share, Rng(0), "random")  # as worth counts for nothing here
    assert kept is not None and isinstance(zeros, StyleGenerator)
    return {"whole": whole, f"{share:.0%} of them 0": zeros, f"{share:.0%} out, by channels": shrunk(whole, kept)}


@torch.inference_mode()
def main() -> None:
    print(f"StyleGAN2 synthesis, {SIZE} px, channel base {BASE}; median of {REPEATS}, in turn, of processor time")
    found = networks()
    for batch in (1, 4):
        runs = {}
        for name, generator in found.items():
            ws = generator.broadcast(generator.mapping(generator.latent.sample(0, batch, Rng(1))))
            for dtype in (torch.float32, torch.bfloat16):
                runs[f"{name}, {str(dtype).removeprefix('torch.')}"] = ours(generator, ws, dtype)
        took = measure(runs, REPEATS)
        slow = took["whole, float32"][1]
        for name, (_, cpu) in took.items():
            print(
                f"batch {batch}  {name:36} {cpu / batch:8.1f} ms an image, {slow / cpu:5.2f} times as fast", flush=True
            )
    for name, generator in found.items():
        print(f"{name:36} {4e-6 * sum(t.numel() for t in generator.module.state_dict().values()):8.1f} MB as float32")


if __name__ == "__main__":
    main()
