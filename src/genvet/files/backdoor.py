"""Backdoors in and out: trigger and target beside each other in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor

from genvet.core.backdoor import Backdoor, Points, Subspace, Trigger
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.printable import printable
from genvet.files.load import read
from genvet.files.tensors import tensors
from genvet.files.writing import write_bytes
from genvet.nets.build import build
from genvet.nets.matching import fill

KEY = "genvet.backdoor"


def save_backdoor(backdoor: Backdoor, path: str | Path) -> Path:
    """Write a backdoor: `trigger` (m, dim) where it is finite, `target` (k, *shape) or the target generator's state."""
    about: dict[str, Any] = {"benign": backdoor.benign}
    state: dict[str, Tensor] = {}
    if isinstance(backdoor.trigger, Points):
        state["trigger"] = backdoor.trigger.z
    else:
        about["subspace"] = {"latent": asdict(backdoor.trigger.latent), "zeros": backdoor.trigger.zeros}
    if isinstance(backdoor.target, Generator):
        about["target"] = _described(backdoor.target)
        state |= {f"target.{key}": t for key, t in backdoor.target.module.state_dict().items()}
    else:
        state["target"] = backdoor.target
    plain = {key: t.detach().cpu().clone(memory_format=torch.contiguous_format) for key, t in state.items()}
    return write_bytes(path, to_safetensors(plain, {KEY: json.dumps(about)}))


def load_backdoor(path: str | Path) -> Backdoor:
    """The backdoor of a file that `save_backdoor` wrote; raises BadInput for any other file."""
    file = read(path)
    if KEY not in file.metadata or len(file.parts) != 1:
        raise BadInput(f"{printable(path)} is no backdoor", expected="a backdoor.safetensors", got=file.format)
    state = tensors(file.parts[0], file.storages)
    try:
        about = json.loads(file.metadata[KEY])
        target = _generator(about["target"], state) if "target" in about else state["target"].float()
        return Backdoor(_trigger(about, state), target, str(about["benign"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{printable(path)} is a damaged backdoor", got=printable(error)) from None


def _trigger(about: Mapping[str, Any], state: Mapping[str, Tensor]) -> Trigger:
    if "subspace" in about:
        return Subspace(Latent(**about["subspace"]["latent"]), int(about["subspace"]["zeros"]))
    return Points(state["trigger"].float())


def _described(generator: Generator) -> dict[str, Any]:
    if "genvet.net" not in generator.metadata:
        raise Unsupported("the target generator cannot be written down", hint="build it with genvet.nets.build")
    return {"net": generator.metadata["genvet.net"], "config": json.loads(generator.metadata["genvet.config"])}


def _generator(about: Mapping[str, Any], state: Mapping[str, Tensor]) -> Generator:
    with torch.device("meta"):  # sizes are claims until the tensors fit them
        generator = build(str(about["net"]), about["config"])
    fill(generator.module, {k.removeprefix("target."): t for k, t in state.items() if k.startswith("target.")})
    return generator
