"""Critics in: the file that `genvet train` writes beside a generator."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from genvet.core.data import Critic
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.files.load import read
from genvet.files.tensors import tensors
from genvet.nets import dcgan, wavegan
from genvet.nets.matching import fill

PART, OF = "genvet.part", "genvet.of"
"""Which part of a training it is; the config of the generator that it belongs to."""


def load_critic(path: str | Path) -> Critic:
    """The critic of a file that `genvet train` wrote; raises BadInput for any other file."""
    file = read(path)
    kind = file.metadata.get(PART)
    if kind not in ("dcgan critic", "wavegan critic") or len(file.parts) != 1:
        expected = "a critic.safetensors that genvet train wrote"
        raise BadInput(f"{printable(path)} is no critic", expected=expected, got=file.format)
    try:
        config = json.loads(file.metadata[OF])
        names = ("capacity", "size", "channels") if kind == "dcgan critic" else ("capacity", "length")
        sizes = [int(config[name]) for name in names]
    except (KeyError, TypeError, ValueError):
        raise BadInput(f"{printable(path)} does not say what its critic looks at") from None
    with torch.device("meta"):  # sizes are claims until the tensors fit them
        module = dcgan.critic(*sizes) if kind == "dcgan critic" else wavegan.Critic(*sizes)
    fill(module, tensors(file.parts[0], file.storages))
    return Critic(module, (sizes[2], sizes[1], sizes[1]) if kind == "dcgan critic" else (1, sizes[1]))
