"""What an inversion leaves, out and in again: an image for each label, with the names of the classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.files.load import read
from genvet.files.tensors import tensors
from genvet.files.writing import write_tensors

NAME = "inverted.safetensors"
ATTACK, CONFIG, CLASSES = "genvet.attack", "genvet.config", "genvet.classes"


@dataclass(frozen=True, eq=False)
class InvertedImages:
    """The images of one run."""

    x: Tensor
    """(m, *shape) in [-1, 1]."""
    labels: Tensor
    """(m,): numbers into the classes."""
    classes: tuple[str, ...]
    attack: str


def save_inverted(
    found: Mapping[str, Tensor], folder: Path, attack: str, config: str, classes: tuple[str, ...]
) -> Path:
    """Write what was found, by whom, and what the classes are called."""
    return write_tensors(found, folder / NAME, {ATTACK: attack, CONFIG: config, CLASSES: json.dumps(classes)})


def load_inverted(folder: Path) -> InvertedImages:
    """The images of a run; raises BadInput where the folder holds none."""
    path = folder / NAME
    if not path.is_file():
        raise BadInput(f"{printable(folder)} is no inversion's folder", expected=f"{NAME} in it, of genvet attack")
    try:
        file = read(path)
        found, classes = tensors(file.parts[0], file.storages), json.loads(file.metadata[CLASSES])
        x, labels = found["x"].float().clamp(-1, 1), found["labels"].long()
        named = tuple(str(name) for name in classes)
        if x.ndim != 4 or labels.shape != x.shape[:1] or not len(x) or not 0 <= int(labels.min()) <= int(labels.max()):
            raise ValueError
        if int(labels.max()) >= len(named) or not bool(x.isfinite().all()):
            raise ValueError
    except (KeyError, IndexError, ValueError, TypeError, RecursionError):
        raise BadInput(f"{printable(path)} is not what genvet attack leaves", hint="run the inversion again") from None
    return InvertedImages(x, labels, named, str(file.metadata.get(ATTACK, "")))
