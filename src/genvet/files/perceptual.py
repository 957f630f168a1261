"""Perceptual distances in: a network's convolutions, and the weights of their channels, as their authors left them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.files.classifiers import parted
from genvet.files.load import read
from genvet.files.tensors import tensors
from genvet.nets.perceptual import Perceptual, build

VGG, VGG_HEADS = "397923af", "d507d7349b931f0638a25a48a722f98a"
"""How the SHA-256 of torchvision's VGG-16 begins, and the MD5 of LPIPS' weights for it, version 0.1."""
MOST_HEADS = 1 << 22
"""Bytes of a file of channel weights."""


def load_perceptual(path: str | Path) -> Perceptual:
    """A perceptual distance of a file of convolutions, such as vgg16.pth#heads=vgg.pth.

    Convolutions are features.N.weight and features.N.bias, as torchvision numbers them; weights of channels are
    linK.model.1.weight, in the same file or in the one that is named behind it. Raises BadInput for anything else.
    """
    place, said = parted(path)
    if set(said) - {"heads"}:
        raise BadInput(
            "what belongs to the network is not plain", expected="network.pth#heads=heads.pth", got=str(path)
        )
    file = read(place)
    found = _floats(file.parts[0], file.storages, place) if file.parts else {}
    heads = Path(said["heads"]) if "heads" in said else None
    if heads is not None:
        other = read(heads)
        found |= _floats(other.parts[0], other.storages, heads) if other.parts else {}
    layers, taken = _layers(found, place)
    weights = _weights(found, layers, taken, heads or place)
    theirs = heads is not None and file.sha256.startswith(VGG) and _md5(heads) == VGG_HEADS
    name = "LPIPS (VGG-16, 0.1)" if theirs else f"a perceptual distance by {_digest(layers, weights)}"
    return Perceptual(layers, taken, weights, name)


def _floats(part: object, storages: object, path: Path) -> dict[str, Tensor]:
    held = tensors(part, storages)  # type: ignore[arg-type]
    broken = [name for name, t in held.items() if t.is_floating_point() and not bool(t.isfinite().all())]
    if broken:
        raise BadInput(
            f"{printable(path)} holds what is no number", expected="finite weights", got=printable(broken[0])
        )
    return {name: t.float().clone() for name, t in held.items() if t.is_floating_point()}


def _layers(found: dict[str, Tensor], path: Path) -> tuple[nn.ModuleList, tuple[int, ...]]:
    """The convolutions with what lies between them, and which outputs are compared."""
    named = ((re.fullmatch(r"(?:.*\.)?features\.(\d+)\.weight", name), name) for name in found)
    places = sorted((int(m[1]), name) for m, name in named if m and found[name].ndim == 4)
    kernels = [found[name] for _, name in places]
    fits = all(a.shape[0] == b.shape[1] for a, b in pairwise(kernels)) and kernels and kernels[0].shape[1] == 3
    if not fits or any(k.shape[2] != k.shape[3] for k in kernels):
        expected = "convolutions features.N.weight of pictures of three colours, each fitting the next"
        raise BadInput(f"{printable(path)} is no such network", expected=expected, got=f"{len(kernels)} of them")
    # Between two convolutions lies a ReLU, and where their numbers leave room for it, a pooling.
    pooled = [i for i, ((a, _), (b, _)) in enumerate(pairwise(places), 1) if b - a > 2]
    shapes = [(int(k.shape[1]), int(k.shape[0]), int(k.shape[2])) for k in kernels]
    layers = build(shapes, pooled, (4, 2) if shapes[0][2] == 11 else (1, shapes[0][2] // 2))
    for layer, (_, name) in zip([m for m in layers if isinstance(m, nn.Conv2d)], places, strict=True):
        bias = found.get(name.removesuffix("weight") + "bias")
        with torch.no_grad():
            layer.weight.copy_(found[name])
            layer.bias.copy_(torch.zeros_like(layer.bias) if bias is None else bias)  # type: ignore[arg-type, type-var]
    layers.eval().requires_grad_(False)
    relus = [i for i, layer in enumerate(layers) if isinstance(layer, nn.ReLU)]
    ends = [relus[i - 1] for i in (*pooled, len(kernels))]
    heads = sum(_head(name) is not None for name in found)
    taken = {len(relus): relus, len(ends): ends}.get(heads)
    if taken is None:
        expected = f"weights lin0.model.1.weight and so on of {len(ends)} or {len(relus)} layers"
        raise BadInput(f"{printable(path)} has no weights of its channels", expected=expected, got=str(heads))
    return layers, tuple(taken)


def _weights(found: dict[str, Tensor], layers: nn.ModuleList, taken: Sequence[int], path: Path) -> tuple[Tensor, ...]:
    """Of the channels of each layer that is compared."""
    numbered = sorted((number, t) for name, t in found.items() if (number := _head(name)) is not None)
    weights = tuple(t.flatten() for _, t in numbered)
    wanted = [int(layers[i - 1].out_channels) for i in taken]  # type: ignore[arg-type]
    if [len(w) for w in weights] != wanted or any(bool((w < 0).any()) for w in weights):
        got = str([len(w) for w in weights])
        raise BadInput(f"{printable(path)} weighs other channels", expected=f"{wanted}, none below 0", got=got)
    return weights


def _head(name: str) -> int | None:
    match = re.fullmatch(r"(?:.*\.)?lin(\d+)(?:\.model\.1)?\.weight", name)
    return int(match[1]) if match else None


def _md5(path: Path) -> str:
    """By which the authors' weights are known; nothing rests on it but a name."""
    data = path.read_bytes() if path.stat().st_size <= MOST_HEADS else b""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _digest(layers: nn.ModuleList, weights: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in (*layers.state_dict().values(), *weights):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
