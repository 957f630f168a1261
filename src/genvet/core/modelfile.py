"""What reading a model file yields: evidence, tensors by part, source texts, and the generators rebuilt from them.

Imports neither torch nor pydantic: the reading child process uses these types too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from genvet.core.rules import RULES
from genvet.core.severity import Severity

if TYPE_CHECKING:
    from genvet.core.generator import Generator

Standing = Literal["expected", "class", "unlisted", "dangerous"]
"""Of a global: on the allow-list; an unknown package's class; off the list; known to be dangerous."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One fact about a file, tied to a stable rule and a place. Every text in it is already printable."""

    rule: str
    """A key of core.rules.RULES."""
    message: str
    place: str = ""
    """Member of an archive, dotted name of a part, or layer; empty for the file itself."""
    offset: int | None = None
    """Byte in that place where the fact begins."""
    length: int | None = None
    line: int | None = None
    """Line of a source text."""
    detail: str = ""
    """The lines or bytes that show it."""

    @property
    def severity(self) -> Severity:
        return RULES[self.rule].severity


@dataclass(frozen=True, kw_only=True)
class Call:
    """A global that loading would import, and whether it would be called."""

    module: str
    name: str
    called: bool
    standing: Standing
    place: str = ""
    offset: int = 0
    arguments: str = ""
    """The first arguments, shortened and printable."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Program text found in the file. Never run."""

    text: str
    sha256: str
    kind: Literal["module_src", "tensorflow", "torchscript", "keras-lambda"]
    place: str = ""
    classes: tuple[str, ...] = ()
    """The classes that the file's objects take from this text."""
    recognised: str = ""
    """The release that this text is, by its fingerprint; empty for unknown text."""


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """A view of one storage: shape, stride and offset count elements, as torch counts them. Bounds are checked."""

    dtype: str
    """A torch dtype by its name: float32, bfloat16, int64, bool ..."""
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    storage: int
    """Index into ModelFile.storages."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operation of a graph. Attributes are JSON values; a tensor attribute is {"tensor": key of Part.tensors}."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A computation graph as data. Inputs carry their shapes, with -1 for what is open."""

    nodes: tuple[Node, ...]
    inputs: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    opset: int = 0


@dataclass(frozen=True, kw_only=True)
class Part:
    """A named group of tensors: a state dict, a pickled module, a graph."""

    name: str
    """"" for the file's only part, else such as "G_ema", "g_ema", "state.generator"."""
    kind: Literal["state", "module", "persistent", "tensorflow", "onnx", "torchscript", "keras", "arrays"]
    tensors: Mapping[str, TensorSpec]
    class_name: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    """What the constructor was given (`_init_kwargs`, static_kwargs, safetensors metadata); JSON values only."""
    graph: Graph | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelFile:
    """A model file, read without running a byte of it."""

    path: str
    sha256: str
    size: int
    format: str
    """What the content is, such as "nvlabs-pickle", "torch-zip", "safetensors", "7z > pickle"."""
    parts: tuple[Part, ...] = ()
    storages: tuple[memoryview, ...] = ()
    calls: tuple[Call, ...] = ()
    sources: tuple[Source, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    generators: Mapping[str, Generator] = field(default_factory=dict)
    """By part name; empty until rebuilt."""
    not_generators: Mapping[str, str] = field(default_factory=dict)
    """Why a part is no generator, by part name: a critic, a classifier, an unknown architecture."""
