"""Generators out: safetensors with everything that is needed to build them again, and a hash that survives that."""

from __future__ import annotations

import hashlib
import json
import math
import struct
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.modelfile import ModelFile
from genvet.core.printable import printable
from genvet.core.rng import Rng
from genvet.files.load import load
from genvet.files.writing import write_bytes

MOST_ERROR = 1e-4
"""Of images that are read back from another layout, against their largest value (or 1)."""


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
    genforce. Of several generators the average of weights (EMA) is taken, or the one that `part` names. What is not
    our own layout is read back before it is kept: raises Unsupported where its images are others.
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

        _kept(generator, out, lambda path: write_onnx(generator, path))
    elif layout:
        from genvet.nets import style_layouts

        theirs = _plain(style_layouts.written(generator, layout))
        data = to_safetensors(theirs, {"genvet.source": f"sha256:{file.sha256}"})
        _kept(generator, out, lambda path: write_bytes(path, data))
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


def _kept(generator: Generator, out: Path, write: Callable[[Path], object]) -> None:
    """Write beside, read back, compare a few images, and only then put the file in its place."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"written{out.suffix}"
        write(path)
        back = load(path)
        if len(back.generators) != 1:
            raise Unsupported("what was written could not be read back as a generator", hint=_why_not(back))
        error = _difference(generator, next(iter(back.generators.values())))
        if not error <= MOST_ERROR:
            raise Unsupported(
                f"written like this, the generator's images would be off by {error:.2g} of their range",
                hint="this form cannot hold all that its own file says: write .safetensors without --layout",
            )
        write_bytes(out, path.read_bytes())


@torch.inference_mode()
def _difference(ours: Generator, theirs: Generator, n: int = 2) -> float:
    """The largest difference between the same samples of both networks, against the largest value."""
    z, labels = ours.latent.sample(0, n, Rng(0, "convert")), ours.latent.labels(0, n)
    given = (z,) if labels is None else (z, labels)
    if hasattr(noisy := getattr(theirs.module, "synthesis", None), "noise"):
        noisy.noise = ours.module.synthesis.noise  # type: ignore[union-attr] # which tensors alone do not tell
    images = []
    for network in (ours.module, theirs.module):
        with Rng(0, "noise").seeded():
            images.append(network(*given))
    if images[0].shape != images[1].shape:
        return math.inf
    return float((images[0] - images[1]).abs().max() / images[0].abs().max().clamp_min(1))


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors with memory of their own, as safetensors wants them."""
    return {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in state.items()}
