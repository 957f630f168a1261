"""What one sample will cost, told by shapes alone: the network runs on `meta`, where nothing is computed or stored."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from genvet.core.errors import Unsupported
from genvet.core.generator import Generator


@dataclass(frozen=True)
class Cost:
    """Of a batch of one."""

    operations: int
    """Floating-point operations: two for each product of a convolution or matrix, one for each other value made."""
    largest: int
    """Values in the largest tensor on the way."""
    values: int = 0
    """Values made on the way, all tensors together."""

    @property
    def effort(self) -> int:
        """Operations, with every value that is made counted as fifty: thin networks are held up by memory."""
        return self.operations + 50 * self.values


def cost(generator: Generator) -> Cost:
    """Counted before the first real forward, however large the network claims to be.

    Raises Unsupported for a network that cannot be followed by shapes alone, as when values decide about shapes.
    """
    shadow = replace(generator, module=_on_meta(generator.module))
    z = torch.empty(1, generator.latent.dim, device="meta")
    labels = torch.empty(1, generator.latent.classes, device="meta") if generator.latent.classes else None
    counter = _Counter()
    try:
        with torch.no_grad(), counter:
            shadow(z, labels)
    except (RuntimeError, NotImplementedError) as error:
        raise Unsupported("this network's operations cannot be counted beforehand", hint=str(error)[:200]) from None
    return Cost(counter.operations, counter.largest, counter.values)


def _on_meta(module: nn.Module) -> nn.Module:
    """A copy of the module whose tensors are shapes alone; tensors that lie in plain attributes are found as well."""
    memo: dict[int, Any] = {}
    for child in module.modules():
        for value in tree_leaves(list(vars(child).values())):
            if isinstance(value, Tensor):
                memo[id(value)] = _empty(value)
    return copy.deepcopy(module, memo).eval()


def _empty(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device="meta", requires_grad=False)
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty


class _Counter(TorchDispatchMode):  # type: ignore[misc, unused-ignore]
    """Watches every operation that is carried out."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.largest = self.values = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        sizes = [math.prod(t.shape) for t in tree_leaves(made) if isinstance(t, Tensor)]
        count: Callable[..., int] | None = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.operations += int(count(*args, **(kwargs or {}), out_val=made))
        elif not func.is_view:
            self.operations += sum(sizes)
        self.values += 0 if func.is_view else sum(sizes)
        self.largest = max([self.largest, *sizes])
        return made
