"""What pruning gains: a third of the weights left, as zeros among the others or as a smaller network."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.nets import stylegan2
from genvet.nets.channels import fitting, shrunk
from genvet.nets.pruning import below, sparsity, weights, without
from genvet.nets.upkeep import race, size_of

SIZE, BASE, RUNS = 64, 16384, 5
BATCHES = (1, 8)


def main() -> None:
    """A threshold of 1, as the paper's headline, and as many weights in whole channels."""
    whole = stylegan2.build(SIZE, channel_base=BASE, mapping_layers=2, rng=Rng(0))
    whole.module.eval().requires_grad_(False)
    masks = below(weights(whole), 1.0)
    gone = sparsity(masks)
    kept = fitting(whole, gone, Rng(1), "random")
    assert kept is not None
    masked, smaller = without(whole, masks), shrunk(whole, kept)
    twins = {"whole": whole, f"masked, {gone:.0%} zeros": masked, f"smaller, {gone:.0%} fewer weights": smaller}
    twins |= {f"{name}, bfloat16": halved(twin) for name, twin in list(twins.items())}  # type: ignore[arg-type]
    print(f"StyleGAN2 of {SIZE} px, channel base {BASE}; median of {RUNS}, in turn")
    took = {batch: race(twins, batch, RUNS) for batch in BATCHES}
    for name, twin in twins.items():
        stored, packed = size_of(twin.module)
        times = "; ".join(
            f"batch {batch}: {t[name].median:6.1f} ms an image ({t[name].low:.1f} to {t[name].high:.1f}), "
            f"{t['whole'].median / t[name].median:4.2f} times as fast"
            for batch, t in took.items()
        )
        print(f"{name:38} {stored / 1e6:6.1f} MB, packed {packed / 1e6:6.1f}; {times}")


def halved(generator: StyleGenerator) -> StyleGenerator:
    """The same with activations and convolutions in bfloat16."""
    module = copy.deepcopy(generator.module)
    module.synthesis.precision = torch.bfloat16  # type: ignore[union-attr, assignment]
    return replace(generator, module=module)


if __name__ == "__main__":
    main()
