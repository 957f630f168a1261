"""Critics and encoders in: the files that `genvet train` writes beside a generator."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from genvet.core.data import Critic, Encoder
from genvet.core.errors import BadInput
from genvet.core.modelfile import ModelFile
from genvet.core.printable import printable
from genvet.files.load import read
from genvet.files.tensors import tensors
from genvet.nets import dcgan, mlp, pggan, sngan, vae_network, wavegan
from genvet.nets.matching import fill
from genvet.nets.style_critic import GROUP, Architecture, critic

STYLES: dict[str, Architecture] = {"stylegan1 critic": "orig", "stylegan2 critic": "resnet"}
PART, OF = "genvet.part", "genvet.of"
"""Which part of a training it is; the config of the generator that it belongs to."""


def load_critic(path: str | Path) -> Critic:
    """The critic of a file that `genvet train` wrote; raises BadInput for any other file."""
    file, kind = _part(path, "critic", (*PLAIN, *STYLES))
    if kind in STYLES:
        return _style_critic(file, STYLES[kind])
    try:
        with torch.device("meta"):  # sizes are claims until the tensors fit them
            module, shape = PLAIN[kind](json.loads(file.metadata[OF]))
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{printable(file.path)} does not say what it looks at") from None
    fill(module, tensors(file.parts[0], file.storages))
    return Critic(module, shape)


def _square(make: Callable[[int, int, int], nn.Module], config: Mapping[str, Any]) -> tuple[nn.Module, tuple[int, ...]]:
    capacity, size, channels = (int(config[name]) for name in ("capacity", "size", "channels"))
    return make(capacity, size, channels), (channels, size, size)


def _wavegan(config: Mapping[str, Any]) -> tuple[nn.Module, tuple[int, ...]]:
    capacity, length = int(config["capacity"]), int(config["length"])
    return wavegan.Critic(capacity, length), (1, length)


def _mlp(config: Mapping[str, Any]) -> tuple[nn.Module, tuple[int, ...]]:
    """Its sizes are in the layers that its generator was written down as."""
    (_, _, (_, width), *_), *_, (_, _, shape, *_) = config["layers"]
    shape = tuple(map(int, shape))
    return mlp.critic(int(width), shape), shape


PLAIN: dict[str, Callable[[Mapping[str, Any]], tuple[nn.Module, tuple[int, ...]]]] = {
    "dcgan critic": partial(_square, dcgan.critic),
    "sngan critic": partial(_square, sngan.Critic),
    "pggan critic": partial(_square, pggan.critic),
    "wavegan critic": _wavegan,
    "mlp critic": _mlp,
}
"""How each is built on the config of its generator."""


def _style_critic(file: ModelFile, architecture: Architecture) -> Critic:
    """Its sizes are its generator's; what that does not tell, its tensors' names and shapes do."""
    held = tensors(file.parts[0], file.storages)
    size, channels = _sizes(file, ("size", "channels"))
    try:
        config = json.loads(file.metadata[OF])
        widths, classes = [int(width) for width in config["widths"]], int(config["classes"])
        grouped = held["b4.conv.weight"].shape[1] > widths[0]
    except (KeyError, TypeError, ValueError, IndexError):
        raise BadInput(f"{printable(file.path)} does not say what it looks at") from None
    with torch.device("meta"):
        module = critic(size, channels, widths, classes, GROUP if grouped else 0, architecture)
    fill(module, held)
    return Critic(module.eval(), (channels, size, size))


def load_encoder(path: str | Path) -> Encoder:
    """The encoder of a file that `genvet train` wrote; raises BadInput for any other file."""
    file, _ = _part(path, "encoder", ("vae encoder",))
    latent, capacity, size, channels = _sizes(file, ("latent", "capacity", "size", "channels"))
    with torch.device("meta"):
        module = vae_network.Encoder(latent, capacity, size, channels)
    fill(module, tensors(file.parts[0], file.storages))
    return Encoder(module, (channels, size, size))


def _part(path: str | Path, what: str, kinds: Sequence[str]) -> tuple[ModelFile, str]:
    """The file, and which of these parts it says that it holds."""
    file = read(path)
    kind = file.metadata.get(PART)
    if kind is None or kind not in kinds or len(file.parts) != 1:
        got = file.format if kind is None else f"a {printable(kind, 60)}"
        expected = f"the {what}.safetensors that genvet train wrote"
        raise BadInput(f"{printable(path)} is no {what}", expected=expected, got=got)
    return file, kind


def _sizes(file: ModelFile, names: Sequence[str]) -> list[int]:
    try:
        config = json.loads(file.metadata[OF])
        return [int(config[name]) for name in names]
    except (KeyError, TypeError, ValueError):
        raise BadInput(f"{printable(file.path)} does not say what it looks at") from None
