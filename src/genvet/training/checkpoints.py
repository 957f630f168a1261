"""Where a training run keeps its state: one file of safetensors, replaced in one step, read back as data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from safetensors.torch import save as to_safetensors
from torch import Tensor

from genvet.core.errors import BadInput, GenVetError
from genvet.files.load import read
from genvet.files.tensors import tensors
from genvet.files.writing import write_bytes

STATE = "state.safetensors"


@dataclass(frozen=True, eq=False)
class State:
    """A run between two steps."""

    step: int
    """Steps that were taken."""
    tensors: Mapping[str, Tensor]
    """Weights, moments of the optimisers, losses so far."""
    about: Mapping[str, Any]
    """What makes it this run and no other: recipe, settings, seed, data."""


class Keeper(Protocol):
    """Keeps states, shows pictures, and may ask the run to stop after the step that it is in."""

    every: int
    stop: bool
    last: int

    def restore(self) -> State | None: ...

    def keep(self, state: State) -> None: ...

    def show(self, step: int, losses: Mapping[str, float], x: Tensor | None) -> None: ...


_keeper: ContextVar[Keeper | None] = ContextVar("keeper", default=None)


@contextmanager
def kept_by(keeper: Keeper) -> Iterator[None]:
    """Every training inside the block is kept by `keeper`, and goes on from what it holds."""
    token = _keeper.set(keeper)
    try:
        yield
    finally:
        _keeper.reset(token)


def keeper() -> Keeper | None:
    """Whoever keeps the state of this run, if anybody does."""
    return _keeper.get()


Shown = Callable[[int, Mapping[str, float], Tensor | None], None]
"""Called with the step, recent losses, and some samples."""


class Folder:
    """Keeps the last state in a folder; `shown` is called at every checkpoint."""

    def __init__(self, path: Path, every: int = 500, shown: Shown | None = None) -> None:
        self.path, self.every, self.shown = path, every, shown
        self.stop = False
        self.last = 0
        """The step of the newest checkpoint; 0 where there is none."""

    def restore(self) -> State | None:
        """The newest state; None where there is none. Read like any stranger's file."""
        path = self.path / STATE
        if not path.exists():
            return None
        try:
            file = read(path)
            about = json.loads(file.metadata["genvet.resume"])
            found = {name: t for part in file.parts for name, t in tensors(part, file.storages).items()}
            self.last = int(about.pop("step"))
        except (GenVetError, KeyError, ValueError, TypeError, AttributeError):
            raise BadInput(f"{path} is no checkpoint of GenVet", hint="remove it to begin anew") from None
        return State(self.last, found, about)

    def keep(self, state: State) -> None:
        text = json.dumps({"step": state.step, **state.about}, sort_keys=True)
        plain = {name: t.detach().cpu().contiguous().clone() for name, t in state.tensors.items()}
        write_bytes(self.path / STATE, to_safetensors(plain, {"genvet.resume": text}))
        self.last = state.step

    def show(self, step: int, losses: Mapping[str, float], x: Tensor | None) -> None:
        if self.shown:
            self.shown(step, losses, x)


class Onlooker(Folder):
    """Goes on from what a folder holds, and leaves the keeping to another process."""

    def keep(self, state: State) -> None:
        self.last = state.step

    def show(self, step: int, losses: Mapping[str, float], x: Tensor | None) -> None:
        return None
