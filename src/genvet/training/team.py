"""Several processes that train one network together: each sees its part of a batch, and all take the mean step.

On one machine, a process for each GPU, started by Lightning Fabric (the extra `gpus`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genvet.core.errors import Unsupported


@dataclass(frozen=True)
class Team:
    """This process's number among so many; alone, nothing is shared out and nothing averaged."""

    rank: int = 0
    size: int = 1
    fabric: Any = None

    def share(self, rows: Tensor) -> Tensor:
        """This process's part of a batch."""
        return rows[self.rank :: self.size]

    def mean(self, value: Tensor) -> Tensor:
        """Over all processes; each has to ask."""
        averaged: Tensor = value if self.size == 1 else self.fabric.all_reduce(value, reduce_op="mean")
        return averaged

    def average(self, optimiser: torch.optim.Optimizer) -> None:
        """Let every process move by the mean of all gradients."""
        if self.size == 1:
            return
        gradients = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
        flat = self.mean(torch.cat([g.flatten() for g in gradients]))  # one message, not one a tensor
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


_team: ContextVar[Team] = ContextVar("team", default=Team())  # noqa: B039 - it is frozen


def team() -> Team:
    """Those who train this network."""
    return _team.get()


@contextmanager
def joined(members: Team) -> Iterator[None]:
    """Every training inside the block is shared by these."""
    token = _team.set(members)
    try:
        yield
    finally:
        _team.reset(token)


def together(devices: int, accelerator: str, work: Callable[[int, Any], None]) -> None:
    """Run `work(rank, device)` in so many processes, one for each device; raises Unsupported without Fabric.

    What `work` carries travels to each of them; what comes out lies in files, since a process takes its tensors along.
    """
    try:
        from lightning_fabric import Fabric
    except ImportError:
        hint = "pip install 'genvet[gpus]'"
        raise Unsupported("training on several devices needs the extra `gpus`", hint=hint) from None
    fabric: Any = Fabric(accelerator=accelerator, devices=devices, strategy="ddp_spawn")
    fabric.launch(_joined, work)


def _joined(fabric: Any, work: Callable[[int, Any], None]) -> None:
    with joined(Team(fabric.global_rank, fabric.world_size, fabric)):
        work(fabric.global_rank, fabric.device)
