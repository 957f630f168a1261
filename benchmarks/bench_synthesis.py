"""StyleGAN2 synthesis beside the textbook's form: one modulated weight a sample, in one grouped convolution.

    python -m benchmarks.bench_synthesis --sizes 32,64,128,256 --batches 1,4,16,32 --nvlabs ~/stylegan2-ada-pytorch

`--nvlabs` names a copy of NVlabs' own code, which is not part of GenVet: its reference operations are then measured in
the same run, with one weight a sample ("grouped", its default) and without ("apart"). Times are processor time, which
other work on the machine disturbs least; ratios by the clock stand behind those by processor time.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.nets import stylegan2

SIZES, BATCHES, REPEATS = (32, 64), (1, 4), 5
BASE = 16384
"""Channels times pixels a side: NVlabs' own choice for images below 512 pixels."""
Run = Callable[[], Tensor]


def textbook(s: dict[str, Tensor], w: Tensor, size: int) -> Tensor:
    """The paper's equations as they stand, with the state dict of a network of the skip architecture."""
    x, image = s["synthesis.b4.const"].expand(len(w), -1, -1, -1), None
    for side in (4 << i for i in range(size.bit_length() - 2)):
        b = f"synthesis.b{side}"
        if side > 4:
            x = _layer(x, w, s, f"{b}.conv0", up=True)
        x = _layer(x, w, s, f"{b}.conv1", up=False)
        style = _affine(w, s, f"{b}.torgb") / math.sqrt(x.shape[1])
        here = _grouped(x, s[f"{b}.torgb.weight"][None] * style[:, None, :, None, None], up=False)
        here = here + s[f"{b}.torgb.bias"][:, None, None]
        image = here if image is None else _filtered(image, s[f"{b}.resample_filter"] * 4, 2, (2, 1)) + here
    assert image is not None
    return image


def _layer(x: Tensor, w: Tensor, s: dict[str, Tensor], name: str, *, up: bool) -> Tensor:
    weight = s[f"{name}.weight"][None] * _affine(w, s, name)[:, None, :, None, None]
    weight = weight * (weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = _grouped(x, weight, up=up)
    x = _filtered(x, s[f"{name}.resample_filter"] * 4, 1, (1, 1)) if up else x
    x = x + s[f"{name}.noise_const"] * s[f"{name}.noise_strength"] + s[f"{name}.bias"][:, None, None]
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def _grouped(x: Tensor, weight: Tensor, *, up: bool) -> Tensor:
    n, outputs, inputs, k, _ = weight.shape
    x = x.reshape(1, n * inputs, *x.shape[2:])
    if up:
        weight = weight.transpose(1, 2).reshape(n * inputs, outputs, k, k)
        x = F.conv_transpose2d(x, weight, stride=2, groups=n)
    else:
        x = F.conv2d(x, weight.reshape(n * outputs, inputs, k, k), padding=k // 2, groups=n)
    return x.reshape(n, outputs, *x.shape[2:])


def _affine(w: Tensor, s: dict[str, Tensor], name: str) -> Tensor:
    return w @ (s[f"{name}.affine.weight"] / math.sqrt(w.shape[1])).T + s[f"{name}.affine.bias"]


def _filtered(x: Tensor, kernel: Tensor, up: int, pad: tuple[int, int]) -> Tensor:
    """Zeros put in, padded, filtered map by map."""
    n, c, h, w = x.shape
    wide = x.new_zeros(n, c, h, up, w, up)
    wide[:, :, :, 0, :, 0] = x
    wide = F.pad(wide.reshape(n, c, h * up, w * up), (*pad, *pad))
    return F.conv2d(wide, kernel.flip(0, 1).expand(c, 1, -1, -1), groups=c)


def measure(runs: dict[str, Run], repeats: int) -> dict[str, tuple[float, float]]:
    """Milliseconds of each, median of several and in turn, so that a busy machine slows them all: wall, and CPU."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if turn:
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: tuple(1e3 * statistics.median(t) for t in zip(*rows, strict=True)) for name, rows in times.items()}  # type: ignore[misc]


def ours(generator: StyleGenerator, ws: Tensor, dtype: torch.dtype) -> Run:
    """Our synthesis, in this precision."""

    def run() -> Tensor:
        generator.module.synthesis.precision = dtype  # type: ignore[union-attr, assignment]
        return generator.synthesis(ws)

    return run


def reference(path: Path, generator: StyleGenerator, ws: Tensor, size: int) -> dict[str, Run]:
    """NVlabs' network with the same weights, by its reference operations."""
    sys.path.insert(0, str(path.expanduser()))
    warnings.simplefilter("ignore")  # of operations that want an older torch
    from training.networks import SynthesisNetwork  # type: ignore[import-not-found]

    channels = generator.shape[0]
    network = SynthesisNetwork(generator.w_dim, size, channels, channel_base=BASE).eval().requires_grad_(False)
    network.load_state_dict(generator.module.synthesis.state_dict())  # type: ignore[union-attr, operator]

    def run(fused: bool) -> Tensor:
        return network(ws, noise_mode="const", force_fp32=True, fused_modconv=fused)  # type: ignore[no-any-return]

    return {"NVlabs, grouped": lambda: run(True), "NVlabs, apart": lambda: run(False)}


@torch.inference_mode()
def compare(size: int, batch: int, repeats: int, nvlabs: Path | None) -> None:
    """One line for each form of one size and batch."""
    generator = stylegan2.build(size, channel_base=BASE, mapping_layers=2, rng=Rng(0))
    generator.module.eval().requires_grad_(False)
    w = generator.mapping(generator.latent.sample(0, batch, Rng(1)))
    ws, state = generator.broadcast(w), generator.module.state_dict()
    runs: dict[str, Run] = {"textbook": lambda: textbook(state, w, size)}
    runs |= reference(nvlabs, generator, ws, size) if nvlabs else {}
    runs |= {"ours, float32": ours(generator, ws, torch.float32), "ours, bfloat16": ours(generator, ws, torch.bfloat16)}
    expected = runs["textbook"]()
    off = {name: float((run() - expected).abs().max() / expected.abs().max()) for name, run in runs.items()}
    took = measure(runs, repeats)
    for name, (wall, cpu) in took.items():
        faster = [
            f"{took[other][1] / cpu:8.2f} ({took[other][0] / wall:5.2f})" for other in took if "ours" not in other
        ]
        print(f"{size:4} {batch:5}  {name:16} {cpu / batch:9.1f}  {off[name]:7.0e}  {'  '.join(faster)}", flush=True)


def main(words: Sequence[str] | None = None) -> None:
    def numbers(text: str) -> tuple[int, ...]:
        return tuple(map(int, text.split(",")))

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=numbers, default=SIZES)
    parser.add_argument("--batches", type=numbers, default=BATCHES)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--nvlabs", type=Path)
    given = parser.parse_args(words)
    others = ["textbook", *(["NVlabs grouped", "NVlabs apart"] if given.nvlabs else [])]
    matrices = "with" if torch.cpu._is_amx_tile_supported() else "without"
    print(f"StyleGAN2 synthesis, channel base {BASE}, {matrices} AMX; median of {given.repeats}, in turn")
    print(
        "  px batch  form             CPU ms/im      off  times as fast, by CPU (by the clock), as " + ", ".join(others)
    )
    for size in given.sizes:
        for batch in given.batches:
            compare(size, batch, given.repeats, given.nvlabs)


if __name__ == "__main__":
    main()
