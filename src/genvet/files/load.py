"""The door: a model file comes in as data, and goes out as evidence and generators of our own."""

from __future__ import annotations

from pathlib import Path

from genvet.core.modelfile import ModelFile
from genvet.files.sandbox import file_bytes, read_in_child


def read(path: str | Path) -> ModelFile:
    """Read a model file in a confined child process, without running any of it and without torch.

    What is hostile about it is evidence in the result; raises BadInput for what is no model file at all.
    """
    return read_in_child(file_bytes(path), str(path))


def load(path: str | Path, net: str | None = None, part: str | None = None) -> ModelFile:
    """Read a model file and rebuild its generators in our own networks; no code in it is run.

    `net` names the architecture and settles what weights cannot tell, such as "dcgan:activation=leaky_relu";
    `part` takes one part alone. A part that is no generator has its reason in `not_generators`.
    """
    from genvet.files.rebuild import rebuild

    return rebuild(read(path), net=net, part=part)
