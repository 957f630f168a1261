"""Generators out: safetensors with everything that is needed to build them again, and a hash that survives that."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.modelfile import ModelFile
from genvet.core.printable import printable
from genvet.files.load import load
from genvet.files.writing import write_bytes


def tensor_hash(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, kinds, shapes and values, in the order of the names: the same in whichever file they lie.

    Of each tensor: its name and its kind, each with its length before it; its shape; its values as little-endian
    bytes. Hashes of generators are of their state dict in our own layout.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        for text in (name, str(tensor.dtype).removeprefix("torch.")):
            digest.update(struct.pack("<Q", len(text.encode())) + text.encode())
        digest.update(struct.pack(f"<{1 + tensor.ndim}Q", tensor.ndim, *tensor.shape))
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def save(generator: Generator, path: str | Path, metadata: Mapping[str, str] | None = None) -> str:
    """Write a generator as safetensors, with what is needed to build it again; gives the hash of its tensors.

    `metadata` may say more, such as "genvet.training"; it cannot say otherwise. The file is replaced in one step.
    """
    if "genvet.net" not in generator.metadata:
        raise Unsupported("this generator cannot be written down", hint="build it with genvet.nets.build")
    state = _plain(generator.module.state_dict())
    digest = tensor_hash(state)
    own = {
        "genvet.net": str(generator.metadata["genvet.net"]),
        "genvet.config": str(generator.metadata["genvet.config"]),
        "genvet.latent": json.dumps(asdict(generator.latent)),
        "genvet.output": generator.output,
        "genvet.assumed": json.dumps(list(generator.assumed)),
        "genvet.tensors": f"sha256:{digest}",
    }
    kept = {"genvet.data": str(generator.metadata["genvet.data"])} if "genvet.data" in generator.metadata else {}
    write_bytes(path, to_safetensors(state, {**kept, **(metadata or {}), **own}))
    return digest


def save_part(module: nn.Module, path: str | Path, metadata: Mapping[str, str]) -> str:
    """Write a network that is no generator, such as a critic, with what `metadata` says of it; gives its hash."""
    state = _plain(module.state_dict())
    digest = tensor_hash(state)
    write_bytes(path, to_safetensors(state, {**metadata, "genvet.tensors": f"sha256:{digest}"}))
    return digest


def load_saved(path: str | Path) -> Generator:
    """The generator of a file that `save` wrote; raises BadInput where it holds none, or several."""
    file = load(path)
    if len(file.generators) != 1:
        raise BadInput(f"{printable(path)} is no generator that GenVet wrote", got=_why_not(file))
    return next(iter(file.generators.values()))


def convert(
    path: str | Path, out: str | Path, layout: str | None = None, net: str | None = None, part: str | None = None
) -> str:
    """Write a model's generator as safetensors, or as ONNX by the suffix of `out`; gives the hash of its tensors.

    No code of the model is run. `layout` writes a style generator under the tensor names of nvlabs, rosinality or
    genforce. Of several generators the average of weights (EMA) is taken, or the one that `part` names.
    """
    out = Path(out)
    if out.suffix not in (".safetensors", ".onnx"):
        raise BadInput(f"cannot tell what to write from {printable(out.name)!r}", expected=".safetensors or .onnx")
    file = load(path, net=net, part=part)
    generator = averaged(file)
    if out.suffix == ".onnx":
        if layout:
            raise BadInput("layouts are for safetensors", hint="leave --layout out, or write .safetensors")
        from genvet.files.onnx_out import write_onnx

        write_onnx(generator, out)
    elif layout:
        write_bytes(out, to_safetensors(_in_layout(generator, layout), {"genvet.source": f"sha256:{file.sha256}"}))
    else:
        kept = {key: file.metadata[key] for key in ("genvet.training", "genvet.data") if key in file.metadata}
        return save(generator, out, {**kept, "genvet.source": f"sha256:{file.sha256}"})
    return tensor_hash(_plain(generator.module.state_dict()))


def averaged(file: ModelFile) -> Generator:
    """The generator with averaged weights where there is one, else the first; Unsupported where there is none."""
    if not file.generators:
        raise Unsupported("no generator could be rebuilt from this file", hint=_why_not(file))
    ema = [g for part, g in file.generators.items() if "ema" in part.lower()]
    return [*ema, *file.generators.values()][0]


def _why_not(file: ModelFile) -> str:
    return "; ".join(f"{name}: {why}" if name else why for name, why in file.not_generators.items())[:1000]


def _in_layout(generator: Generator, layout: str) -> dict[str, Tensor]:
    """The tensors under somebody else's names."""
    from genvet.nets import style_layouts

    return _plain(style_layouts.layout(generator.name, layout).write(generator.module.state_dict()))


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors with memory of their own, as safetensors wants them."""
    return {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in state.items()}
