"""Classifiers: our own out as safetensors and in again as data or as bare weights, anybody's in as an ONNX graph."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.errors import BadInput, GenVetError
from genvet.core.modelfile import ModelFile
from genvet.core.printable import printable
from genvet.files.convert import save_part
from genvet.files.load import read
from genvet.files.tensors import tensors
from genvet.nets import classifiers, onnx_classifier
from genvet.nets.intake import EXAMPLES, stated

BESIDE = ".json"
"""What is added to the name of a graph for the file that says what it takes."""
LARGEST_BESIDE = 1 << 22
_NUMBERS = ("range", "mean", "std")


def save_classifier(classifier: Classifier, path: str | Path, metadata: Mapping[str, str] | None = None) -> str:
    """Write a classifier with what is needed to build it again; gives the hash of its tensors."""
    return save_part(classifier.module, path, {**(metadata or {}), **classifier.metadata})


def load_classifier(path: str | Path) -> Classifier:
    """The classifier of a file: one that `save_classifier` wrote, an ONNX graph, or weights of one of our families.

    What a graph takes is said behind its name, such as model.onnx#range=0:1,order=bgr, or in model.onnx.json beside it
    (nets.intake.Intake has all that may be said); what weights are, such as weights.pt#family=resnet,size=32. Raises
    BadInput where the file holds no classifier.
    """
    path, said = parted(path)
    file = read(path)
    if classifiers.KEY in file.metadata:
        if said:
            raise BadInput(f"{printable(path)} says by itself what it takes", got=printable(", ".join(said), 100))
        return _ours(file, path)
    if any(part.graph is not None and part.kind == "onnx" for part in file.parts):
        return _graph(file, path, said or _beside(path))
    if "family" in said:
        return _weights(file, path, said)
    expected = "the classifier.safetensors that genvet train wrote"
    hint = (
        "an ONNX graph does as well, model.onnx#range=0:1, or weights of one of ours, weights.pt#family=resnet,size=32"
    )
    raise BadInput(f"{printable(path)} is no classifier", expected=expected, got=file.format, hint=hint)


def _ours(file: ModelFile, path: Path) -> Classifier:
    with _refused(f"{printable(path)} is no classifier that GenVet wrote"):
        config = json.loads(file.metadata[classifiers.KEY])
        foreign = config.get("family") == onnx_classifier.FAMILY
        build: Any = onnx_classifier.build if foreign else classifiers.build
        config = {k: v for k, v in config.items() if not (foreign and k == "family")}
        classifier = _built(build, config, _tensors(file))
        return onnx_classifier.tried(classifier) if foreign else classifier


def _weights(file: ModelFile, path: Path, said: Mapping[str, Any]) -> Classifier:
    """Weights without a word about them: what was said, and what their shapes tell."""
    with _refused(f"the weights of {printable(path)} are not those of such a classifier"):
        found = _tensors(file)
        classes = said.get("classes") or [str(i) for i in range(len(found["head.weight"]))]
        first, *_ = (t for name, t in found.items() if name.startswith("features.") and t.ndim == 4)
        sizes = {key: int(value) for key, value in said.items() if key not in ("family", "classes")}
        config = {"classes": classes, "family": said["family"], "channels": int(first.shape[1]), **sizes}
        return _built(classifiers.build, config, found)


@contextmanager
def _refused(what: str) -> Iterator[None]:
    try:
        yield
    except (GenVetError, KeyError, ValueError, TypeError, IndexError, RuntimeError, AttributeError) as error:
        raise BadInput(what, got=printable(error, 200)) from None


def _built(build: Callable[..., Classifier], config: Mapping[str, Any], found: Mapping[str, Tensor]) -> Classifier:
    with torch.device("meta"):  # the file's numbers are claims: nothing is allocated before its tensors fit
        classifier = build(**config)
    classifier.module.load_state_dict({k: _own(t) for k, t in found.items()}, assign=True)
    classifier.module.eval().requires_grad_(False)
    return classifier


def _tensors(file: ModelFile) -> dict[str, Tensor]:
    return tensors(file.parts[0], file.storages)


def _own(tensor: Tensor) -> Tensor:
    """A tensor in memory of its own, as our networks compute."""
    return tensor.to(torch.float32, copy=True) if tensor.is_floating_point() else tensor.clone()


def _graph(file: ModelFile, path: Path, said: Mapping[str, Any]) -> Classifier:
    if not said:
        hint = f"say so behind its name, {path.name}#range=0:1, or in {path.name}{BESIDE} beside it: {EXAMPLES}"
        raise BadInput(f"{printable(path)} does not tell which values it takes", hint=printable(hint, 400))
    part = next(part for part in file.parts if part.graph is not None)
    return onnx_classifier.from_graph(part, tensors(part, file.storages), stated(**said))


def parted(path: str | Path) -> tuple[Path, dict[str, Any]]:
    """The file, and what is said behind its name; numbers and names are parted by colons.

    >>> parted("model.onnx#range=0:1,order=bgr")
    (PosixPath('model.onnx'), {'range': ['0', '1'], 'order': 'bgr'})
    """
    name, mark, text = str(path).rpartition("#")
    if not mark or Path(path).exists():
        return Path(path), {}
    said: dict[str, Any] = {}
    for item in text.split(","):
        key, equals, value = item.partition("=")
        if not equals or not value:
            expected = "key=value, parted by commas, such as range=0:1,order=bgr"
            raise BadInput("what the classifier takes is not plain", expected=expected, got=printable(item, 60))
        said[key.strip()] = value.split(":") if key.strip() in (*_NUMBERS, "classes") else value
    return Path(name), said


def _beside(path: Path) -> dict[str, Any]:
    """What the small JSON beside a graph says; nothing where there is none."""
    beside = path.with_name(path.name + BESIDE)
    if not beside.is_file():
        return {}
    if beside.stat().st_size > LARGEST_BESIDE:
        raise BadInput(f"{printable(beside)} is too large", expected=f"at most {LARGEST_BESIDE} bytes")
    try:
        said = json.loads(beside.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{printable(beside)} is no JSON", got=printable(error, 100)) from None
    if not isinstance(said, dict):
        raise BadInput(f"{printable(beside)} says nothing", expected='such as {"range": [0, 1]}')
    return {str(key): value for key, value in said.items()}
