"""StyleGAN2 synthesis beside the textbook's form: one modulated weight a sample, in one grouped convolution."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.nets import stylegan2

BATCH, SIZE, RUNS = 4, 64, 7


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


def measure(runs: dict[str, Callable[[], Tensor]]) -> dict[str, tuple[float, float]]:
    """Milliseconds of each, median of several and in turn, so that a busy machine slows them all: wall, and CPU."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(RUNS + 1):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if turn:
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: tuple(1e3 * statistics.median(t) for t in zip(*rows, strict=True)) for name, rows in times.items()}  # type: ignore[misc]


def _in(generator: StyleGenerator, ws: Tensor, dtype: torch.dtype) -> Callable[[], Tensor]:
    def run() -> Tensor:
        generator.module.synthesis.precision = dtype  # type: ignore[union-attr, assignment]
        return generator.synthesis(ws)

    return run


@torch.inference_mode()
def main() -> None:
    generator = stylegan2.build(SIZE, channel_base=16384, mapping_layers=2, rng=Rng(0))
    generator.module.eval().requires_grad_(False)
    w = generator.mapping(generator.latent.sample(0, BATCH, Rng(1)))
    ws, state = generator.broadcast(w), generator.module.state_dict()
    runs = {
        "textbook, float32": lambda: textbook(state, w, SIZE),
        "ours, float32": _in(generator, ws, torch.float32),
        "ours, bfloat16": _in(generator, ws, torch.bfloat16),
    }
    off = {name: float((run() - runs["textbook, float32"]()).abs().max()) for name, run in runs.items()}
    scale = float(runs["textbook, float32"]().abs().max())
    took = measure(runs)
    slow = took["textbook, float32"]
    print(f"StyleGAN2 synthesis, {SIZE} px, batch {BATCH}, channel base 16384; median of {RUNS}, in turn")
    for name, (wall, cpu) in took.items():
        times = f"{wall / BATCH:7.1f} ms an image, {cpu / BATCH:7.1f} of CPU"
        ratio = f"{slow[0] / wall:5.2f} times as fast (CPU {slow[1] / cpu:5.2f})"
        print(f"{name:20} {times}; {ratio}; off by {off[name] / scale:.1e} of the range")


if __name__ == "__main__":
    main()
