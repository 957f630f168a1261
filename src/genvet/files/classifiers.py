"""Classifiers of our own: out as safetensors, and in again as data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.errors import BadInput, GenVetError
from genvet.core.printable import printable
from genvet.files.convert import save_part
from genvet.files.load import read
from genvet.files.tensors import tensors
from genvet.nets import classifiers


def save_classifier(classifier: Classifier, path: str | Path, metadata: Mapping[str, str] | None = None) -> str:
    """Write a classifier with what is needed to build it again; gives the hash of its tensors."""
    return save_part(classifier.module, path, {**(metadata or {}), **classifier.metadata})


def load_classifier(path: str | Path) -> Classifier:
    """The classifier of a file that `save_classifier` wrote; raises BadInput where it holds none."""
    file = read(path)
    if classifiers.KEY not in file.metadata:
        expected = "the classifier.safetensors that genvet train wrote"
        raise BadInput(f"{printable(path)} is no classifier", expected=expected, got=file.format)
    try:
        with torch.device("meta"):  # the file's numbers are claims: nothing is allocated before its tensors fit
            classifier = classifiers.build(**json.loads(file.metadata[classifiers.KEY]))
        found = tensors(file.parts[0], file.storages)
        classifier.module.load_state_dict({k: _own(t) for k, t in found.items()}, assign=True)
    except (GenVetError, KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
        why = printable(error, 200)
        raise BadInput(f"{printable(path)} is no classifier that GenVet wrote", got=why) from None
    classifier.module.eval().requires_grad_(False)
    return classifier


def _own(tensor: Tensor) -> Tensor:
    """A tensor in memory of its own, as our networks compute."""
    return tensor.to(torch.float32, copy=True) if tensor.is_floating_point() else tensor.clone()
