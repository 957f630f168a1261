"""Networks that a training goes on from, in place of fresh ones: for a new domain, or for a stolen model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from torch import nn

from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.printable import printable
from genvet.files.convert import tensor_hash


@dataclass(frozen=True, eq=False)
class Start:
    """A generator, a critic, or both; what is None begins anew."""

    generator: Generator | None = None
    critic: nn.Module | None = None

    @property
    def module(self) -> nn.Module | None:
        """The generator's network."""
        return None if self.generator is None else self.generator.module


_start: ContextVar[Start | None] = ContextVar("start", default=None)


@contextmanager
def begun_from(start: Start) -> Iterator[None]:
    """Every training inside the block begins with copies of these weights."""
    token = _start.set(start)
    try:
        yield
    finally:
        _start.reset(token)


def start() -> Start | None:
    """What this training goes on from; None where all is fresh."""
    return _start.get()


def take(generator: nn.Module, critic: nn.Module) -> None:
    """Give fresh networks the weights that the training goes on from; raises BadInput where these do not fit."""
    begun = start() or Start()
    for name, fresh, old in (("generator", generator, begun.module), ("critic", critic, begun.critic)):
        if old is None:
            continue
        try:
            fresh.load_state_dict(old.state_dict())
        except RuntimeError as error:
            raise BadInput(
                f"the training cannot go on from this {name}: {printable(error, 200)}",
                hint="give the recipe the sizes that it was trained with",
            ) from None


def told() -> Mapping[str, Any]:
    """What it goes on from, by the hashes of the weights: part of what makes it this run and no other."""
    begun = start() or Start()
    networks = {"generator": begun.module, "critic": begun.critic}
    hashes = {name: tensor_hash(net.state_dict()) for name, net in networks.items() if net is not None}
    return {"start": {name: f"sha256:{digest}" for name, digest in hashes.items()}} if hashes else {}
