"""Slow and obvious forms that the style generators are measured against, and parts made from state dicts."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from genvet.core.modelfile import Part, TensorSpec
from genvet.core.rng import Rng


def part_of(state, config=None, kind="state") -> Part:
    """What the reader would make of these tensors; plain tuples stand for shapes alone."""
    shapes = {key: value if isinstance(value, tuple) else tuple(value.shape) for key, value in state.items()}
    tensors = {
        key: TensorSpec(dtype="float32", shape=shape, stride=(1,) * len(shape), offset=0, storage=0)
        for key, shape in shapes.items()
    }
    return Part(name="G_ema", kind=kind, tensors=tensors, config=config or {})


def shake(generator, seed: int = 0):
    """Give biases, noise strengths and the average w values that matter; frozen and in eval mode."""
    rng = Rng(seed).fork("shake").block()
    state = generator.module.state_dict()
    for key, value in state.items():
        if key.endswith(("bias", "noise_strength", "noise_weight", "w_avg")):
            state[key] = value + 0.3 * torch.randn(value.shape, generator=rng)
    generator.module.load_state_dict(state)
    generator.module.eval().requires_grad_(False)
    return generator


def linear(x, weight, bias, rate=1.0):
    return x @ (weight * rate / math.sqrt(weight.shape[1])).T + bias * rate


def normalise(x):
    return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()


def mapping(z, labels, state, rate, prefix="mapping"):
    """Section 2 of StyleGAN: eight (or so) fully connected layers behind a normalisation."""
    w = normalise(z)
    if labels is not None:
        embedded = linear(labels, state[f"{prefix}.embed.weight"], state[f"{prefix}.embed.bias"])
        w = torch.cat([w, normalise(embedded)], dim=1)
    i = 0
    while f"{prefix}.fc{i}.weight" in state:
        w = linear(w, state[f"{prefix}.fc{i}.weight"], state[f"{prefix}.fc{i}.bias"], rate)
        w = F.leaky_relu(w, 0.2) * math.sqrt(2)
        i += 1
    return w


def upfirdn(x, kernel, up=1, down=1, pad=(0, 0)):
    """Insert zeros, pad (before, after), filter by true convolution, keep every `down`-th pixel."""
    n, c, h, w = x.shape
    wide = torch.zeros(n, c, h * up, w * up)
    wide[:, :, ::up, ::up] = x
    wide = F.pad(wide, (*pad, *pad))
    wide = wide.reshape(n * c, 1, *wide.shape[2:])
    kernel = torch.outer(kernel, kernel) if kernel.ndim == 1 else kernel
    y = F.conv2d(wide, kernel.flip(0, 1)[None, None])
    return y.reshape(n, c, *y.shape[2:])[:, :, ::down, ::down]
